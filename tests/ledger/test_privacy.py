"""What is written at each privacy level, what retention and erasing leave: looked for in the files' bytes."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from ledgerkit.contract import confirm, remembered
from ledgerkit.samples import START, identity_of, make_confirmed, make_event, make_flag
from secondlook.core.event import Event, EventKind
from secondlook.core.rules.client import login_name
from secondlook.core.rules.rule import Rule, Scope
from secondlook.core.subject import SubjectKind
from secondlook.ground.ulid import make_id
from secondlook.ledger.ledger import EventFilter, Ledger
from secondlook.ledger.log import search
from secondlook.ledger.log.privacy import Discretion, without_query
from secondlook.ledger.options import DAY_S
from secondlook.ledger.queue import history
from secondlook.ledger.queue.journal_record import flag_record

pytestmark = pytest.mark.anyio

SECRETS = ("tell-nobody", "hidden.example", "private.exe", "10.66.66.66", "/path-of-it", "referrer-page")


async def live(ledger: Ledger) -> None:
    """A flag, a block, an allowed page and a confirmed subject, all full of secrets."""
    fields = {
        "url": "https://hidden.example/path-of-it?q=tell-nobody#x",
        "host": "hidden.example",
        "client": "10.66.66.66",
        "filename": "private.exe",
        "referrer": "https://hidden.example/referrer-page?tell-nobody",
        "detail": "https://hidden.example/path-of-it?q=tell-nobody",
        "identity": identity_of("hidden"),
        "sha256": "cd" * 32,
    }
    event, entry = make_flag("hidden", client="10.66.66.66", url=fields["url"], host="hidden.example")
    await ledger.flags.flag(replace(event, **fields), replace(entry, filename="private.exe"))
    ledger.recorder.record(make_event(EventKind.BLOCKED, **fields))
    ledger.recorder.record(make_event(EventKind.CHECK, **fields))
    ledger.history.remember(
        fields["identity"], (fields["identity"],), SubjectKind.URL, make_event(EventKind.CHECK, **fields)
    )
    confirmed = make_confirmed(
        "other-hidden",
        url=fields["url"],
        host="hidden.example",
        filename="private.exe",
        expression="hidden.example/path-of-it?q=tell-nobody",
    )
    await confirm(ledger, confirmed, make_event(EventKind.CONFIRMED, **fields))
    assert [part async for part in ledger.history.remembered(since=0)]
    while ledger.store.writer.waiting:
        ledger.store.commit_now(lambda _: None)
    ledger.store.commit_now(lambda _: None)


def found_in_files(folder: Path) -> set[str]:
    data = b"".join(file.read_bytes() for file in folder.iterdir() if file.is_file())
    return {secret for secret in SECRETS if secret.encode() in data}


@pytest.mark.parametrize(
    ("level", "visible"),
    [
        (0, set(SECRETS)),
        (1, set(SECRETS)),  # `detail` is the program's own text and stays
        (2, {"hidden.example", "10.66.66.66"}),
        (3, set()),
    ],
)
async def test_the_bytes_on_disk_tell_no_more_than_the_level_allows(tmp_path, open_ledger, level, visible):
    folder = tmp_path / "state"
    ledger = open_ledger(folder / "ledger.sqlite3", journal=folder / "flags.journal", privacy=level)
    await live(ledger)
    ledger.upkeep.checkpoint()
    assert found_in_files(folder) == visible
    (entry,) = ledger.queue.page()
    assert entry.identity == identity_of("hidden")
    assert len(entry.hashes) == 2
    kinds = sorted(str(event.kind) for event in ledger.events.page().events)
    if level < 3:
        assert kinds == ["blocked", "check", "confirmed", "flagged"]
    else:
        assert kinds == ["confirmed", "flagged"]
    ledger.counts.flush()
    ledger.store.commit_now(lambda _: None)
    assert ledger.statistics.hourly(START, START)[0].checked == 3
    assert len(await ledger.history.visits(identity_of("hidden"))) == (2 if level < 3 else 1)


@pytest.mark.parametrize(("level", "kept"), [(2, True), (3, False)])
def test_a_learned_passthrough_names_who_and_where_only_where_hosts_are_kept(level, kept):
    told = Event(
        id="1", kind=EventKind.ACTION, time=START, client="10.66.66.66", host="hidden.example",
        stage="passthrough", detail="TLS of 10.66.66.66 to hidden.example is passed through",
    )  # fmt: skip
    written = Discretion(level).event(told)
    assert (written == told) is kept
    assert ("hidden" in str(written)) is kept
    own = Event(id="2", kind=EventKind.ERROR, time=START, detail="the disk is full")
    assert Discretion(level).event(own) == own


async def test_level_one_cuts_every_query(tmp_path, open_ledger):
    ledger = open_ledger(tmp_path / "ledger.sqlite3", privacy=1)
    await live(ledger)
    for event in ledger.events.page().events:
        assert "?" not in (event.url or "") + (event.referrer or "")
    assert ledger.queue.page()[0].url == "https://hidden.example/path-of-it"
    assert ledger.snapshots.confirmed()[0].expression == "hidden.example/path-of-it"


@pytest.mark.parametrize(
    ("subject", "extra", "kept"),
    [
        ("url", {"expression": "h.example/a?q=1", "age_s": 2.0}, {"expression": "h.example/a", "age_s": 2.0}),
        (
            "url",
            {"steps": [{"stage": "rules", "outcome": "hit", "detail": "block url http://h.example/a?q=1"}]},
            {"steps": [{"stage": "rules", "outcome": "hit", "detail": "block url http://h.example/a"}]},
        ),
        (
            "url",  # a regular expression is no address
            {"steps": [{"stage": "rules", "outcome": "hit", "detail": "block regex h\\.example/a?b"}]},
            {"steps": [{"stage": "rules", "outcome": "hit", "detail": "block regex h\\.example/a?b"}]},
        ),
        ("url", {"steps": [{"stage": "rules", "outcome": "miss"}]}, {"steps": [{"stage": "rules", "outcome": "miss"}]}),
        ("file", {"expression": "member:what?.txt"}, {"expression": "member:what?.txt"}),
        ("url", None, None),
    ],
)  # fmt: skip
def test_level_one_cuts_queries_out_of_the_explanation_too(subject, extra, kept):
    event = make_event(EventKind.BLOCKED, subject=SubjectKind(subject), extra=extra)
    assert Discretion(1).event(event).extra == kept


async def test_of_ignored_hosts_only_hashes_and_counts_are_kept(tmp_path, open_ledger):
    folder = tmp_path / "state"
    ledger = open_ledger(
        folder / "ledger.sqlite3", journal=folder / "flags.journal", ignored_hosts=("example",)
    )
    await live(ledger)
    ledger.upkeep.checkpoint()
    assert found_in_files(folder) == set()
    assert ledger.queue.count()[0] == 1


async def test_the_journal_obeys_too(tmp_path, open_ledger):
    folder = tmp_path / "state"
    ledger = open_ledger(
        folder / "ledger.sqlite3", journal=folder / "flags.journal", privacy=3, background=False
    )
    ledger.store.writer._slow = True
    await ledger.flags.flag(*make_flag("hidden", client="10.66.66.66"))
    assert ledger.flags.journaled == 1
    assert found_in_files(folder) == set()
    ledger.store.writer._slow = False


@pytest.mark.parametrize(
    ("host", "ignored"),
    [("a.example", True), ("x.a.example", True), ("A.Example.", True), ("ba.example", False), (None, False)],
)
def test_ignoring_covers_subdomains_only(host, ignored):
    assert Discretion(0, ("a.example",)).ignored(host) is ignored


@pytest.mark.parametrize(
    ("url", "cut"),
    [
        ("https://u:p@h.example:8443/a?b#c", "https://h.example:8443/a"),
        ("http://[broken?secret", "http://[broken"),
        ("/only/path?x", "/only/path"),
        (None, None),
    ],
)
def test_queries_fragments_and_users_are_cut(url, cut):
    assert without_query(url) == cut


# -- retention ---------------------------------------------------------------------------------------


async def test_what_is_past_its_retention_is_gone_from_the_bytes(tmp_path, open_ledger, clock):
    folder = tmp_path / "state"
    ledger = open_ledger(
        folder / "ledger.sqlite3", journal=folder / "flags.journal", retention_s=2 * DAY_S, history_s=DAY_S
    )
    await live(ledger)
    (entry,) = ledger.queue.page()
    await ledger.queue.close([(entry, make_event(EventKind.CLEARED, START))])
    await ledger.confirmed.withdraw(identity_of("other-hidden"), make_event(EventKind.WITHDRAWN, START))
    for number in range(1200):
        ledger.recorder.record(
            make_event(EventKind.BLOCKED, START + 2 * DAY_S, url=f"https://kept.example/{number}")
        )
    while ledger.store.writer.waiting:
        ledger.store.commit_now(lambda _: None)
    clock.at = START + 2 * DAY_S + 1
    gone = ledger.upkeep.sweep()
    assert gone >= 6
    ledger.upkeep.checkpoint()
    assert found_in_files(folder) == set()
    assert {event.host for event in ledger.events.page(limit=5000).events} == {None}
    assert len(list(ledger.events.export(EventFilter(search="kept.example")))) == 1200
    assert ledger.upkeep.check() == []
    for _ in range(400):  # the index is filled a moment after the events are written
        if {"kep", "ept"} <= trigrams(folder / "ledger.sqlite3"):
            break
        await anyio.sleep(0.05)
    assert {"kep", "ept"} <= trigrams(folder / "ledger.sqlite3")
    assert not {"tel", "pri", "10."} & trigrams(folder / "ledger.sqlite3")


async def test_a_clock_that_jumps_deletes_nothing(place, open_ledger, clock):
    ledger = open_ledger(place, retention_s=2 * DAY_S)
    ledger.recorder.record(make_event(EventKind.BLOCKED, clock.now(), url="https://kept.example/"))
    while ledger.store.writer.waiting:
        ledger.store.commit_now(lambda _: None)
    clock.ahead = 60 * DAY_S
    assert ledger.upkeep.sweep() == 0
    clock.ahead = 0.0
    assert [event.url for event in ledger.events.page().events] == ["https://kept.example/"]


def trigrams(path: Path) -> set[str]:
    """All that the search index still knows."""
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("CREATE VIRTUAL TABLE temp.vocabulary USING fts5vocab('main', 'words', 'row')")
        return {row[0] for row in raw.execute("SELECT term FROM temp.vocabulary")}


async def test_open_entries_outlive_the_retention(place, open_ledger, clock):
    ledger = open_ledger(place, retention_s=DAY_S)
    await ledger.flags.flag(*make_flag("one"))
    await confirm(ledger, make_confirmed("two"), make_event(EventKind.CONFIRMED))
    clock.at = START + 40 * DAY_S
    ledger.upkeep.sweep()
    assert ledger.events.page().events == ()
    assert ledger.queue.count()[0] == 1
    assert len(ledger.snapshots.confirmed()) == 1


async def test_sweeping_keeps_pages_and_searches_right(place, open_ledger, clock):
    ledger = open_ledger(place, retention_s=DAY_S)
    for number in range(2000):
        ledger.recorder.record(
            make_event(EventKind.BLOCKED, START + number * 60, url=f"https://x.example/{number}")
        )
    while ledger.store.writer.waiting:
        ledger.store.commit_now(lambda _: None)
    clock.at = START + DAY_S + 1000 * 60 + 0.5
    ledger.upkeep.sweep()
    left = [event.url for event in ledger.events.export()]
    assert left == [f"https://x.example/{number}" for number in range(1001, 2000)]
    assert [e.url for e in ledger.events.export(EventFilter(search="x.example/1500"))] == [
        "https://x.example/1500"
    ]
    assert list(ledger.events.export(EventFilter(search="x.example/150", until=START + 1000 * 60))) == []
    assert len(list(ledger.events.export(EventFilter(since=START + 1990 * 60)))) == 10


async def test_one_client_is_erased_everywhere(tmp_path, open_ledger):
    folder = tmp_path / "state"
    ledger = open_ledger(folder / "ledger.sqlite3", journal=folder / "flags.journal")
    await live(ledger)
    await ledger.flags.flag(*make_flag("hidden", START + 1, client="10.66.66.6"))
    told = "got through: 10.66.66.66 at 12:00, 10.66.66.6 at 12:01"
    ledger.recorder.record(
        make_event(EventKind.LATE_VERDICT, detail=told, extra={"clients": ["10.66.66.66"]})
    )
    gone = ledger.upkeep.erase_client("10.66.66.66")
    assert gone == 4
    assert "10.66.66.66" not in found_in_files(folder)
    (late,) = ledger.events.page(EventFilter(kind="late_verdict")).events
    assert late.detail == "got through: (erased) at 12:00, 10.66.66.6 at 12:01"
    assert late.extra == {"clients": ["(erased)"]}
    (entry,) = ledger.queue.page()
    assert entry.clients == ("10.66.66.6",)
    assert entry.count == 2


async def test_erasing_works_on_each_engine(place, open_ledger):
    ledger = open_ledger(place)
    await ledger.flags.flag(*make_flag("one", client="10.0.0.1"))
    await ledger.flags.flag(*make_flag("one", START + 1, client="10.0.0.2"))
    assert ledger.upkeep.erase_client("10.0.0.1") == 1
    assert [event.client for event in ledger.events.page().events] == ["10.0.0.2"]
    assert ledger.queue.page()[0].clients == ("10.0.0.2",)


async def leave_traces(ledger, name, *clients, user=None):
    """What clients leave of a listed page and a bad file, in every table."""
    page, file = make_flag(name, url=f"https://{name}.example/p?q={name}"), identity_of(f"{name}.exe")
    for at, client in enumerate(clients):
        told = {"client": client, "user": user, "url": page[1].url, "host": page[1].host}
        event = replace(page[0], id=make_id(START + at), **told)
        await ledger.flags.flag(event, replace(page[1], client=client))
        ledger.history.remember(identity_of(f"{name}/"), (identity_of(f"{name}/"),), SubjectKind.URL, event)
        ledger.recorder.record(
            make_event(EventKind.BLOCKED, **told, filename=f"{name}.exe", identity=file, sha256=file.hex())
        )
    where = {"url": page[1].url, "host": page[1].host, "filename": f"{name}.exe", "expression": f"{name}/p"}
    bad = make_confirmed(f"{name}.exe", **where, kind=SubjectKind.FILE, sha256=file.hex())
    reblock = make_confirmed(f"reblock {name}", hit=identity_of(f"{name}/"), **where)
    closing = make_event(
        EventKind.CONFIRMED, url=page[1].url, identity=file, extra={"clients": list(clients)}
    )
    await confirm(ledger, bad, closing)
    await confirm(ledger, reblock, None)
    assert [part async for part in ledger.history.remembered(since=0)]
    subject = f"https://{name}.example/p?q={name}"
    rule = Rule(
        id="", action="allow", scope=Scope.URL, subject=subject, client=login_name(clients[0], user),
        reason=None, created=START, expires=START + 60, source="override",
    )  # fmt: skip
    ledger.rules.add(rule)


async def test_an_erased_client_leaves_nothing_in_the_journal(place, open_ledger, tmp_path):
    ledger = open_ledger(place, background=False)
    event, entry = make_flag("onlyhers", url="https://onlyhers.example/")
    ledger.flags.journal.append(
        flag_record(replace(event, client="10.0.0.1"), replace(entry, client="10.0.0.1"))
    )
    ledger.upkeep.erase_client("10.0.0.1")
    assert b"onlyhers" not in b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())


async def test_where_only_an_erased_client_met_a_file_of_others_is_forgotten(place, open_ledger, tmp_path):
    """The same file from two addresses: each table tells one of them, the erased client's."""
    ledger, file = open_ledger(place), identity_of("setup.exe")
    for at, (client, name) in enumerate((("10.0.0.2", "others"), ("10.0.0.1", "onlyhers"))):
        told = {
            "client": client,
            "url": f"https://{name}.example/f",
            "host": f"{name}.example",
            "filename": name,
        }
        event = make_event(EventKind.BLOCKED, START + at, **told, identity=file, sha256=file.hex())
        ledger.recorder.record(event)
        ledger.history.remember(file, (file,), SubjectKind.FILE, event)
        ended = {"id": make_id(START + 9 + at), "kind": EventKind.ACTION, "subject": SubjectKind.FILE}
        ledger.recorder.record(
            replace(event, **ended, client=None, extra={"clients": ["10.0.0.1", "10.0.0.2"]})
        )
        bad = make_confirmed(
            "setup.exe", url=told["url"], host=told["host"], filename=name, kind=SubjectKind.FILE
        )
        await confirm(ledger, bad, None)
    if ledger.store.place.sqlite:
        ledger.store.commit_now(lambda connection: search.add_next(connection, 100))
    assert len(ledger.events.page(EventFilter(search="onlyhers")).events) == 2
    ledger.upkeep.erase_client("10.0.0.1")
    assert [event.url for event in ledger.events.page().events] == [None, *["https://others.example/f"] * 2]
    assert not ledger.events.page(EventFilter(search="onlyhers")).events
    assert len(ledger.events.page(EventFilter(search=file.hex()[:20])).events) == 3
    assert b"onlyhers" not in b"".join(each.read_bytes() for each in tmp_path.iterdir() if each.is_file())
    (kept,) = [seen async for part in ledger.history.remembered(since=0) for seen in part]
    (bad,) = ledger.snapshots.confirmed()
    assert (kept.identity, bad.identity) == (file, file)
    assert "onlyhers" not in repr((kept, bad))


@pytest.mark.parametrize("user", [None, "anna"])
async def test_what_only_an_erased_client_met_is_known_by_hash_alone(place, open_ledger, tmp_path, user):
    ledger = open_ledger(place)
    await leave_traces(ledger, "onlyhers", "10.0.0.1", user=user)
    await leave_traces(ledger, "shared", "10.0.0.1", "10.0.0.2", user=user)
    version = ledger.snapshots.version()
    ledger.upkeep.erase_client("10.0.0.1")
    kept = [
        *ledger.events.page().events, *ledger.queue.page(), *ledger.snapshots.confirmed(), *ledger.snapshots.rules(),
        *remembered(ledger),
    ]  # fmt: skip
    assert "onlyhers" not in repr(kept)
    assert "10.0.0.1'" not in repr(kept)
    # protection goes on by hash, and what somebody else met is still told
    assert {entry.identity for entry in ledger.queue.page()} == {
        identity_of("onlyhers"),
        identity_of("shared"),
    }
    assert len(ledger.snapshots.confirmed()) == 4
    assert {entry.url for entry in ledger.snapshots.confirmed()} == {
        None,
        "https://shared.example/p?q=shared",
    }
    assert "https://shared.example/p?q=shared" in {entry.url for entry in ledger.queue.page()}
    assert ledger.snapshots.version() != version
    assert not ledger.snapshots.rules()
    files = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())
    assert b"onlyhers" not in files


async def test_the_history_is_read_a_batch_at_a_time(place, open_ledger):
    """It may hold millions; what is forgotten meanwhile is not in memory any more."""
    ledger = open_ledger(place)
    for number in range(6):
        event = make_event(
            EventKind.CHECK, START + number, url=f"https://{number}.example/", client="10.0.0.1"
        )
        ledger.history.remember(identity_of(number), (identity_of(number),), SubjectKind.URL, event)
    batches = ledger.history.remembered(since=0, batch=2)
    met = await anext(batches)
    await ledger.run(
        ledger.store.commit_now, lambda connection: history.sweep(connection, older_than=START + 4)
    )
    met += [entry for part in [part async for part in batches] for entry in part]
    kept = {identity_of(4), identity_of(5)}
    assert {entry.identity for entry in met[2:]} == kept - {entry.identity for entry in met[:2]}
    found = await ledger.history.recall([identity_of(2), identity_of(4)])
    assert [entry.identity for entry in found] == [identity_of(4)]


async def test_what_only_an_erased_user_met_is_known_by_hash_alone(place, open_ledger):
    ledger = open_ledger(place)
    root = {"identity": identity_of("onlyhers/"), "client": "10.0.0.1", "user": "anna"}
    ledger.recorder.record(make_event(EventKind.CHECK, **root))  # with `log.all`
    await leave_traces(ledger, "onlyhers", "10.0.0.1", user="anna")
    ledger.upkeep.erase_client("anna")
    left = [ledger.queue.page(), remembered(ledger)]
    assert "onlyhers" not in repr(
        [ledger.snapshots.confirmed(), ledger.snapshots.rules(), ledger.events.page(), left]
    )


async def test_text_that_no_column_can_hold_is_made_storable(place, open_ledger):
    ledger = open_ledger(place)
    hostile = "a\x00b\udc80\ud800" + "x" * 10_000
    event, entry = make_flag("one", client="c\x00")
    await ledger.flags.flag(
        replace(event, url=hostile, extra={"k\x00": "v\x00\udc80", "long": "y"}),
        replace(entry, url=hostile, filename="f\x00"),
    )
    (found,) = ledger.events.page().events
    assert len(found.url) == 8192
    assert found.url.startswith("a\ufffdb")
    assert found.extra["long"] == "y"
    assert ledger.queue.page()[0].filename == "f\ufffd"


async def test_an_explanation_that_is_too_long_says_so(place, open_ledger):
    ledger = open_ledger(place)
    event = make_event(EventKind.BLOCKED, extra={"a": "x" * 70_000})
    await ledger.flags.flag(event, make_flag("one")[1])
    assert "too many to keep" in ledger.events.find(event.id).extra["cut"]
