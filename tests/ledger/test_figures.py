"""Reading the shares: order, limits, one client alone, and nothing of what is older than asked for."""

from ledgerkit.samples import START
from secondlook.core.event import EventKind
from secondlook.ledger.log.counting import DAY_S, HOUR_S, SLOT_S


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
