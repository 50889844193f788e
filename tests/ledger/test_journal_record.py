"""Flags as records of the journal: what is written is read back whole, and nothing else is taken for a flag."""

import json
from dataclasses import replace

import pytest

from ledgerkit.samples import make_flag
from secondlook.ground.errors import LedgerError
from secondlook.ledger.queue.journal_record import flag_record, read_flag


@pytest.mark.parametrize(
    "further",
    [
        {},
        {"client": None},
        {"sha256": "ab" * 32, "filename": "ä.exe", "size": 1 << 40, "labels": ("sha256", "member:a.exe")},
    ],
)
def test_a_flag_comes_back_as_it_was(further):
    event, entry = make_flag("one", **further)
    event = replace(event, stale=False, extra={"steps": [], "hit": "00"}, elapsed_ms=1.5)
    text = json.dumps(flag_record(event, entry))
    assert read_flag(json.loads(text)) == (event, entry)


def damaged():
    event, entry = make_flag("one")
    for part, name, value in (
        ("event", "kind", "nonsense"),
        ("event", "identity", "no hex"),
        ("flag", "identity", 7),
        ("flag", "hashes", "zz"),
        ("flag", "class", None),
        ("flag", "kind", "thing"),
        ("flag", "hashes", "ab" * 31),
        ("flag", "size", 1 << 70),
        ("flag", "size", -1),
        ("flag", "size", "7"),
        ("flag", "time", "soon"),
        ("flag", "time", None),
        ("flag", "time", 1e300),
        ("flag", "time", float("nan")),
        ("flag", "url", ["http://one.example/"]),
        ("flag", "client", {"address": "10.0.0.1"}),
        ("flag", "reason", None),
        ("flag", "labels", [1]),
        ("event", "id", "a\0b"),
        ("event", "id", None),
        ("event", "time", "soon"),
        ("event", "size", 1 << 63),
        ("event", "attempts", 1 << 31),
        ("event", "extra", "[]"),
        ("event", "host", 7),
    ):
        record = flag_record(event, entry)
        yield {**record, part: {**record[part], name: value}}
    yield {}
    yield {"event": {}, "flag": {}}
    yield {**flag_record(event, entry), "flag": None}


@pytest.mark.parametrize("record", list(damaged()))
def test_what_is_no_flag_is_refused_as_such(record):
    with pytest.raises(LedgerError, match="a record that is no flag"):
        read_flag(record)
