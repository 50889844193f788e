"""What only the service knows, among the metrics: read when somebody asks."""

import re
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agentkit.house import make_pattern
from secondlook.run.assembly.monitoring import metrics

NOW = 1000.0


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """The metrics of a service of which this is known, by name and labels."""

    def show(*, oldest: float | None = 940.0, running: dict | None = None, folder: str = "none"):
        monkeypatch.setattr(metrics, "read_run_file", lambda _state: running)
        parts = SimpleNamespace(
            clock=SimpleNamespace(now=lambda: NOW),
            settings=SimpleNamespace(state=tmp_path),
            view=SimpleNamespace(
                current=SimpleNamespace(pattern=make_pattern([b"a" * 32, b"b" * 32], now=970.0))
            ),
            ledger=SimpleNamespace(
                queue=SimpleNamespace(count=lambda: (3, oldest, None)),
                snapshots=SimpleNamespace(confirmed=lambda: [1, 2, 3, 4], rules=lambda: [1, 2, 3, 4, 5]),
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
