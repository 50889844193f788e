"""The API does what its OpenAPI document says, whatever is sent; errors have one shape."""

import asyncio
import time

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from review.stage import FakeProgram, csrf, keep, make_event, make_flag
from secondlook.core.event import EventKind
from secondlook.ground.clock import SystemClock
from secondlook.ledger.ledger import Ledger, LedgerOptions
from secondlook.review.api.api import create_api
from secondlook.review.operations.acknowledged import Acknowledged
from secondlook.review.operations.operations import Operations


def make_operations(folder):
    ledger = Ledger.open(folder / "ledger.sqlite3", LedgerOptions(keeper=True, background=False))
    return ledger, Operations(
        ledger, FakeProgram(folder / "ca.pem"), Acknowledged(folder / "seen.json"), SystemClock()
    )


CHECKS = (not_a_server_error, response_schema_conformance, status_code_conformance, content_type_conformance)


def hold(operation):
    @settings(
        max_examples=25,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def answers_as_documented(case):
        case.call_and_validate(checks=CHECKS)

    answers_as_documented()


def test_the_openapi_document_holds(tmp_path):
    ledger, operations = make_operations(tmp_path)
    keep(ledger, *[make_event() for _ in range(5)])
    api = create_api(operations)
    schema = schemathesis.openapi.from_asgi("/openapi.json", api)
    operations = [result.ok() for result in schema.get_all_operations()]
    for operation in operations:
        hold(operation)
    ledger.close()
    assert len(operations) >= 20


def test_a_rule_is_made_and_removed(client, ledger):
    headers = {"x-csrf-token": csrf(client)}
    made = client.post(
        "/api/v1/rules", json={"action": "allow", "subject": "Example.ORG", "for_s": 60}, headers=headers
    )
    assert made.status_code == 201
    assert made.json()["subject"] == "example.org"
    assert client.get("/api/v1/rules").json() == [made.json()]
    assert client.get("/api/v1/rules/test?url=http://www.example.org/").json()[0]["id"] == made.json()["id"]
    assert client.delete(f"/api/v1/rules/{made.json()['id']}", headers=headers).status_code == 204
    assert client.delete(f"/api/v1/rules/{made.json()['id']}", headers=headers).status_code == 404
    assert client.post("/api/v1/rules", json={"action": "allow", "subject": "a.example"}).status_code == 403
    assert not ledger.snapshots.rules()


def test_what_the_pages_do_the_api_does(client, ledger, program):
    headers = {"x-csrf-token": csrf(client)}
    keep(ledger, make_event())
    assert client.get("/api/v1/overview").json()["day"]["blocked"] == 1
    page = client.get("/api/v1/events?decision=block&limit=1").json()
    assert page["events"][0]["class"] == "page"
    assert client.get(f"/api/v1/events/{page['events'][0]['id']}").json() == page["events"][0]
    assert client.post("/api/v1/pause", json={"minutes": 5}, headers=headers).status_code == 204
    assert len(ledger.snapshots.pauses()) == 1
    assert client.post("/api/v1/resume", headers=headers).status_code == 204
    assert client.post("/api/v1/queue/verify", headers=headers).status_code == 202
    assert client.post("/api/v1/lists/update", headers=headers).status_code == 202
    assert program.asked == ["verify", "update"]
    assert client.get("/api/v1/events/export?as=csv").text.startswith("id,time,kind")


def test_a_client_is_erased(client, ledger):
    headers = {"x-csrf-token": csrf(client)}
    keep(ledger, make_event(client="10.0.0.7"), make_event(client="10.0.0.8", user="anna"), make_event())
    answer = client.post("/api/v1/clients/erase", json={"client": " 10.0.0.7 "}, headers=headers)
    assert answer.json() == {"events": 1}
    assert client.post("/api/v1/clients/erase", json={"client": "anna"}, headers=headers).json() == {
        "events": 1
    }
    assert [event.client for event in ledger.events.page().events] == ["127.0.0.1"]
    assert client.post("/api/v1/clients/erase", json={"client": " "}, headers=headers).status_code == 422
    assert client.post("/api/v1/clients/erase", json={"client": "127.0.0.1"}).status_code == 403
    assert len(ledger.events.page().events) == 1


def test_an_export_of_rules_comes_back_with_its_ends(client, ledger):
    headers = {"x-csrf-token": csrf(client)}
    for subject, for_s in (("ends.example", 60), ("stays.example", None)):
        client.post(
            "/api/v1/rules", json={"action": "allow", "subject": subject, "for_s": for_s}, headers=headers
        )
    exported = client.get("/api/v1/rules").json()
    for rule in exported:
        client.delete(f"/api/v1/rules/{rule['id']}", headers=headers)
    over = {"action": "allow", "subject": "over.example", "expires": "2020-01-01T00:00:00Z"}
    assert client.post("/api/v1/rules/import", json=[*exported, over], headers=headers).status_code == 204
    ends = {rule["subject"]: rule["expires"] for rule in client.get("/api/v1/rules").json()}
    assert set(ends) == {"ends.example", "stays.example"}
    assert ends["stays.example"] is None
    assert ends["ends.example"] is not None
    broken = [{"action": "allow", "subject": "new.example"}, {"action": "allow", "subject": "a b"}]
    assert client.post("/api/v1/rules/import", json=broken, headers=headers).status_code == 400
    assert len(client.get("/api/v1/rules").json()) == 2


def test_an_import_said_again_changes_nothing(client, ledger):
    headers = {"x-csrf-token": csrf(client)}
    made = [
        {"action": "allow", "subject": "a.example", "created": "2020-01-02T03:04:05Z", "source": "override"},
        {"action": "block", "subject": "b.example", "client": "10.0.0.9/24", "reason": "why"},
        {"action": "block", "subject": "c.example", "source": "config"},
    ]
    assert client.post("/api/v1/rules/import", json=made, headers=headers).status_code == 204
    exported = client.get("/api/v1/rules").json()
    assert [(rule["subject"], rule["source"], rule["client"]) for rule in exported] == [
        ("a.example", "override", None),
        ("b.example", "operator", "10.0.0.0/24"),
    ]
    assert exported[0]["created"] == "2020-01-02T03:04:05.000Z"
    for _ in range(2):
        assert client.post("/api/v1/rules/import", json=exported, headers=headers).status_code == 204
        assert client.get("/api/v1/rules").json() == exported
    again = {"action": "block", "subject": "b.example", "client": "10.0.0.0/24", "reason": "other"}
    assert client.post("/api/v1/rules", json=again, headers=headers).json()["id"] == exported[1]["id"]
    broken = [{**made[0], "source": "nobody"}]
    assert client.post("/api/v1/rules/import", json=broken, headers=headers).status_code == 422


@pytest.mark.parametrize(
    "pause",
    [
        {"minutes": 1, "client": ""},
        {"minutes": 1, "client": "   "},
        {"minutes": 1, "client": "a\0b"},
        {"minutes": 1e-9},
        {"minutes": "1"},
        {"minutes": True},
    ],
)
def test_a_pause_that_means_nothing_is_refused(client, ledger, pause):
    answer = client.post("/api/v1/pause", json=pause, headers={"x-csrf-token": csrf(client)})
    assert answer.status_code in {400, 422}
    assert not ledger.snapshots.pauses()


def test_the_api_does_what_the_commands_do(client, ledger):
    headers = {"x-csrf-token": csrf(client)}
    for who in ("10.0.0.7", "anna", None):
        assert client.post("/api/v1/pause", json={"minutes": 5, "client": who}, headers=headers).is_success
    assert client.post("/api/v1/resume", json={"client": "anna"}, headers=headers).status_code == 204
    now = time.time()
    assert [pause.client for pause in ledger.snapshots.pauses() if pause.until > now] == ["10.0.0.7", None]
    assert client.get("/api/v1/check?subject=http://a.example/&client=anna").status_code == 200
    assert client.get("/api/v1/check?subject=http://a.example/&client=").status_code == 422
    freed = client.get("/api/v1/rules/backtest?rule=a.example&action=allow").json()
    assert (freed["newly_allowed"], freed["allowed_hosts"]) == (2, [{"host": "freed.example", "count": 2}])
    event = make_event()
    asyncio.run(ledger.flags.flag(event, make_flag(event)))
    (entry,) = client.get("/api/v1/queue").json()["entries"]
    assert client.get(f"/api/v1/queue/{entry['id']}").json() == entry
    assert client.get("/api/v1/queue/none").status_code == 404


def test_the_document_tells_how_to_sign_in_and_what_a_path_takes(client):
    document = client.get("/api/v1/openapi.json").json()
    assert set(document["components"]["securitySchemes"]) == {"token", "session"}
    told = {each["name"] for each in document["paths"]["/events/export"]["get"]["parameters"]}
    assert told >= {"as", "search", "host", "since"}
    refused = client.put("/api/v1/rules", json={}, headers={"x-csrf-token": csrf(client)})
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, POST")


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
