"""What the review page is asked: paths, queries, forms and JSON of any kind, by somebody who is signed in."""

import json

import pytest
from hypothesis import strategies as st
from starlette.testclient import TestClient

from fuzzkit import fuzz, mutated
from review.stage import ORIGIN, FakeProgram, csrf, keep, make_event
from secondlook.ground.clock import SystemClock
from secondlook.ledger.ledger import Ledger, LedgerOptions
from secondlook.review.app import create_app
from secondlook.review.operations.acknowledged import Acknowledged
from secondlook.review.operations.operations import Operations
from secondlook.review.session import Doorkeeper

QUERIES = [
    b"/log?search=a&decision=block&kind=blocked&stage=pattern&threat=malware&host=a.example&since=1d&until=2026-01-31",
    b"/log?after=s12&before=01M85DCQGTFKV0GDPKC3SRB2CA",
    b"/log.csv?since=2026-01-31T00:00:00Z&client=10.0.0.1",
    b"/log.jsonl?search=%22a%22%20*&until=9999-12-31",
    b"/rules?test=http://a.example/&backtest=a.example&days=7&action=allow&draft=x",
    b"/check?subject=http://a.example/",
    b"/flagged?after=1780000000.25-01M85DCQGTFKV0GDPKC3SRB2CA",
    b"/late/01M85DCQGTFKV0GDPKC3SRB2CA/seen",
    b"/api/v1/events?since=1h&limit=5&host=a&after=s1",
    b"/api/v1/events/export?as=csv&search=a",
    b"/api/v1/queue?after=1780000000.25-01M85DCQGTFKV0GDPKC3SRB2CA&limit=5",
    b"/api/v1/rules/test?url=http://a.example/&client=10.0.0.1",
    b"/api/v1/rules/backtest?rule=a.example&action=allow&days=9",
    b"/quarantine?x=y",
]
FORMS = [
    b"/rules\naction=allow&subject=a.example&for=1h&client=10.0.0.1&reason=x&back=/log",
    b"/rules/import\ntext=" + json.dumps([{"action": "allow", "subject": "a.example"}]).encode(),
    b"/pause\nminutes=5",
    b"/clients/erase\nclient=10.0.0.9",
    b"/rules/01M85DCQGTFKV0GDPKC3SRB2CA/remove\nback=//evil.example/",
    b"/rules/undo\nid=01M85DCQGTFKV0GDPKC3SRB2CA&back=//evil.example/",
    b"/quarantine/x/delete\na=b",
]
BODIES = [
    b'/api/v1/rules\n{"action": "allow", "subject": "a.example", "for_s": 60, "client": "10.0.0.0/8", "reason": "x"}',
    b'/api/v1/rules/import\n[{"action": "block", "subject": "=a.example", "expires": "2027-01-01T00:00:00Z"}]',
    b'/api/v1/pause\n{"minutes": 5, "client": "anna"}',
    b'/api/v1/clients/erase\n{"client": "10.0.0.7"}',
]


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """A browser that is signed in, and its token for forms."""
    folder = tmp_path_factory.mktemp("fuzzed-review")
    ledger = Ledger.open(folder / "ledger.sqlite3", LedgerOptions(keeper=True, background=False))
    keep(ledger, *[make_event() for _ in range(5)])
    operations = Operations(
        ledger, FakeProgram(folder / "ca.pem"), Acknowledged(folder / "review.json"), SystemClock()
    )
    door = Doorkeeper(b"k" * 32)
    app = create_app(operations, door, hosts=["127.0.0.1:9000"], clock=SystemClock())
    with TestClient(app, base_url=ORIGIN, follow_redirects=False, raise_server_exceptions=True) as client:
        client.get(f"/?token={door.token}")
        yield client, csrf(client)
    ledger.close()


def target(data: bytes) -> str:
    """A request's target out of any bytes."""
    kept = bytes(byte for byte in data if 0x21 <= byte < 0x7F or byte > 0x7F).lstrip(b"/")
    return "/" + kept.decode("latin-1")


def holds(answer) -> None:
    assert answer.status_code < 500 or answer.status_code == 503, (answer.status_code, answer.text[:500])
    assert not answer.headers.get("location", "/").startswith(("//", "/\\", "http"))


@fuzz(query=mutated(QUERIES))
def test_queries(reader, query):
    """Whatever page is asked for, it is one, or a refusal in words."""
    client, _ = reader
    if not query.startswith((b"/log.live", b"/api/v1/events/tail")):  # these go on for ever
        holds(client.get(target(query)))


@fuzz(data=mutated(FORMS))
def test_forms(reader, data):
    """Whatever a form says, something is done or refused in words; nobody is sent to another site."""
    client, token = reader
    path, _, form = data.partition(b"\n")
    kind = {"content-type": "application/x-www-form-urlencoded"}
    holds(client.post(target(path), content=b"csrf=" + token.encode() + b"&" + form, headers=kind))


@fuzz(
    data=mutated(BODIES),
    kind=st.sampled_from(["application/json", "text/plain", "multipart/form-data; boundary=a"]),
)
def test_json(reader, data, kind):
    """Whatever JSON the API is sent, it is taken or refused with a problem."""
    client, token = reader
    path, _, body = data.partition(b"\n")
    holds(client.post(target(path), content=body, headers={"x-csrf-token": token, "content-type": kind}))
