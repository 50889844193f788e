"""What only the service knows, among the metrics: read when somebody asks."""

import re
from threading import Event
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agentkit.house import make_pattern
from secondlook.ground.errors import LedgerError
from secondlook.run.assembly.monitoring import metrics

NOW = 1000.0


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """The metrics of a service of which this is known, by name and labels."""

    def show(*, oldest: float | None = 940.0, running: dict | None = None, folder: str = "none", count=None):
        monkeypatch.setattr(metrics, "read_run_file", lambda _state: running)
        parts = SimpleNamespace(
            clock=SimpleNamespace(now=lambda: NOW),
            settings=SimpleNamespace(state=tmp_path),
            view=SimpleNamespace(
                current=SimpleNamespace(
                    pattern=make_pattern([b"a" * 32, b"b" * 32], now=970.0),
                    confirmed=[1, 2, 3],
                    passing=[4],
                    rulebook=[1, 2, 3, 4, 5],
                )
            ),
            ledger=SimpleNamespace(
                queue=SimpleNamespace(count=count or (lambda: (3, oldest, None))),
                recorder=SimpleNamespace(dropped=6),
                upkeep=SimpleNamespace(faults=7),
            ),
        )
        text = metrics.exporter(parts, tmp_path / folder)().decode()
        samples = [each for family in text_string_to_metric_families(text) for each in family.samples]
        return {
            " ".join((re.sub("^secondlook_", "", each.name), *each.labels.values())): each.value
            for each in samples
        }

    return show


def test_queue_lists_and_what_went_wrong_are_told(shown):
    assert shown() == {
        "ledger_away": 0,
        "queue_entries": 3,
        "queue_oldest_seconds": 60,
        "pattern_entries mw-8b embedded": 2,
        "pattern_age_seconds mw-8b embedded": 30,
        "confirmed_entries": 4,
        "rules": 5,
        "events_dropped_total": 6,
        "housekeeping_faults_total": 7,
    }


def test_an_empty_queue_has_no_age(shown):
    assert shown(oldest=None)["queue_oldest_seconds"] == 0


@pytest.mark.parametrize("trouble", ["away", "hangs"])
def test_without_its_ledger_all_else_is_told_and_nothing_waits_for_it(shown, trouble):
    """A database that hangs is silent for seconds, and takes longer than Prometheus waits where each look does."""
    go_on = Event()

    def count():
        if trouble == "away":
            raise LedgerError("connection refused")
        assert go_on.wait(60)
        return (0, None, None)

    try:
        told = shown(count=count)
    finally:
        go_on.set()
    assert told["ledger_away"] == 1
    assert not [name for name in told if "queue" in name]
    assert told["rules"] == 5
    assert told["confirmed_entries"] == 4


def test_a_slow_count_is_asked_for_once_and_told_the_next_time(monkeypatch):
    asked, go_on = [], [Event(), Event()]

    def count():
        asked.append(1)
        assert go_on[len(asked) - 1].wait(60)
        return (len(asked), 940.0, None)

    queue = metrics.QueueCount(count)
    monkeypatch.setattr(metrics, "LEDGER_S", 0.01)
    try:
        assert [queue.now() for _ in range(3)] == [None, None, None]
        assert asked == [1]
        go_on[0].set()
        queue._asked.result(60)
        assert queue.now() == (1, 940.0)  # the second one is under way
    finally:
        for each in go_on:
            each.set()
    monkeypatch.setattr(metrics, "LEDGER_S", 60.0)
    assert queue.now() == (2, 940.0)


def test_a_process_that_hung_is_counted_by_what_it_was(shown):
    running = {"hung": {"count": {"worker": 2, "service": 1}}}
    told = {name: value for name, value in shown(running=running).items() if "hung" in name}
    assert told == {"hung_processes_total worker": 2, "hung_processes_total service": 1}
    assert not any("hung" in name for name in shown(running={}))


def test_the_counters_of_all_processes_are_among_them_where_there_are_any(shown, tmp_path, monkeypatch):
    folded = []
    monkeypatch.setattr(metrics, "fold_ended", folded.append)
    (tmp_path / "metrics").mkdir()
    assert "queue_entries" in shown(folder="metrics")
    assert folded == [tmp_path / "metrics"]
