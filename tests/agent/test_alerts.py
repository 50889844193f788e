"""Alerts about the pattern: raised once, ended by themselves, outliving the process."""

import json

import pytest

from agentkit.virtual import START, StillClock
from secondlook.agent.pattern.alerts import ALERTS, GOOD_ANSWERS, PatternAlerts, misfit_key, read_alerts
from secondlook.agent.pattern.files import CONFIRMED, STAMP, Stamp, StampedList, StampedServer
from secondlook.core.event import EventKind
from secondlook.core.rules.rule import SET_BACK_S


class Events(list):
    def record(self, event):
        self.append(event)

    def amend(self, event_id, **fields):
        raise AssertionError("nothing to amend")


@pytest.fixture
def events():
    return Events()


@pytest.fixture
def alerts(tmp_path, events):
    return PatternAlerts(tmp_path, events, StillClock())


def put_stamp(folder, *, age_s=0.0, lists=("mw-8b",)):
    made = Stamp(
        lists=tuple(
            StampedList(
                name=name, file=f"{name}.slh", width=8, count=1, sha256="", tier="intranet", server="office",
                source="office", version="", generation="1", confirmed_at=0.0, verified_at=0.0,
            )
            for name in lists
        ),
        servers=(
            StampedServer(
                server="office", tier="intranet", generation="1", whole=True, announced=False, fresh_for_s=0.0,
                confirmed_at=START - age_s,
            ),
        ),
    )  # fmt: skip
    (folder / STAMP).write_bytes(made.to_json())


def test_an_alert_is_raised_once_and_ended_once(alerts, events):
    for _ in range(2):
        alerts.alert("k", "it is broken", name="mw-8b", server="office")
    for _ in range(2):
        alerts.clear("k")
    assert [(event.kind, event.detail) for event in events] == [
        (EventKind.ERROR, "it is broken"), (EventKind.UPDATE, "no longer: it is broken")
    ]  # fmt: skip
    assert (events[0].list, events[0].server) == ("mw-8b", "office")


def test_the_same_with_another_reason_is_news(alerts, events):
    alerts.alert("k", "one")
    alerts.alert("k", "two")
    assert len(events) == 2
    assert alerts.in_force == {"k": "two"}


def test_what_is_in_force_outlives_the_process(tmp_path, alerts, events):
    alerts.alert("k", "it is broken")
    again = PatternAlerts(tmp_path, events, StillClock())
    again.alert("k", "it is broken")
    assert len(events) == 1
    again.clear("k")
    assert read_alerts(tmp_path) == {}


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff"])
def test_a_file_of_alerts_that_cannot_be_read_is_none(tmp_path, content):
    (tmp_path / ALERTS).write_bytes(content)
    assert read_alerts(tmp_path) == {}


def test_what_a_version_before_said_of_a_list_without_its_server_is_in_force_no_more(tmp_path, events):
    kept = {
        "list office/mw-8b": "refused",
        "list office/": "refused",
        "pattern": "damaged",
        "age office": "old",
    }
    (tmp_path / ALERTS).write_text(json.dumps({"list mw-8b": "damaged", **kept}))
    assert read_alerts(tmp_path) == kept
    assert PatternAlerts(tmp_path, events, StillClock()).in_force == kept
    assert not events


def test_refused_lists_are_alerts_until_they_are_good_again(alerts):
    alerts.settle("office", {"mw-8b": "too small", "se-8b": "too small"})
    alerts.settle("other", {"mw-8b": "too small"})
    alerts.settle("office", {"se-8b": "too small"})
    assert set(alerts.in_force) == {"list office/se-8b", "list other/mw-8b"}
    assert alerts.in_force["list office/se-8b"] == "an update of se-8b from office was refused: too small"


def test_a_damaged_list_that_is_back_is_no_alert_any_more(alerts):
    alerts.alert("list office/mw-8b", "damaged")
    alerts.alert("list embedded/mw-8b", "damaged")
    alerts.alert("pattern", "damaged")
    alerts.settle("office", {})
    assert set(alerts.in_force) == {"list embedded/mw-8b"}


@pytest.mark.parametrize(("age_s", "old"), [(100.0, False), (101.0, True)])
def test_old_lists_are_an_alert_until_they_are_confirmed(tmp_path, alerts, age_s, old):
    put_stamp(tmp_path, age_s=age_s)
    alerts.check_age(100.0)
    assert (alerts.in_force == {"age office": "the lists of office are older than 100 s"}) == old
    (tmp_path / CONFIRMED).write_text(f'{{"office": {START}}}')
    alerts.check_age(100.0)
    assert not alerts.in_force


@pytest.mark.parametrize(("ahead_s", "known"), [(SET_BACK_S, True), (SET_BACK_S + 1, False)])
def test_after_the_clock_was_set_back_nobody_knows_how_old_lists_are(tmp_path, alerts, ahead_s, known):
    put_stamp(tmp_path, age_s=-ahead_s)
    alerts.check_age(100.0)
    assert bool(alerts.in_force) != known
    assert known or alerts.in_force["age office"].endswith("the clock was set back")


def test_a_server_whose_lists_are_used_no_more_grows_no_older(tmp_path, alerts):
    put_stamp(tmp_path, age_s=101.0)
    alerts.check_age(100.0)
    (tmp_path / STAMP).write_bytes(Stamp().to_json())  # another one of its tier took over
    alerts.check_age(100.0)
    assert not alerts.in_force


def test_a_stamp_that_cannot_be_read_is_an_alert(tmp_path, alerts):
    (tmp_path / STAMP).write_bytes(b"{")
    alerts.check_age(100.0)
    assert "pattern" in alerts.in_force


def test_a_disk_that_takes_nothing_stops_no_alert(tmp_path, events):
    alerts = PatternAlerts(tmp_path / "missing", events, StillClock())
    alerts.alert("k", "it is broken")
    assert alerts.in_force == {"k": "it is broken"}


def test_the_trouble_of_a_server_is_an_alert_until_it_is_over_or_the_server_is_not_asked(alerts, events):
    alerts.note_trouble("office", None)
    assert (alerts.in_force, events) == ({}, [])
    alerts.note_trouble("office", "nothing came since")
    alerts.keep_refusals({"office"})
    assert alerts.in_force == {"trouble office": "the lists of office: nothing came since"}
    for _ in range(GOOD_ANSWERS - 1):
        alerts.note_trouble("office", None)
    assert [event.kind for event in events] == [EventKind.ERROR]
    alerts.note_trouble("office", None)
    assert [event.kind for event in events] == [EventKind.ERROR, EventKind.UPDATE]
    alerts.note_trouble("office", "nothing came since")
    alerts.keep_refusals(set())
    assert alerts.in_force == {}


def test_a_server_that_does_not_fit_is_an_alert_until_it_does_also_for_the_next_process(
    alerts, events, tmp_path
):
    for _ in range(2):
        alerts.note_misfits({"office": "the certificate"})
    again = PatternAlerts(tmp_path, events, StillClock())
    again.note_misfits({"branch": "the token"})
    assert read_alerts(tmp_path) == {misfit_key("branch"): "the token"}
    again.note_misfits({})
    assert read_alerts(tmp_path) == {}
    assert [event.server for event in events if event.kind is EventKind.ERROR] == ["office", "branch"]


def test_replicas_behind_one_balancer_that_answer_in_turns_raise_one_alert(alerts, events, tmp_path):
    for trouble in ("one; two", None, "three", "two; one") * GOOD_ANSWERS:
        alerts.note_trouble("office", trouble)
    assert alerts.in_force == {"trouble office": "the lists of office: one; two; three"}
    assert len(events) == 2
    again = PatternAlerts(tmp_path, events, StillClock())
    for _ in range(GOOD_ANSWERS - 1):
        again.note_trouble("office", "three")
        assert again.in_force == alerts.in_force
    again.note_trouble("office", "three")
    assert again.in_force == {"trouble office": "the lists of office: three"}


@pytest.mark.parametrize("served", ["²", "", "one", "-1"])
def test_what_is_no_number_is_no_generation_to_go_back_from(alerts, events, served):
    alerts.note_generation("office", "7", served)
    alerts.note_generation("office", served, "7")
    assert events == []
