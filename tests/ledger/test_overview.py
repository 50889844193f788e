"""Counts of hours: one check counts once, in its hour, and empty hours are there too."""

import pytest

from ledgerkit.samples import make_event
from secondlook.core.event import EventKind
from secondlook.ledger.log import overview
from secondlook.ledger.log.append import HOUR_S

HOUR = 1_700_000_000 // HOUR_S * HOUR_S


def write(ledger, *kinds_and_times):
    for kind, at in kinds_and_times:
        ledger.recorder.record(make_event(kind, at))
    while ledger.store.writer.waiting:
        ledger.store.commit_now(lambda _: None)
    ledger.store.commit_now(lambda _: None)


def test_what_is_a_check_and_what_became_of_it(ledger):
    write(ledger, *((kind, HOUR) for kind in EventKind))
    (hour,) = ledger.statistics.hourly(HOUR, HOUR)
    assert (hour.checked, hour.blocked, hour.flagged, hour.would_block) == (
        4,
        1,
        1,
        1,
    )  # an exception is none
    assert (hour.confirmed, hour.errors) == (2, 1)


@pytest.mark.parametrize(("at", "index"), [(HOUR, 1), (HOUR + HOUR_S - 0.001, 1), (HOUR + HOUR_S, 2)])
def test_an_event_counts_in_its_hour_and_empty_hours_are_there(ledger, at, index):
    write(ledger, (EventKind.BLOCKED, at))
    hours = ledger.statistics.hourly(HOUR - HOUR_S, HOUR + 2 * HOUR_S)
    assert [hour.at for hour in hours] == [HOUR + HOUR_S * number for number in (-1, 0, 1, 2)]
    assert [hour.blocked for hour in hours] == [int(number == index) for number in range(4)]


def test_old_counts_are_deleted_by_whole_hours(ledger):
    write(ledger, (EventKind.BLOCKED, HOUR), (EventKind.BLOCKED, HOUR + HOUR_S))
    older = HOUR + HOUR_S + 1.0
    assert ledger.store.commit_now(lambda connection: overview.sweep(connection, older_than=older)) == 1
    assert [hour.blocked for hour in ledger.statistics.hourly(HOUR, HOUR + HOUR_S)] == [0, 1]
