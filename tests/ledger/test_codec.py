"""Text that came from outside, made storable; the rest of the codec comes back from real ledgers in other tests."""

import json

import pytest

from secondlook.ledger.engine.codec import (
    EXTRA_LIMIT,
    HASH_BYTES,
    TEXT_LIMIT,
    clean,
    join_hashes,
    json_text,
    split_hashes,
)


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
