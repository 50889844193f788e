"""Each question about counts is answered from what was written.

Of hours: one check counts once, in its hour, and empty hours are there too. Of shares: order, limits, one
client alone, and nothing of what is older than asked for.
"""

import pytest

from ledgerkit.samples import START, make_event
from secondlook.core.event import EventKind
from secondlook.ledger.log.counting import DAY_S, HOUR_S, SERVER, SLOT_S, sweep

HOUR = 1_700_000_000 // HOUR_S * HOUR_S


def test_each_figure_is_of_what_was_written(ledger):
    ledger.counts.tally(
        EventKind.CHECK, "allow", "query", client="10.0.0.2", server="near", elapsed_ms=3.0, at=START
    )
    ledger.counts.flush()
    ledger.recorder.note(make_event(EventKind.BLOCKED, client="10.0.0.1", host="bad.example"))
    figures, since = ledger.statistics, START - HOUR_S
    (hour,) = figures.hourly(START, START)
    assert (hour.checked, hour.blocked) == (2, 1)
    assert [each.checked for each in figures.course(SLOT_S, since)] == [2]
    assert [each.blocked for each in figures.course(SLOT_S, since, "10.0.0.1")] == [1]
    assert figures.top("host", SLOT_S, since) == [("bad.example", 1)]
    assert figures.top("host", SLOT_S, since, client="10.0.0.2") == []
    assert figures.latency(SERVER, HOUR_S, since) == {"near": {"5": 1}}
    assert {each.client for each in figures.clients(SLOT_S, since)} == {"10.0.0.1", "10.0.0.2"}
    assert [each.client for each in figures.clients(SLOT_S, since, only="10.0.0.2")] == ["10.0.0.2"]


def fill(ledger):
    for client, count in (("10.0.0.1", 2), ("10.0.0.2", 3), ("10.0.0.3", 1)):
        for _ in range(count):
            ledger.counts.tally(EventKind.CHECK, "allow", "pattern", client=client, at=START)
    ledger.counts.tally(EventKind.CHECK, "allow", "pattern", client="10.0.0.4", at=START - 2 * HOUR_S)
    ledger.counts.flush()
    ledger.store.commit_now(lambda _: None)


def test_clients_with_most_checks_come_first(ledger):
    fill(ledger)
    found = ledger.statistics.clients(SLOT_S, START - HOUR_S, limit=2)
    assert [(each.client, each.checked) for each in found] == [("10.0.0.2", 3), ("10.0.0.1", 2)]
    assert [each.client for each in ledger.statistics.clients(SLOT_S, START - HOUR_S, only="10.0.0.3")] == [
        "10.0.0.3"
    ]


def test_what_is_older_than_asked_for_is_left_out(ledger):
    fill(ledger)
    assert not ledger.statistics.clients(SLOT_S, START - HOUR_S, only="10.0.0.4")
    assert ledger.statistics.clients(SLOT_S, START - 3 * HOUR_S, only="10.0.0.4")
    assert [each.checked for each in ledger.statistics.course(SLOT_S, START - HOUR_S)] == [6]
    assert [each.checked for each in ledger.statistics.course(SLOT_S, START - 3 * HOUR_S)] == [1, 6]


def test_without_an_event_a_client_was_last_seen_in_its_last_five_minutes(ledger):
    fill(ledger)
    (client,) = ledger.statistics.clients(DAY_S, START - DAY_S, only="10.0.0.1")
    assert client.last_seen == START - START % SLOT_S


def test_each_client_was_last_seen_in_its_own_last_stretch(ledger):
    fill(ledger)
    for step in (SLOT_S, HOUR_S, DAY_S):
        seen = {each.client: each.last_seen for each in ledger.statistics.clients(step, START - 2 * DAY_S)}
        assert seen["10.0.0.2"] == START - START % SLOT_S
        assert seen["10.0.0.4"] == START - 2 * HOUR_S - START % SLOT_S


def write(ledger, *kinds_and_times):
    for kind, at in kinds_and_times:
        ledger.recorder.record(make_event(kind, at))
    while ledger.store.writer.waiting:
        ledger.store.commit_now(lambda _: None)
    ledger.store.commit_now(lambda _: None)


def test_what_is_a_check_and_what_became_of_it(ledger):
    write(ledger, *((kind, HOUR) for kind in EventKind))
    (hour,) = ledger.statistics.hourly(HOUR, HOUR)
    counted = (hour.checked, hour.blocked, hour.flagged, hour.would_block)
    assert counted == (4, 1, 1, 1)  # an exception is none


@pytest.mark.parametrize(("at", "index"), [(HOUR, 1), (HOUR + HOUR_S - 0.001, 1), (HOUR + HOUR_S, 2)])
def test_an_event_counts_in_its_hour_and_empty_hours_are_there(ledger, at, index):
    write(ledger, (EventKind.BLOCKED, at))
    hours = ledger.statistics.hourly(HOUR - HOUR_S, HOUR + 2 * HOUR_S)
    assert [hour.at for hour in hours] == [HOUR + HOUR_S * number for number in (-1, 0, 1, 2)]
    assert [hour.blocked for hour in hours] == [int(number == index) for number in range(4)]


def test_old_counts_are_deleted_by_whole_hours(ledger):
    write(ledger, (EventKind.BLOCKED, HOUR), (EventKind.BLOCKED, HOUR + HOUR_S))
    older = HOUR + HOUR_S + 1.0
    assert ledger.store.commit_now(lambda connection: sweep(connection, now=older, older_than=older)) == 3
    assert [hour.blocked for hour in ledger.statistics.hourly(HOUR, HOUR + HOUR_S)] == [0, 1]
