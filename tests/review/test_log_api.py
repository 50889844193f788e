"""The log, the queue and late verdicts by the API."""

import re
import time

import pytest

from review.stage import csrf, keep, make_event
from secondlook.core.event import EventKind
from secondlook.review.operations import acknowledged, late_verdicts


def test_late_verdicts_and_closings_are_told_and_noted(client, ledger):
    headers = {"x-csrf-token": csrf(client)}
    visit = make_event(EventKind.FLAGGED, identity=bytes([9]) * 32, time=1_790_000_000.0)
    event = make_event(EventKind.CONFIRMED, identity=bytes([9]) * 32, decision=None)
    keep(ledger, visit, event)
    assert [found["id"] for found in client.get("/api/v1/queue/closed").json()] == [event.id]
    (late,) = client.get("/api/v1/late-verdicts").json()
    assert (late["id"], late["unchecked"]) == (event.id, True)
    assert [got["client"] for got in late["let_through"]] == ["127.0.0.1"]
    path = "/api/v1/late-verdicts/seen"
    assert client.post(path, json={"newest": "none"}, headers=headers).status_code == 404
    assert client.post(path, json={"newest": event.id}, headers=headers).status_code == 204
    assert client.get("/api/v1/late-verdicts").json() == []
    assert client.post(f"/api/v1/late-verdicts/{event.id}/seen", headers=headers).status_code == 204
    assert client.get("/api/v1/late-verdicts").json() == []


@pytest.mark.parametrize("cursor", ["s12", "t4711.0", "t4711.12"])  # of SQLite, of PostgreSQL
def test_the_log_is_followed_from_every_place_that_a_ledger_gives(client, cursor):
    document = client.get("/api/v1/openapi.json").json()
    (after,) = [
        each for each in document["paths"]["/events/tail"]["get"]["parameters"] if each["name"] == "after"
    ]
    (pattern,) = [form["pattern"] for form in after["schema"]["anyOf"] if "pattern" in form]
    assert re.search(pattern, cursor)


def test_late_verdicts_beyond_those_that_are_shown_come_once_the_newer_ones_are_noted(
    client, ledger, monkeypatch
):
    monkeypatch.setattr(late_verdicts, "MOST", 2)
    got = {"let_through": [{"client": "10.0.0.7", "user": None, "time": time.time()}]}
    events = [make_event(EventKind.LATE_VERDICT, identity=bytes([n]) * 32, extra=got) for n in range(5)]
    keep(ledger, *events)
    headers = {"x-csrf-token": csrf(client)}
    seen = []
    while found := client.get("/api/v1/late-verdicts").json():
        assert "late verdict" in client.get("/rules").text
        assert all(f"/log/{each['id']}" in client.get("/late").text for each in found)
        seen += [each["id"] for each in found]
        newest = {"newest": found[0]["id"]}
        assert client.post("/api/v1/late-verdicts/seen", json=newest, headers=headers).status_code == 204
    assert seen == [event.id for event in reversed(events)]


def test_more_late_verdicts_than_can_be_noted_come_to_an_end(client, ledger, monkeypatch):
    monkeypatch.setattr(late_verdicts, "MOST", 2)
    for module in (late_verdicts, acknowledged):
        monkeypatch.setattr(module, "MOST_ACKNOWLEDGED", 4)
    got = {"let_through": [{"client": "10.0.0.7", "user": None, "time": time.time()}]}
    events = [make_event(EventKind.LATE_VERDICT, identity=bytes([n]) * 32, extra=got) for n in range(6)]
    keep(ledger, *events)
    headers = {"x-csrf-token": csrf(client)}
    for newer in (5, 3):
        found = client.get("/api/v1/late-verdicts").json()
        assert [each["id"] for each in found] == [events[newer].id, events[newer - 1].id]
        newest = {"newest": found[0]["id"]}
        assert client.post("/api/v1/late-verdicts/seen", json=newest, headers=headers).status_code == 204
    assert client.get("/api/v1/late-verdicts").json() == []


def test_the_log_is_followed_reported_and_set_up_from_a_program(client, ledger):
    start = client.get("/api/v1/events/tail").json()
    assert start["events"] == []
    event = make_event()
    keep(ledger, event, make_event(EventKind.CHECK, decision="allow"))
    tail = client.get(f"/api/v1/events/tail?after={start['after']}&decision=block").json()
    assert [each["id"] for each in tail["events"]] == [event.id]
    assert client.get(f"/api/v1/events/tail?after={tail['after']}").json()["events"] == []
    assert (
        "I believe that this entry is a mistake"
        in client.get(f"/api/v1/events/{event.id}/report").json()["text"]
    )
    assert client.get("/api/v1/events/none/report").status_code == 404
    assert client.get("/api/v1/setup").json()["proxy_port"] == "8080"
