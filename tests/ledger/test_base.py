"""An open ledger: a flag is in the ledger or in the journal before it is answered, or it is refused."""

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest
import sqlalchemy as sa

from ledgerkit.samples import START, identity_of, make_event, make_flag
from secondlook.core.event import EventKind
from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine.journal import Journal
from secondlook.ledger.ledger import Ledger, LedgerOptions
from secondlook.ledger.log import append

pytestmark = pytest.mark.anyio

QUIET = LedgerOptions(background=False, journal_bytes=1 << 20, deadline_s=60.0)


@pytest.fixture
def quiet(tmp_path):
    """A ledger of one process without housekeeping: nothing is replayed by itself."""
    ledger = Ledger.open(tmp_path / "ledger.sqlite3", QUIET, report=lambda _: None)
    yield ledger
    ledger.close()


@contextmanager
def busy(ledger):
    """Keep the writer from everything, past every deadline."""
    options, ledger.options = ledger.options, replace(ledger.options, deadline_s=0.05)
    begun, release = threading.Event(), threading.Event()

    def work(_: sa.Connection) -> None:
        begun.set()
        release.wait(30.0)

    future = ledger.writer.submit(work)
    assert begun.wait(10.0)
    try:
        yield
    finally:
        release.set()
        future.result(10.0)
        ledger.options = options


def queued(ledger):
    return {entry.identity: entry.count for entry in ledger.queue_walk()}


async def test_a_flag_is_in_the_ledger_when_it_is_answered(quiet):
    event, entry = make_flag("one")
    await quiet.flag(event, entry)
    assert queued(quiet) == {entry.identity: 1}
    assert quiet.event(event.id) is not None
    assert quiet.journaled == 0
    assert not quiet.journal.waiting()


async def test_a_flag_that_the_ledger_does_not_take_in_time_is_in_the_journal_when_it_is_answered(quiet):
    event, entry = make_flag("one")
    with busy(quiet):
        await quiet.flag(event, entry)
        assert [record["event"]["id"] for record in quiet.journal.records()] == [event.id]
        assert quiet.journaled == 1
    assert queued(quiet) == {}
    assert quiet.replay_journal() == 1
    assert queued(quiet) == {entry.identity: 1}
    assert not quiet.journal.waiting()
    found = quiet.event(event.id)
    assert found is not None
    assert (found.url, found.identity, found.kind) == (event.url, event.identity, EventKind.FLAGGED)


async def test_without_room_in_the_journal_either_the_flag_is_refused(tmp_path):
    small = LedgerOptions(background=False, journal_bytes=128)
    ledger = Ledger.open(tmp_path / "ledger.sqlite3", small, report=lambda _: None)
    with busy(ledger), pytest.raises(LedgerError, match=r"no commit within 0.05 s; flags journal .*: full"):
        await ledger.flag(*make_flag("one"))
    assert queued(ledger) == {}
    ledger.close()


async def test_without_a_journal_the_flag_is_refused(quiet):
    journal, quiet.journal = quiet.journal, None
    with busy(quiet), pytest.raises(LedgerError, match="no commit within"):
        await quiet.flag(*make_flag("one"))
    quiet.journal = journal


async def test_the_journal_is_emptied_only_when_the_ledger_has_committed(quiet, tmp_path):
    with busy(quiet):
        await quiet.flag(*make_flag("one"))
    other = Journal(tmp_path / "flags.journal", size_bytes=1 << 20)
    with busy(quiet):
        replay = asyncio.create_task(asyncio.to_thread(quiet.replay_journal))
        while not quiet.writer._jobs.qsize():  # it waits for the writer
            await asyncio.sleep(0)
        assert not replay.done()
        assert other.waiting()
    assert await replay == 1
    assert not other.waiting()
    other.close()


async def test_what_the_ledger_refuses_stays_in_the_journal(quiet):
    with busy(quiet):
        await quiet.flag(*make_flag("one"))
    quiet.commit_now(lambda connection: connection.exec_driver_sql("ALTER TABLE flagged RENAME TO away"))
    with pytest.raises(LedgerError, match="no such table"):
        quiet.replay_journal()
    assert quiet.journal.waiting()
    quiet.commit_now(lambda connection: connection.exec_driver_sql("ALTER TABLE away RENAME TO flagged"))
    assert quiet.replay_journal() == 1
    assert queued(quiet) == {identity_of("one"): 1}


async def test_a_flag_that_came_both_ways_counts_once(quiet):
    event, entry = make_flag("one")
    await quiet.flag(event, entry)
    with busy(quiet):
        await quiet.flag(event, entry)
    quiet.replay_journal()
    assert queued(quiet) == {entry.identity: 1}
    await quiet.flag(*make_flag("one"))
    assert queued(quiet) == {entry.identity: 2}


async def test_a_visit_that_is_not_logged_is_counted(tmp_path):
    options = LedgerOptions(background=False, log_allowed=False)
    ledger = Ledger.open(tmp_path / "ledger.sqlite3", options)
    ledger.record(make_event(EventKind.CHECK))
    ledger.tally(EventKind.CHECK, "allow", "cache", at=START)
    ledger.record(make_event(EventKind.BLOCKED))
    ledger.flush_counts()
    ledger.commit_now(lambda _: None)
    while ledger.writer.waiting:
        ledger.commit_now(lambda _: None)
    assert [event.kind for event in ledger.events().events] == [EventKind.BLOCKED]
    (hour,) = ledger.hourly(START, START)
    assert (hour.checked, hour.blocked) == (3, 1)
    ledger.close()


async def test_what_is_written_is_reported_once_it_is_certain(tmp_path, monkeypatch):
    """A group that fails as a whole is written in parts: its events were in two transactions, and count once."""
    heard: list[tuple[str, int]] = []
    options = replace(QUIET, counted=lambda kind, count: heard.append((kind, count)))
    ledger = Ledger.open(tmp_path / "ledger.sqlite3", options, report=lambda _: None)

    def broken(*_: object) -> None:
        raise ValueError("no detail today")

    monkeypatch.setattr(append, "amend", broken)
    with busy(ledger):
        for _ in range(3):
            ledger.record(make_event(EventKind.BLOCKED))
        ledger.amend("any", detail="a detail")
    while ledger.writer.waiting:
        ledger.commit_now(lambda _: None)
    ledger.commit_now(lambda _: None)
    assert len(ledger.events().events) == 3
    assert sum(count for _, count in heard) == 3
    ledger.close()


async def test_an_error_of_the_engine_while_reading_is_named_as_such(quiet):
    with pytest.raises(LedgerError, match="no such table"):
        quiet.read(lambda connection: connection.exec_driver_sql("SELECT * FROM nowhere"))
