"""The contract's shapes: exact keys, RFC 3339 times, cells that are no formulas."""

import csv
import io
import json
import re

import pytest

from ledgerkit.samples import START, make_event, make_flag, make_rule
from secondlook.core.event import EventKind, QueueEntry
from secondlook.core.rules.rule import Scope
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import SubjectClass
from secondlook.ledger.log.shape import csv_lines, event_json, json_lines, queue_json, rule_json

EVENT_KEYS = [
    "id",
    "time",
    "kind",
    "decision",
    "class",
    "subject",
    "url",
    "host",
    "method",
    "client",
    "sha256",
    "filename",
    "size",
    "verdict",
    "risk",
    "threat",
    "stage",
    "list",
    "rule",
    "server",
    "stale",
    "elapsed_ms",
    "attempts",
    "detail",
]
QUEUE_KEYS = [
    "id",
    "subject",
    "class",
    "url",
    "host",
    "sha256",
    "filename",
    "size",
    "clients",
    "count",
    "first_seen",
    "last_seen",
    "attempts",
    "next_attempt",
    "reason",
]
RULE_KEYS = ["id", "action", "subject", "scope", "client", "reason", "created", "expires", "hits"]


def test_an_event_has_the_keys_of_the_contract_and_null_for_the_unknown():
    shape = event_json(make_event(EventKind.SERVER, cls=None, subject=None, decision=None))
    assert list(shape)[: len(EVENT_KEYS)] == EVENT_KEYS
    assert shape["time"] == "2023-11-14T22:13:20.000Z"
    assert shape["url"] is shape["class"] is shape["stale"] is None
    json.dumps(shape)


def test_a_queue_entry_has_the_keys_of_the_contract():
    _, flag = make_flag("one")
    entry = QueueEntry(
        id="q",
        identity=flag.identity,
        kind=SubjectKind.URL,
        cls=SubjectClass.PAGE,
        hashes=flag.hashes,
        url=flag.url,
        host=flag.host,
        sha256=None,
        filename=None,
        size=None,
        clients=("10.0.0.1",),
        count=2,
        first_seen=START,
        last_seen=START + 0.5,
        attempts=0,
        next_attempt=START + 60,
        reason="r",
    )
    shape = queue_json(entry)
    assert list(shape) == QUEUE_KEYS
    assert (shape["subject"], shape["class"], shape["clients"]) == ("url", "page", ["10.0.0.1"])
    assert shape["last_seen"] == "2023-11-14T22:13:20.500Z"


@pytest.mark.parametrize(
    ("scope", "subject", "shown"),
    [
        (Scope.DOMAIN, "a.example", "a.example"),
        (Scope.HOST, "a.example", "=a.example"),
        (Scope.REGEX, "^http", "/^http/"),
        (Scope.PREFIX, "http://a.example/b/", "http://a.example/b/"),
        (Scope.SHA256, "ab" * 32, "ab" * 32),
    ],
)
def test_a_rule_is_written_as_it_is_typed(scope, subject, shown):
    rule = make_rule(id="r", scope=scope, subject=subject, created=START, hits=3)
    shape = rule_json(rule)
    assert list(shape)[: len(RULE_KEYS)] == RULE_KEYS
    assert shape["subject"] == shown
    assert shape["expires"] is None


def test_instants_within_an_event_are_written_as_its_own_time_is():
    extra = {"feeds": ["a"], "family": None, "first_seen": START}
    assert event_json(make_event(extra=extra))["extra"] == {**extra, "first_seen": "2023-11-14T22:13:20.000Z"}
    for without in ({"feeds": [], "first_seen": None}, {"steps": []}):
        assert event_json(make_event(extra=without))["extra"] == without


HOSTILE = (
    '=cmd|"/c calc"!A1',
    "+1",
    "-1",
    "@x",
    '"><img onerror=x>',
    "\x1b[31mred",
    "a\u202eb",
    "l1\r\nl2",
    "\t=1",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_in_csv_stays_one_inert_cell(text):
    event = make_event(url=text, filename=text, client=text, extra={"k": text})
    lines = "".join(csv_lines([event, event]))
    rows = list(csv.DictReader(io.StringIO(lines, newline="")))
    assert len(rows) == 2
    for cell in rows[0].values():
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
        assert not re.search("[\x00-\x1f\u202e]", cell)


@pytest.mark.parametrize("text", HOSTILE)
def test_json_lines_are_one_line_of_ascii_each(text):
    (line,) = json_lines([make_event(url=text)])
    assert line.isascii()
    assert line.count("\n") == 1
    assert json.loads(line)["url"] == text
