"""Counts of what leaves no event, or is a flag: in memory, then in the ledger, and back when it takes none."""

import asyncio
from contextlib import suppress

import pytest
import sqlalchemy as sa

from ledgerkit.busy import busy
from ledgerkit.samples import START, make_event, make_flag
from secondlook.core.event import EventKind
from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine.tables import shares, tallies
from secondlook.ledger.ledger import Ledger, LedgerOptions
from secondlook.ledger.log import append, counts

pytestmark = pytest.mark.anyio


async def test_a_visit_that_is_not_logged_is_counted(tmp_path):
    options = LedgerOptions(background=False, log_allowed=False)
    ledger = Ledger.open(tmp_path / "ledger.sqlite3", options)
    ledger.recorder.record(make_event(EventKind.CHECK))
    ledger.counts.tally(EventKind.CHECK, "allow", "cache", at=START)
    ledger.recorder.record(make_event(EventKind.BLOCKED))
    ledger.counts.flush()
    ledger.store.commit_now(lambda _: None)
    while ledger.store.writer.waiting:
        ledger.store.commit_now(lambda _: None)
    assert [event.kind for event in ledger.events.page().events] == [EventKind.BLOCKED]
    (hour,) = ledger.statistics.hourly(START, START)
    assert (hour.checked, hour.blocked) == (3, 1)
    ledger.close()


def test_counts_that_could_not_be_written_are_kept(tmp_path):
    ledger = Ledger.open(tmp_path / "ledger.sqlite3", LedgerOptions(background=False), report=lambda _: None)
    ledger.counts.tally(EventKind.CHECK, "allow", "cache", at=START)
    ledger.store.commit_now(
        lambda connection: connection.exec_driver_sql("ALTER TABLE tallies RENAME TO away")
    )
    ledger.counts.flush()
    while not ledger.counts._checks:  # the writer gives them back when it has failed
        with suppress(LedgerError):  # what is written in one step fails in one
            ledger.store.commit_now(lambda _: None)
    with pytest.raises(LedgerError, match="no such table"):
        ledger.statistics.hourly(START, START)
    ledger.store.commit_now(
        lambda connection: connection.exec_driver_sql("ALTER TABLE away RENAME TO tallies")
    )
    ledger.counts.flush()
    ledger.store.commit_now(lambda _: None)
    (hour,) = ledger.statistics.hourly(START, START)
    assert hour.checked == 1
    ledger.close()


async def test_who_waits_for_a_flag_waits_for_no_counts(ledger):
    ledger.upkeep.stop()
    await ledger.flags.flag(*make_flag("one"))
    for table in (tallies, shares):
        query = sa.select(sa.func.count()).select_from(table)
        assert ledger.store.read(lambda connection, query=query: connection.execute(query).scalar()) == 0
    ledger.counts.flush()
    ledger.store.commit_now(lambda _: None)
    (hour,) = ledger.statistics.hourly(START, START)
    assert (hour.checked, hour.flagged) == (1, 1)


async def test_a_flag_counts_once_however_often_it_was_tried(ledger, monkeypatch):
    """A group of which one part fails is rolled back, and written in parts."""
    ledger.upkeep.stop()
    tries = []

    def broken(*_: object) -> None:
        tries.append(1)
        raise ValueError("no detail today")

    monkeypatch.setattr(append, "amend", broken)
    with busy(ledger):
        flags = [ledger.store.writer.flag(*make_flag(name)).answer for name in "ab"]
        ledger.recorder.amend("any", detail="a detail")
    await asyncio.gather(*flags)
    ledger.store.commit_now(lambda _: None)
    assert len(tries) == 2
    ledger.counts.flush()
    ledger.store.commit_now(lambda _: None)
    (hour,) = ledger.statistics.hourly(START, START)
    assert (hour.checked, hour.flagged) == (2, 2)


async def test_an_erasure_whose_counts_went_back_into_memory_is_none(ledger, monkeypatch):
    ledger.upkeep.stop()
    await ledger.flags.flag(*make_flag("one", client="10.0.0.1"))

    def broken(*_: object) -> None:
        raise ValueError("no counts today")

    with monkeypatch.context() as patched:
        patched.setattr(counts, "add_counts", broken)
        with pytest.raises(ValueError, match="no counts"):
            ledger.upkeep.erase_client("10.0.0.1")
    ledger.upkeep.erase_client("10.0.0.1")
    ledger.counts.flush()
    query = sa.select(shares.c.client)
    assert "10.0.0.1" not in ledger.store.read(lambda connection: connection.execute(query).scalars().all())


async def test_counts_on_their_way_that_come_back_are_written_before_an_erasure(ledger, monkeypatch):
    ledger.upkeep.stop()
    await ledger.flags.flag(*make_flag("one", client="10.0.0.1"))
    written, handed = counts.add_counts, []

    def broken_first(*args: object) -> None:
        if not handed[0].done():
            raise ValueError("no counts yet")
        written(*args)

    monkeypatch.setattr(counts, "add_counts", broken_first)
    with busy(ledger):
        handed.append(ledger.counts.flush())
        erasing = asyncio.create_task(asyncio.to_thread(ledger.upkeep.erase_client, "10.0.0.1"))
        await asyncio.sleep(0)
    await erasing
    assert handed[0].exception() is not None
    ledger.counts.flush()
    ledger.store.commit_now(lambda _: None)
    query = sa.select(shares.c.client)
    assert "10.0.0.1" not in ledger.store.read(lambda connection: connection.execute(query).scalars().all())
