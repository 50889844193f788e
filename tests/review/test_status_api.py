"""How the proxy stands by the API, and what changes it."""

import asyncio
import time

import pytest

from review.stage import csrf, keep, make_event, make_flag


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
    for nobody, status in ((" ", 422), ("10.0.0.0/24", 400), ("anna@10.0.0.7", 400)):
        answer = client.post("/api/v1/clients/erase", json={"client": nobody}, headers=headers)
        assert answer.status_code == status
    assert client.post("/api/v1/clients/erase", json={"client": "127.0.0.1"}).status_code == 403
    assert len(ledger.events.page().events) == 1


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
