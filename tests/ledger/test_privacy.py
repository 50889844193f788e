"""What is written at each privacy level, what retention and erasing leave: looked for in the files' bytes."""

import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from ledgerkit.contract import confirm
from ledgerkit.made import make_database
from ledgerkit.samples import START, identity_of, make_confirmed, make_event, make_flag
from ledgerkit.secrets import SECRETS, found_in_files, live
from secondlook.core.event import Event, EventKind
from secondlook.core.subject import SubjectKind
from secondlook.ledger.ledger import EventFilter
from secondlook.ledger.log.privacy import Discretion, without_query
from secondlook.ledger.options import DAY_S

pytestmark = pytest.mark.anyio


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
        ("http://u:p@[broken/a@b?secret", "http://[broken/a@b"),
        ("http://u:p@q@[broken#secret", "http://[broken"),
        ("http://[broken/a?u:p@b", "http://[broken/a"),
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


async def test_a_proxy_whose_clock_is_ahead_deletes_nothing_of_the_others(postgres, open_ledger, clock):
    place, now = make_database(postgres), time.time()
    clock.at = now
    right = open_ledger(place, retention_s=2 * DAY_S)
    right.recorder.record(make_event(EventKind.BLOCKED, now, url="https://kept.example/"))
    await right.flags.flag(*make_flag("one", now))
    while right.store.writer.waiting:
        right.store.commit_now(lambda _: None)
    clock.at = now + 60 * DAY_S  # since its start: no jump shows that it is wrong
    wrong = open_ledger(place, retention_s=2 * DAY_S, history_s=DAY_S)
    assert wrong.upkeep.sweep() == 0
    old = await wrong.queue.take_due(clock.at, limit=9, lease_s=30, older_than=clock.at - 30 * DAY_S)
    assert old == []
    assert sorted(event.kind for event in right.events.page().events) == ["blocked", "flagged"]
    assert right.queue.count()[0] == 1


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
