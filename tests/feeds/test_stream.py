"""Layers of compression taken off as a feed streams by, none too many, none damaged, none cut."""

import bz2
import gzip
import lzma

import brotli
import pytest
import zstandard

from feedkit import chunked
from secondlook.feeds.entries.entry import FeedRefused
from secondlook.feeds.unpacking import stream
from secondlook.feeds.unpacking.stream import PIECE_BYTES, decoded, peek, sliced, unpacked

TEXT = b"evil.example\n" * 20_000
PACKERS = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.compress,
    "brotli": brotli.compress,
}


def unpack(data, name="", size=999):
    return b"".join(unpacked(chunked(data, size), name))


@pytest.mark.parametrize("size", [1, 999, 1 << 20])
@pytest.mark.parametrize("form", PACKERS)
def test_a_layer_is_known_by_its_first_bytes_or_its_name(form, size):
    name = "list.txt.br" if form == "brotli" else ""
    assert unpack(PACKERS[form](TEXT), name, size) == TEXT


@pytest.mark.parametrize("form", PACKERS)
def test_what_ends_early_or_is_damaged_is_refused(form):
    packed, name = PACKERS[form](TEXT), "list.txt.br" if form == "brotli" else ""
    with pytest.raises(FeedRefused):
        unpack(packed[:-1], name)
    with pytest.raises(FeedRefused):
        unpack(packed[: len(packed) // 2] + b"\xff" * 40, name)


def test_three_layers_are_taken_off_and_the_fourth_stays():
    once = gzip.compress(TEXT)
    assert unpack(gzip.compress(bz2.compress(once))) == TEXT
    assert unpack(gzip.compress(gzip.compress(gzip.compress(once)))) == once


def test_members_behind_one_another_are_one_file():
    assert unpack(gzip.compress(b"a\n") + gzip.compress(b"b\n") + b"\0\0") == b"a\nb\n"


def test_what_unpacks_to_too_much_is_refused(monkeypatch):
    monkeypatch.setattr(stream, "MAX_UNPACKED_BYTES", len(TEXT))
    assert unpack(gzip.compress(TEXT)) == TEXT
    with pytest.raises(FeedRefused, match="too large"):
        unpack(gzip.compress(TEXT + b"x"))


@pytest.mark.parametrize("form", PACKERS)
def test_no_piece_is_large_however_much_the_packed_one_stands_for(form):
    name = "list.txt.br" if form == "brotli" else ""
    bomb = PACKERS[form](bytes(8 << 20))
    pieces = [len(piece) for piece in unpacked([bomb], name)]
    assert (sum(pieces), max(pieces) <= 4 * PIECE_BYTES) == (8 << 20, True)


def test_encodings_of_http_come_off_in_their_order():
    body = brotli.compress(gzip.compress(TEXT))
    assert b"".join(decoded([body], ["x-gzip", "br"])) == TEXT
    with pytest.raises(FeedRefused, match="not asked for"):
        decoded([body], ["compress"])
    with pytest.raises(FeedRefused, match="too many"):
        decoded([body], ["gzip"] * 4)


def test_a_stream_that_was_looked_into_is_whole():
    head, rest = peek(iter([b"a", b"bc", b"d"]), 2)
    assert (head, b"".join(rest)) == (b"ab", b"abcd")
    assert peek(iter([b"a"]), 2)[0] == b"a"


def test_large_chunks_are_cut_and_empty_ones_left_out():
    assert list(sliced([b"", b"abcde", b"f"], 2)) == [b"ab", b"cd", b"e", b"f"]
