"""Counts of what leaves no event: in memory, then in the ledger, and back in memory when it takes none."""

from contextlib import suppress

import pytest

from ledgerkit.samples import START, make_event
from secondlook.core.event import EventKind
from secondlook.ground.errors import LedgerError
from secondlook.ledger.ledger import Ledger, LedgerOptions

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
