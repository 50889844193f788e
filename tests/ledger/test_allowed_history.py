"""What was let through is remembered, within a bound, and every visit is named; over each engine and the fake."""

import pytest

from ledgerkit.contract import remembered, settle
from ledgerkit.samples import START, identity_of, make_event, make_flag
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
        any_ledger.history.remember(identity, (identity, identity_of("x")), SubjectKind.URL, event)
    batches = [part async for part in any_ledger.history.remembered(since=START + 1, batch=2)]
    assert [len(batch) for batch in batches] == [2, 2]
    found = {each.identity: each for batch in batches for each in batch}
    assert list(found) == sorted(identity_of(number) for number in range(1, 5))
    first = found[identity_of(1)]
    assert first == (identity_of(1), SubjectKind.URL, (identity_of(1), identity_of("x")))
    [entry] = await any_ledger.history.recall([first.identity, identity_of("never met")])
    assert (entry.identity, entry.hashes) == (first.identity, first.hashes)
    assert (entry.url, entry.client, entry.time) == ("https://1/", "c", START + 1)


async def test_memory_of_history_is_bounded(tmp_path, open_ledger):
    ledger = open_ledger(tmp_path / "ledger.sqlite3", history_in_memory=3, background=False)
    for number in range(5):
        identity = identity_of(number)
        ledger.history.remember(identity, (identity,), SubjectKind.URL, make_event(EventKind.CHECK))
    assert ledger.history.forgotten == 2
    assert sum([len(part) async for part in ledger.history.remembered(since=0)]) == 3


@pytest.mark.parametrize("written_between", [False, True])
async def test_a_file_is_remembered_with_every_digest_that_any_visit_saw(any_ledger, written_between):
    file, decoded, member = identity_of("file"), identity_of("decoded"), identity_of("member")
    for number, hashes in enumerate([(file, decoded), (file, member), (file,)]):
        cls = SubjectClass.DOWNLOAD if number == 0 else SubjectClass.SUBRESOURCE
        event = make_event(EventKind.CHECK, START + number, cls=cls, url=f"https://{number}/")
        any_ledger.history.remember(file, hashes, SubjectKind.FILE, event)
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
        ledger.history.remember(file, (file,), SubjectKind.FILE, make_event(EventKind.CHECK, START + 1))
        raise LedgerError("the disk is full")

    ledger.history.remember(file, (file, member), SubjectKind.FILE, make_event(EventKind.CHECK))
    with monkeypatch.context() as patch:
        patch.setattr(history, "put", fails)
        assert ledger.history.flush().exception() is not None
    (entry,) = remembered(ledger)
    assert (entry.hashes, entry.time) == ((file, member), START + 1)
