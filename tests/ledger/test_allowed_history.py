"""What was let through is remembered, within a bound, and every visit is named; over each engine and the fake."""

import pytest
import sqlalchemy as sa

from ledgerkit.contract import remembered, settle
from ledgerkit.samples import START, identity_of, make_event, make_flag, make_visit
from secondlook.core.event import EventKind
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import SubjectClass
from secondlook.ground.errors import LedgerError
from secondlook.ledger.queue import history

pytestmark = pytest.mark.anyio


async def test_visits_name_every_let_through(any_ledger):
    event, entry = make_flag("one")
    await any_ledger.flags.flag(event, entry)
    await any_ledger.flags.flag(*make_flag("one", START + 1, "10.0.0.2"))
    any_ledger.recorder.record(
        make_event(EventKind.BLOCKED, START + 2, identity=entry.identity, client="10.0.0.3")
    )
    any_ledger.recorder.record(
        make_event(EventKind.CHECK, START + 3, identity=entry.identity, client="10.0.0.4")
    )
    settle(any_ledger)
    assert [visit.client for visit in await any_ledger.history.visits(entry.identity)] == [
        "10.0.0.1",
        "10.0.0.2",
        "10.0.0.4",
    ]


async def test_history_gives_back_what_was_allowed(any_ledger):
    for number in range(5):
        event = make_event(
            EventKind.CHECK, START + number, url=f"https://{number}/", host=str(number), client="c"
        )
        identity = identity_of(number)
        any_ledger.history.remember(make_visit((identity, identity_of("x")), event))
    batches = [part async for part in any_ledger.history.remembered(since=START + 1, batch=2)]
    assert [len(batch) for batch in batches] == [2, 2]
    found = {each.identity: each for batch in batches for each in batch}
    assert list(found) == sorted(identity_of(number) for number in range(1, 5))
    first = found[identity_of(1)]
    assert first == (identity_of(1), SubjectKind.URL, (identity_of(1), identity_of("x")))
    [entry] = await any_ledger.history.recall([first.identity, identity_of("never met")])
    assert (entry.identity, entry.hashes) == (first.identity, first.hashes)
    assert (entry.url, entry.client, entry.time) == ("https://1/", "c", START + 1)


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_visit_that_yields_leaves_the_client_of_the_earlier_one(any_ledger, at_once):
    identity = identity_of("one")
    for after, (client, yields) in enumerate(
        [("lab", True), ("child", False), ("lab", True), ("hall", True)]
    ):
        event = make_event(EventKind.CHECK, START + after, client=client)
        any_ledger.history.remember(make_visit((identity,), event), yields=yields)
        if not at_once:
            assert [part async for part in any_ledger.history.remembered(since=0)]
    assert [part async for part in any_ledger.history.remembered(since=0)]
    [entry] = await any_ledger.history.recall([identity])
    assert (entry.client, entry.time) == ("child", START + 3)


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    ("first", "stays"), [("child", "first"), (None, "later")], ids=["a name", "may be anybody"]
)
async def test_who_stays_in_history_stays_beside_where_he_was(any_ledger, first, stays, at_once):
    file = identity_of("file")
    for after, (client, host) in enumerate([(first, "first"), ("hall", "later")]):
        url, name = f"https://{host}/f", f"{host}.zip"
        event = make_event(EventKind.CHECK, START + after, client=client, host=host, url=url, filename=name)
        any_ledger.history.remember(make_visit((file,), event, SubjectKind.FILE), yields=client == "hall")
        if not at_once:
            assert [part async for part in any_ledger.history.remembered(since=0)]
    assert [part async for part in any_ledger.history.remembered(since=0)]
    [entry] = await any_ledger.history.recall([file])
    assert (entry.client, entry.time) == (first, START + 1)
    assert (entry.url, entry.host, entry.filename) == (f"https://{stays}/f", stays, f"{stays}.zip")


def test_visits_of_every_kind_are_written_with_statements_that_are_there(ledger):
    """A statement built anew costs a hundred times its row; with groups the kinds alternate."""
    built = []

    def work(connection):
        sa.event.listen(connection, "before_execute", lambda *_: built.append(1))
        event = make_event(EventKind.CHECK)
        names = [identity_of(number) for number in range(50)]
        rows = [(make_visit((name,), event), number % 2 == 0) for number, name in enumerate(names)]
        history.put(connection, rows)
        connection.execute(sa.select(1))
        return connection.exec_driver_sql("SELECT count(*) FROM history").scalar()

    assert ledger.store.commit_now(work) == 50
    assert len(built) == 1


async def test_memory_of_history_is_bounded(tmp_path, open_ledger):
    ledger = open_ledger(tmp_path / "ledger.sqlite3", history_in_memory=3, background=False)
    for number in range(5):
        identity = identity_of(number)
        ledger.history.remember(make_visit((identity,), make_event(EventKind.CHECK)))
    assert sum([len(part) async for part in ledger.history.remembered(since=0)]) == 3


@pytest.mark.parametrize("written_between", [False, True])
async def test_a_file_is_remembered_with_every_digest_that_any_visit_saw(any_ledger, written_between):
    file, decoded, member = identity_of("file"), identity_of("decoded"), identity_of("member")
    for number, hashes in enumerate([(file, decoded), (file, member), (file,)]):
        cls = SubjectClass.DOWNLOAD if number == 0 else SubjectClass.SUBRESOURCE
        event = make_event(EventKind.CHECK, START + number, cls=cls, url=f"https://{number}/")
        any_ledger.history.remember(make_visit(hashes, event, SubjectKind.FILE))
        if written_between:
            _ = [part async for part in any_ledger.history.remembered(since=0)]
    ((seen,),) = [part async for part in any_ledger.history.remembered(since=0)]
    (entry,) = await any_ledger.history.recall([file])
    assert seen.hashes == entry.hashes == (file, decoded, member)
    assert (entry.cls, entry.url, entry.time) == (SubjectClass.DOWNLOAD, "https://2/", START + 2)


async def test_visits_that_could_not_be_written_keep_what_they_saw(tmp_path, open_ledger, monkeypatch):
    ledger = open_ledger(tmp_path / "ledger.sqlite3", background=False)
    file, member = identity_of("file"), identity_of("member")

    def fails(_connection, _rows):
        ledger.history.remember(make_visit((file,), make_event(EventKind.CHECK, START + 1), SubjectKind.FILE))
        raise LedgerError("the disk is full")

    ledger.history.remember(make_visit((file, member), make_event(EventKind.CHECK), SubjectKind.FILE))
    with monkeypatch.context() as patch:
        patch.setattr(history, "put", fails)
        assert ledger.history.flush().exception() is not None
    (entry,) = remembered(ledger)
    assert (entry.hashes, entry.time) == ((file, member), START + 1)


def remember(any_ledger, name, at=START, client="10.0.0.1"):
    event = make_event(EventKind.CHECK, at, client=client)
    any_ledger.history.remember(make_visit((identity_of(name),), event))


async def taken(any_ledger, *names, now=START + 10):
    """Lease subjects; their names' identities, and whether a lease of theirs ended by itself."""
    _ = [part async for part in any_ledger.history.remembered(since=0)]  # what is in memory is written
    got = await any_ledger.history.take([identity_of(name) for name in names], now, lease_s=60)
    return {entry.identity: again for entry, again in got}


async def test_what_is_remembered_is_leased_to_one_until_that_ends(any_ledger):
    remember(any_ledger, "one")
    assert await taken(any_ledger, "one", "never met") == {identity_of("one"): False}
    assert await taken(any_ledger, "one", now=START + 69) == {}
    assert await taken(any_ledger, "one", now=START + 9) == {}, "a proxy whose clock is behind"
    assert await taken(any_ledger, "one", now=START + 70) == {identity_of("one"): True}
    assert await taken(any_ledger, "one", now=START) == {identity_of("one"): True}, "a clock set back"


async def test_a_visit_in_between_leaves_the_lease(any_ledger):
    remember(any_ledger, "one")
    await taken(any_ledger, "one")
    remember(any_ledger, "one", START + 11)
    assert await taken(any_ledger, "one", now=START + 12) == {}


async def test_what_a_rechecker_holds_is_not_leased(any_ledger):
    for name in ("held", "waits"):
        remember(any_ledger, name)
        await any_ledger.flags.flag(*make_flag(name))
    (held,) = await any_ledger.queue.take_due(START + 5, limit=1, lease_s=60, everything=True)
    left = {identity_of("held"), identity_of("waits")} - {held.identity}
    assert set(await taken(any_ledger, "held", "waits", now=START + 4)) == left
    assert held.identity in await taken(any_ledger, "held", "waits", now=START + 66)


async def test_a_visit_that_was_dealt_with_is_forgotten_and_a_later_one_stays(any_ledger):
    for name in ("gone", "came again"):
        remember(any_ledger, name)
    await taken(any_ledger, "gone", "came again")
    entries = await any_ledger.history.recall([identity_of("gone"), identity_of("came again")])
    remember(any_ledger, "came again", START + 1)
    _ = [part async for part in any_ledger.history.remembered(since=0)]
    await any_ledger.history.forget(entries)
    await any_ledger.history.forget([])
    assert await taken(any_ledger, "gone", "came again", now=START + 11) == {identity_of("came again"): False}


@pytest.mark.parametrize(
    ("client", "event", "reported"),
    [
        ("a", {"extra": {"clients": ["b", "a"]}}, True),
        ("a", {"extra": {"clients": ["b"]}}, False),
        ("a", {"client": "a"}, True),
        ("a", {"client": "b"}, False),
        ("a", {}, True),  # privacy keeps no names
        (None, {"client": "b"}, True),  # nobody is named by now
        ("a", {"extra": {"clients": ["a"]}, "time": START - 1}, False),
        ("a", {"extra": {"clients": ["a"]}, "kind": EventKind.BLOCKED}, False),
        ("a", {"extra": {"clients": ["a"]}, "kind": EventKind.CONFIRMED}, True),
    ],
)
async def test_which_visits_an_event_has_reported(any_ledger, client, event, reported):
    remember(any_ledger, "one", client=client)
    _ = [part async for part in any_ledger.history.remembered(since=0)]
    facts = {"kind": EventKind.LATE_VERDICT, "time": START + 1} | event
    any_ledger.recorder.record(
        make_event(facts.pop("kind"), facts.pop("time"), identity=identity_of("one"), **facts)
    )
    settle(any_ledger)
    entries = await any_ledger.history.recall([identity_of("one")])
    assert await any_ledger.history.reported(entries) == ({identity_of("one")} if reported else set())
