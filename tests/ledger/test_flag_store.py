"""A flag is in the ledger or in the journal before it is answered, or it is refused."""

import asyncio

import pytest

from ledgerkit.busy import busy
from ledgerkit.samples import identity_of, make_flag
from secondlook.core.event import EventKind
from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine.journal import Journal
from secondlook.ledger.ledger import Ledger, LedgerOptions

pytestmark = pytest.mark.anyio

QUIET = LedgerOptions(background=False, journal_bytes=1 << 20, deadline_s=60.0)


@pytest.fixture
def quiet(tmp_path):
    """A ledger of one process without housekeeping: nothing is replayed by itself."""
    ledger = Ledger.open(tmp_path / "ledger.sqlite3", QUIET, report=lambda _: None)
    yield ledger
    ledger.close()


def queued(ledger):
    return {entry.identity: entry.count for entry in ledger.queue.walk()}


async def test_a_flag_is_in_the_ledger_when_it_is_answered(quiet):
    event, entry = make_flag("one")
    await quiet.flags.flag(event, entry)
    assert queued(quiet) == {entry.identity: 1}
    assert quiet.events.find(event.id) is not None
    assert quiet.flags.journaled == 0
    assert not quiet.flags.journal.waiting()


async def test_a_flag_that_the_ledger_does_not_take_in_time_is_in_the_journal_when_it_is_answered(quiet):
    event, entry = make_flag("one")
    with busy(quiet):
        await quiet.flags.flag(event, entry)
        assert [record["event"]["id"] for record in quiet.flags.journal.records()] == [event.id]
        assert quiet.flags.journaled == 1
    assert queued(quiet) == {}
    assert quiet.flags.replay() == 1
    assert queued(quiet) == {entry.identity: 1}
    assert not quiet.flags.journal.waiting()
    found = quiet.events.find(event.id)
    assert found is not None
    assert (found.url, found.identity, found.kind) == (event.url, event.identity, EventKind.FLAGGED)


async def test_without_room_in_the_journal_either_the_flag_is_refused(tmp_path):
    small = LedgerOptions(background=False, journal_bytes=128)
    ledger = Ledger.open(tmp_path / "ledger.sqlite3", small, report=lambda _: None)
    with busy(ledger), pytest.raises(LedgerError, match=r"no commit within 0.05 s; flags journal .*: full"):
        await ledger.flags.flag(*make_flag("one"))
    assert queued(ledger) == {}
    ledger.close()


async def test_without_a_journal_the_flag_is_refused(quiet):
    journal, quiet.flags.journal = quiet.flags.journal, None
    with busy(quiet), pytest.raises(LedgerError, match="no commit within"):
        await quiet.flags.flag(*make_flag("one"))
    quiet.flags.journal = journal


async def test_the_journal_is_emptied_only_when_the_ledger_has_committed(quiet, tmp_path):
    with busy(quiet):
        await quiet.flags.flag(*make_flag("one"))
    other = Journal(tmp_path / "flags.journal", size_bytes=1 << 20)
    with busy(quiet):
        replay = asyncio.create_task(asyncio.to_thread(quiet.flags.replay))
        while not quiet.store.writer._jobs.qsize():  # it waits for the writer
            await asyncio.sleep(0)
        assert not replay.done()
        assert other.waiting()
    assert await replay == 1
    assert not other.waiting()
    other.close()


async def test_what_the_ledger_refuses_stays_in_the_journal(quiet):
    with busy(quiet):
        await quiet.flags.flag(*make_flag("one"))
    quiet.store.commit_now(
        lambda connection: connection.exec_driver_sql("ALTER TABLE flagged RENAME TO away")
    )
    with pytest.raises(LedgerError, match="no such table"):
        quiet.flags.replay()
    assert quiet.flags.journal.waiting()
    quiet.store.commit_now(
        lambda connection: connection.exec_driver_sql("ALTER TABLE away RENAME TO flagged")
    )
    assert quiet.flags.replay() == 1
    assert queued(quiet) == {identity_of("one"): 1}


async def test_a_flag_that_came_both_ways_counts_once(quiet):
    event, entry = make_flag("one")
    await quiet.flags.flag(event, entry)
    with busy(quiet):
        await quiet.flags.flag(event, entry)
    quiet.flags.replay()
    assert queued(quiet) == {entry.identity: 1}
    await quiet.flags.flag(*make_flag("one"))
    assert queued(quiet) == {entry.identity: 2}
