"""Lines out of bytes, wherever these are cut: line ends, byte-order marks, endless lines."""

import codecs

import pytest

from feedkit import chunked
from secondlook.feeds.unpacking.text import MAX_LINE_CHARS, TOO_LONG_MARK, batches, text_chunks


def lines(data, size=65_536):
    found = []
    for first, batch in batches(chunked(data, size)):
        assert first == len(found) + 1
        found += batch
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 65_536])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a\nb", ["a", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"a\rb\r", ["a", "b"]),  # no LF at all
        (b"a\rb\nc\n", ["a\rb", "c"]),
        (b"a\n\nb\n", ["a", "", "b"]),
        (codecs.BOM_UTF8 + b"a\n", ["a"]),
        (codecs.BOM_UTF16_LE + "ä\nb\n".encode("utf-16-le"), ["ä", "b"]),
        (codecs.BOM_UTF16_BE + "ä\nb\n".encode("utf-16-be"), ["ä", "b"]),
        (b"a\xff\n", ["a\udcff"]),
    ],
)
def test_lines_are_the_same_wherever_the_bytes_are_cut(data, expected, size):
    assert lines(data, size) == expected


@pytest.mark.parametrize("size", [1000, 65_536, 1 << 20])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_a_line_at_the_limit_stays_and_one_past_it_is_marked(size, end):
    longest = b"x" * (MAX_LINE_CHARS - len(end.strip(b"\n")))
    assert lines(b"a\n" + longest + end, size) == ["a", longest.decode()]
    assert lines(b"a\n" + longest + b"x" + end, size) == ["a", TOO_LONG_MARK]
    assert lines(longest + b"x" + (end or b"\n") + b"b", size) == [TOO_LONG_MARK, "b"]


def test_no_piece_of_text_is_empty():
    pieces = list(text_chunks([b"", codecs.BOM_UTF8, b"", "ä".encode()[:1], "ä".encode()[1:], b""]))
    assert pieces == ["ä"]
