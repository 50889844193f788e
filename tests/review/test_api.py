"""The API does what its OpenAPI document says, whatever is sent; errors have one shape."""

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

from review.stage import ORIGIN, FakeProgram, csrf, keep, make_event
from secondlook.ground.clock import SystemClock
from secondlook.ledger.ledger import Ledger, LedgerOptions
from secondlook.review import app
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


def test_it_is_made_when_it_is_first_asked_and_once(monkeypatch, operations, door):
    made = []
    monkeypatch.setattr(app, "create_api", lambda given: made.append(given) or create_api(given))
    page = app.create_app(operations, door, hosts=["127.0.0.1:9000"], clock=SystemClock())
    with TestClient(page, base_url=ORIGIN, headers={"Authorization": f"Bearer {door.token}"}) as client:
        assert client.get("/healthz").status_code == 200
        assert made == []
        for _ in range(2):
            assert client.get("/api/v1/rules").status_code == 200
    assert made == [operations]


def test_the_document_tells_how_to_sign_in_and_what_a_path_takes(client):
    document = client.get("/api/v1/openapi.json").json()
    assert set(document["components"]["securitySchemes"]) == {"token", "session"}
    told = {each["name"] for each in document["paths"]["/events/export"]["get"]["parameters"]}
    assert told >= {"as", "search", "host", "since"}
    refused = client.put("/api/v1/rules", json={}, headers={"x-csrf-token": csrf(client)})
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, POST")
