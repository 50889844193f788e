"""Values that are made storable, and records that come back from their rows as they were."""

import json

import pytest

from secondlook.core.event import ConfirmedEntry, FlagEntry, QuarantineRecord
from secondlook.core.rules.rule import Rule, Scope
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import SubjectClass
from secondlook.ledger.engine.codec import (
    EXTRA_LIMIT,
    HASH_BYTES,
    TEXT_LIMIT,
    clean,
    confirmed_row,
    flag_row,
    join_hashes,
    json_text,
    quarantine_row,
    row_confirmed,
    row_quarantine,
    row_queue,
    row_rule,
    rule_row,
    split_hashes,
)
from secondlook.ledger.engine.tables import confirmed, flagged, quarantine, rules

ONE = bytes(range(HASH_BYTES))
CONFIRMED = ConfirmedEntry(
    identity=ONE, hit=ONE[::-1], kind=SubjectKind.FILE, verdict="malicious", risk="dangerous", threat=None, list="mw-8b",
    server="s", source="s", confirmed_at=1.0, expires_at=None, filename="ä.exe", cls=SubjectClass.DOWNLOAD,
)  # fmt: skip
RULE = Rule(
    id="1", action="block", scope=Scope.REGEX, subject="a.*", client=None, reason="why", created=1.0, expires=None, hits=3,
)  # fmt: skip
RECORD = QuarantineRecord(
    id="1", state="held", sha256="ab", size=3, path="/d/\udcff\0.exe", stored_as="ab", mode=0o644, modified_at=1.0,
    moved_at=2.0, identity=ONE,
)  # fmt: skip


@pytest.mark.parametrize(
    ("record", "to_row", "of_row", "table"),
    [
        (CONFIRMED, confirmed_row, row_confirmed, confirmed),
        (RULE, rule_row, row_rule, rules),
        (RECORD, quarantine_row, row_quarantine, quarantine),
    ],
)
def test_a_record_comes_back_from_the_columns_of_its_table(record, to_row, of_row, table):
    row = to_row(record)
    assert row.keys() | {"change"} >= set(table.columns.keys())
    assert set(table.columns.keys()) >= row.keys()
    assert (
        of_row({name: memoryview(value) if type(value) is bytes else value for name, value in row.items()})
        == record
    )


@pytest.mark.parametrize("labels", [(), ("sha256", "member:a")])
def test_a_flag_comes_back_from_the_queue_with_its_labels(labels):
    flag = FlagEntry(
        identity=ONE, kind=SubjectKind.FILE, cls=SubjectClass.DOWNLOAD, hashes=(ONE, ONE[::-1]), url="u\0", host="h",
        client="c", time=1.0, reason="", labels=labels,
    )  # fmt: skip
    row = flag_row(flag)
    assert set(flagged.columns.keys()) >= row.keys()
    kept = {"id": "1", "count": 1, "first_seen": 1.0, "last_seen": 1.0, "attempts": 0, "next_attempt": 2.0}
    entry = row_queue(row | kept, ["c"])
    assert (entry.hashes, entry.labels, entry.clients) == (flag.hashes, labels, ("c",))
    assert (entry.url, entry.reason, entry.cls) == ("u\ufffd", "", SubjectClass.DOWNLOAD)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (None, None),
        ("", ""),
        ("plain", "plain"),
        ("ä€", "ä€"),
        ("a\0b", "a\ufffdb"),
        ("a\ud800b", "a?b"),
        ("\x1b[31m<script>", "\x1b[31m<script>"),  # evidence: whoever shows it makes it harmless
    ],
)
def test_text_is_made_storable_and_nothing_else(text, kept):
    assert clean(text) == kept


@pytest.mark.parametrize("letter", ["x", "ä", "\0"])
def test_text_at_its_limit_and_one_past_it(letter):
    fits = clean(letter * TEXT_LIMIT)
    cut = clean(letter * (TEXT_LIMIT + 1))
    assert fits is not None
    assert cut is not None
    assert (len(fits), len(cut)) == (TEXT_LIMIT, TEXT_LIMIT)
    assert not fits.endswith("…")
    assert cut.endswith("…")


def test_a_mapping_at_its_limit_and_one_past_it():
    frame = len(json.dumps({"a": ""}, separators=(",", ":")))
    fits, over = {"a": "x" * (EXTRA_LIMIT - frame)}, {"a": "x" * (EXTRA_LIMIT - frame + 1)}
    assert json.loads(json_text(fits)) == fits
    assert json.loads(json_text(over)) == {"cut": f"{EXTRA_LIMIT + 1} characters were too many to keep"}


@pytest.mark.parametrize("nothing", [None, {}])
def test_an_empty_mapping_is_not_stored(nothing):
    assert json_text(nothing) is None


def test_no_nul_and_no_lone_surrogate_in_stored_json():
    text = json_text({"a": "\0\ud800", "b": object})
    assert text.isascii()
    assert "\\u0000" not in text
    assert json.loads(text)["b"] == str(object)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_hashes_are_packed_one_after_another(count):
    hashes = tuple(bytes([number]) * HASH_BYTES for number in range(count))
    assert split_hashes(join_hashes(hashes)) == hashes
    assert split_hashes(memoryview(join_hashes(hashes))) == hashes
