"""Each question about counts is answered from what was written."""

from ledgerkit.samples import START, make_event
from secondlook.core.event import EventKind
from secondlook.ledger.log.counting import HOUR_S, SERVER, SLOT_S


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
