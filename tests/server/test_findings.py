"""`POST /findings` over HTTP: who may, how much, and what is answered."""

import asyncio
import json

import pytest

from secondlook.config.service import PublishSettings
from secondlook.ground.clock import SystemClock
from secondlook.server.findings import intake
from secondlook.server.findings.intake import Intake
from secondlook.server.findings.receiver import FindingReceiver
from secondlook.server.http.app import AppSettings
from secondlook.wire.finding import MAX_REPORT_BYTES, Finding, Report, dump_report
from serverkit import listening, make_store

REPORT = dump_report(Report("desk", (Finding(subject="evil.example", name="Eicar", engine="clamav"),)))
TOKEN = {"authorization": "Bearer secret"}


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path)


def post(store, body=REPORT, *, mode="ask", tokens=("secret",), headers=TOKEN, method="POST"):
    async def posting():
        receiver = FindingReceiver(
            Intake(store, PublishSettings()), mode, SystemClock(), asyncio.Event().wait
        )
        async with listening(store, AppSettings(tokens=tokens, findings=receiver)) as (_, client):
            return await client.request(method, "/findings", content=body, headers=headers)

    return asyncio.run(posting())


def test_a_report_is_taken_and_answered(store):
    answer = post(store)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {"outcomes": [{"outcome": "waiting", "reason": None}]}
    (waiting,) = Intake(store, PublishSettings()).findings()
    assert (waiting.text, waiting.address) == ("evil.example/", "127.0.0.1")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"headers": {}}, "client token"),
        ({"headers": {"authorization": "Bearer wrong"}}, "client token"),
        ({"tokens": (), "headers": {}}, "only taken with a client token"),
        ({"mode": "off"}, "not taken here"),
    ],
)
def test_who_may_not_is_refused_and_nothing_is_kept(store, options, words):
    answer = post(store, **options)
    assert answer.status_code == 403
    assert words in answer.text
    assert Intake(store, PublishSettings()).findings() == []


@pytest.mark.parametrize("body", [b"", b"{}", b" " * (MAX_REPORT_BYTES + 1)])
def test_what_is_no_report_is_refused(store, body):
    answer = post(store, body)
    assert answer.status_code == 400
    assert json.loads(answer.text)["error"]["status"] == "INVALID_ARGUMENT"


def test_a_report_is_posted(store):
    answer = post(store, method="GET")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_store_that_cannot_be_written_is_unavailable(store, monkeypatch):
    (store.root / "findings.json").write_text("{")
    assert post(store).status_code == 503
    monkeypatch.setattr(intake, "read_findings", lambda _: [])
    assert post(store).status_code == 200
