"""Counters are bound once for each stage and action."""

from prometheus_client import REGISTRY

from secondlook.agent import metrics


def sample(name, **labels):
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_a_decision_is_counted_under_its_stage_and_action():
    before = sample("secondlook_decisions_total", stage="rules", action="allow")
    metrics.decisions("rules", "allow").inc()
    assert metrics.decisions("rules", "allow") is metrics.decisions("rules", "allow")
    assert metrics.decisions("rules", "block") is not metrics.decisions("rules", "allow")
    assert sample("secondlook_decisions_total", stage="rules", action="allow") == before + 1


def test_written_events_are_counted_by_kind():
    before = sample("secondlook_events_total", kind="blocked")
    metrics.count_events("blocked", 3)
    assert sample("secondlook_events_total", kind="blocked") == before + 3
