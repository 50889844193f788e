"""Counts by client, host, list, threat and server: what counts towards what, bounds, privacy, erasing, keeping."""

from dataclasses import replace

import pytest
import sqlalchemy as sa

from ledgerkit.samples import START, make_event
from secondlook.core.event import EventKind
from secondlook.ledger.engine.tables import shares
from secondlook.ledger.log import counting
from secondlook.ledger.log.counting import (
    DAY_S,
    HOST,
    HOUR_S,
    LIST,
    MOST_NAMES,
    SERVER,
    SLOT_S,
    STEPS,
    THREAT,
    WAY,
)


def keep(ledger, *events):
    for event in events:
        ledger.recorder.record(event)
    ledger.counts.flush()
    while ledger.store.writer.waiting:
        ledger.store.commit_now(lambda _: None)
    ledger.store.commit_now(lambda _: None)


def block(client="10.0.0.1", host="bad.example", **more):
    fields = {"stage": "pattern", "list": "mw-8b", "threat": "malware", "decision": "block"} | more
    return make_event(EventKind.BLOCKED, client=client, host=host, **fields)


def everything(ledger):
    return ledger.store.read(lambda connection: connection.execute(sa.select(shares)).all())


@pytest.mark.parametrize("step", STEPS)
def test_a_block_counts_towards_client_host_list_and_threat_in_every_step(ledger, step):
    keep(ledger, block(), block(), block("10.0.0.2", "worse.example"))
    since = START - DAY_S
    assert [(each.client, each.checked, each.blocked) for each in ledger.statistics.clients(step, since)] == [
        ("10.0.0.1", 2, 2),
        ("10.0.0.2", 1, 1),
    ]
    assert ledger.statistics.top(HOST, step, since) == [("bad.example", 2), ("worse.example", 1)]
    assert ledger.statistics.top(HOST, step, since, client="10.0.0.2") == [("worse.example", 1)]
    assert ledger.statistics.top(LIST, step, since) == [("mw-8b", 3)]
    assert ledger.statistics.top(THREAT, step, since, limit=1) == [("malware", 3)]
    assert [each.blocked for each in ledger.statistics.course(step, since, "10.0.0.1")] == [2]


def test_a_check_that_leaves_no_event_counts_for_its_client_and_names_no_host(ledger):
    ledger.counts.tally(
        EventKind.CHECK, "allow", "pattern", client="10.0.0.9", host="private.example", at=START
    )
    keep(ledger)
    (client,) = ledger.statistics.clients(SLOT_S, START - HOUR_S)
    assert (client.client, client.checked, client.blocked) == ("10.0.0.9", 1, 0)
    assert sum(each.checked for each in ledger.statistics.course(SLOT_S, START - HOUR_S)) == 1
    assert "private.example" not in str(everything(ledger))


@pytest.mark.parametrize("step", STEPS)
def test_what_a_gateway_asks_counts_for_it_in_every_step(ledger, step):
    for gateway in ("squid", "squid", None):
        ledger.counts.tally(EventKind.CHECK, "allow", "pattern", gateway=gateway, at=START)
    keep(ledger, block(gateway="squid"), block(gateway="192.0.2.1"), block())
    found = ledger.statistics.gateways(step, START - DAY_S)
    assert [(each.gateway, each.checked, each.blocked, each.flagged) for each in found] == [
        ("squid", 3, 1, 0),
        ("192.0.2.1", 1, 1, 0),
    ]
    assert [each.gateway for each in ledger.statistics.gateways(step, START - DAY_S, limit=1)] == ["squid"]


def test_answers_of_a_server_are_counted_by_how_long_they_took(ledger):
    for elapsed_ms in (0.5, 19.0, 20.0, 6_000.0):
        ledger.counts.tally(EventKind.CHECK, "allow", "query", server="near", elapsed_ms=elapsed_ms, at=START)
    ledger.counts.tally(EventKind.CHECK, "allow", "cache", server="near", elapsed_ms=0.1, at=START)
    keep(ledger)
    ledger.counts.tally(EventKind.CHECK, "allow", "known_good", elapsed_ms=1.5, at=START)
    ledger.counts.tally(EventKind.CHECK, "flag", "unverifiable", elapsed_ms=1500.0, at=START)
    ledger.counts.tally(EventKind.CHECK, "allow", "rules", at=START)  # how long is not known
    keep(ledger, block(stage="pattern", elapsed_ms=0.04))
    since = START - HOUR_S
    assert ledger.statistics.latency(SERVER, HOUR_S, since) == {"near": {"1": 1, "20": 2, "inf": 1}}
    assert ledger.statistics.latency(WAY, HOUR_S, since) == {
        "asked": {"1": 1, "20": 2, "2000": 1, "inf": 1},
        "cached": {"1": 1},
        "local": {"1": 1, "2": 1},
    }


@pytest.mark.parametrize("step", STEPS)
def test_looks_at_a_server_are_counted_in_every_step(ledger, step):
    for answered in (True, True, False):
        ledger.counts.look("near", answered=answered)
    ledger.counts.look("far", answered=False)
    keep(ledger)
    found = ledger.statistics.availability(step, ledger.store.clock.now() - step)
    assert [(each.server, each.looks, each.answered) for each in found] == [("far", 1, 0), ("near", 3, 2)]
    assert all(each.at % step == 0 for each in found)


def test_beyond_the_bound_names_count_together(ledger):
    keep(ledger, *(block(host=f"h{number}.example") for number in range(MOST_NAMES + 3)))
    keep(ledger, block(host="late.example"), block(host="h0.example"))
    for step in STEPS:
        rows = [(row.name, row.count) for row in everything(ledger) if (row.step, row.of) == (step, HOST)]
        assert len(rows) == MOST_NAMES + 1
        assert dict(rows)[""] == 4
        assert dict(rows)["h0.example"] == 2
    assert ledger.statistics.top(HOST, SLOT_S, START - HOUR_S, limit=1) == [("h0.example", 2)]


def test_the_bound_holds_across_a_restart(place, open_ledger):
    first = open_ledger(place)
    keep(first, *(block(host=f"h{number}.example") for number in range(MOST_NAMES)))
    again = open_ledger(place)
    keep(again, block(host="late.example"))
    assert "late.example" not in str(everything(again))


@pytest.mark.parametrize(
    ("options", "client", "host"),
    [
        ({"privacy": 2}, True, True),
        ({"privacy": 3}, False, False),
        ({"ignored_hosts": ("bad.example",)}, False, False),
    ],
)
def test_counts_obey_the_privacy_level(place, open_ledger, options, client, host):
    ledger = open_ledger(place, **options)
    keep(ledger, block(gateway="squid"))
    ledger.counts.tally(
        EventKind.CHECK, "allow", "pattern", client="10.0.0.1", gateway="squid", host="bad.example", at=START
    )
    keep(ledger)
    text = str(everything(ledger))
    assert ("10.0.0.1" in text, "squid" in text, "bad.example" in text) == (client, client, host)
    assert sum(each.checked for each in ledger.statistics.course(SLOT_S, START - HOUR_S)) == 2


def test_an_erased_client_is_in_no_count(ledger):
    keep(ledger, block(), block("10.0.0.2", "other.example"))
    ledger.upkeep.erase_client("10.0.0.1")
    text = str(everything(ledger))
    assert "10.0.0.1" not in text
    assert "bad.example" not in text
    assert ledger.statistics.top(HOST, DAY_S, START - DAY_S) == [("other.example", 1)]


def test_of_an_erased_user_no_host_is_left(ledger):
    keep(ledger, replace(block(), user="anna"), block("10.0.0.2", "other.example"))
    ledger.upkeep.erase_client("anna")
    assert "bad.example" not in str(everything(ledger))
    assert [each.client for each in ledger.statistics.clients(DAY_S, START - DAY_S)] == [
        "10.0.0.1",
        "10.0.0.2",
    ]


def test_short_stretches_are_kept_for_a_short_time(place, open_ledger):
    ledger = open_ledger(place, retention_s=30.0 * DAY_S)
    keep(ledger, block())

    def steps_left(after_s):
        now = START + after_s
        ledger.store.commit_now(
            lambda connection: counting.sweep(connection, now=now, older_than=now - 30.0 * DAY_S)
        )
        return {row.step for row in everything(ledger)}

    assert steps_left(HOUR_S) == set(STEPS)
    assert steps_left(3 * HOUR_S) == {HOUR_S, DAY_S}
    assert steps_left(9 * DAY_S) == {DAY_S}
    assert steps_left(30 * DAY_S) == set()


def test_a_client_was_last_seen_at_its_last_event(ledger):
    keep(ledger, block(time=START + 100.5), block(time=START + 101.5))
    (client,) = ledger.statistics.clients(DAY_S, START - DAY_S)
    assert client.last_seen == START + 101.5
