"""Pieces of files: what a client asked for, what an answer claims to be, and whether the two fit."""

import pytest

from fuzzkit.effort import grows_evenly
from secondlook.download.body.ranges import (
    EntityMemory,
    Piece,
    SeveralRanges,
    WantedRange,
    begins_first,
    is_answer,
    is_whole,
    may_be_parts,
    may_hide_the_first,
    read_content_range,
    read_first_part,
    read_range,
    read_ranges,
)


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [("bytes=0-0", 0, 0), ("bytes=5-", 5, None), ("bytes=-5", None, 5), (" BYTES = 1-2 ", 1, 2)],
)
def test_a_range_is_read(header, first, last):
    assert read_range(header, None) == WantedRange(first, last, None)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes=",
        "bytes=-",
        "bytes=2-1",
        "lines=1-2",
        "bytes=1-2,3-4",
        "bytes=\u0661-2",
        "bytes=1-" + "9" * 19,
    ],
)
def test_nonsense_asks_for_the_whole(header):
    assert read_range(header, None) is None


@pytest.mark.parametrize(
    ("header", "size", "window"),
    [
        ("bytes=0-9", 5, (0, 5)),
        ("bytes=4-4", 5, (4, 1)),
        ("bytes=5-", 5, None),
        ("bytes=-9", 5, (0, 5)),
        ("bytes=-2", 5, (3, 2)),
        ("bytes=-0", 5, None),
    ],
)
def test_a_range_within_an_entity(header, size, window):
    wanted = read_range(header, None)
    assert wanted.within(size) == window
    assert wanted.windows(size) == ([] if window is None else [window])


def test_ranges_that_touch_are_one():
    wanted = read_ranges("bytes=8-9,0-3,4-5,2-4", None)
    assert isinstance(wanted, SeveralRanges)
    assert wanted.windows(10) == [(0, 6), (8, 2)]
    assert wanted.windows(3) == [(0, 3)]


def test_one_bad_range_of_several_asks_for_the_whole():
    assert read_ranges("bytes=0-1,5-4", None) is None
    assert read_ranges("bytes=" + ",".join(["0-1"] * 64), None) is not None
    assert read_ranges("bytes=" + ",".join(["0-1"] * 65), None) is None


@pytest.mark.parametrize(
    ("header", "hides"), [("bytes=5-6,-7", True), ("bytes=5-6, 00-7", True), ("bytes=0-1,5-6", False)]
)
def test_the_beginning_behind_another_range(header, hides):
    assert may_hide_the_first(header) == hides


def test_blanks_in_a_range_are_not_gone_through_again_and_again():
    assert grows_evenly(lambda blanks: may_hide_the_first("bytes=0-1," + " " * blanks + "x"), 5_000)


@pytest.mark.parametrize(
    ("if_range", "etag", "modified", "holds"),
    [
        (None, None, None, True),
        ('"a"', '"a"', None, True),
        ('"a"', 'W/"a"', None, False),
        ('W/"a"', 'W/"a"', None, False),  # a weak tag names no bytes (RFC 9110, 13.1.5)
        ('"a"', None, None, False),
        ("Sun, 06 Nov 1994 08:49:37 GMT", None, "Sun, 06 Nov 1994 08:49:37 GMT", True),
        ("Sun, 06 Nov 1994 08:49:37 GMT", None, None, False),
    ],
)
def test_if_range_is_compared_strongly(if_range, etag, modified, holds):
    assert read_range("bytes=0-1", if_range).holds(etag, modified) == holds
    assert read_ranges("bytes=0-1,5-6", if_range).holds(etag, modified) == holds


@pytest.mark.parametrize(
    ("header", "piece"),
    [
        ("bytes 0-4/5", Piece(0, 4, 5)),
        ("bytes 0-4/*", Piece(0, 4, None)),
        ("bytes 4-0/5", None),
        ("bytes 0-5/5", None),
        ("bytes */5", None),
        (None, None),
    ],
)
def test_a_content_range_is_read(header, piece):
    assert read_content_range(header) == piece


@pytest.mark.parametrize(
    ("piece", "length", "whole"),
    [
        (Piece(0, 4, 5), 5, True),
        (Piece(0, 4, 5), None, True),
        (Piece(0, 4, 5), 4, False),
        (Piece(0, 4, None), 5, False),
        (Piece(1, 4, 5), 4, False),
        (Piece(0, 3, 5), 4, False),
        (None, 5, False),
    ],
)
def test_a_piece_that_is_all_there_is(piece, length, whole):
    assert is_whole(piece, length) == whole


@pytest.mark.parametrize(
    ("wanted", "piece", "length", "fits"),
    [
        ("bytes=3-5", Piece(3, 5, 9), 3, True),
        ("bytes=3-5", Piece(3, 8, 9), 6, True),  # longer than asked for, but no beginning
        ("bytes=3-5", Piece(2, 5, 9), 4, False),
        ("bytes=3-5", Piece(3, 5, 9), 4, False),  # its length is another
        ("bytes=0-5", Piece(0, 5, 9), 6, True),
        ("bytes=0-5", Piece(0, 4, 9), 5, False),  # a client may take it for all there is
        ("bytes=0-8", Piece(0, 8, 9), 9, False),  # it is all there is
        ("bytes=-3", Piece(6, 8, 9), 3, True),
        ("bytes=-3", Piece(5, 7, 9), 3, False),
        ("bytes=-9", Piece(0, 8, 9), 9, False),
    ],
)
def test_what_answers_a_range(wanted, piece, length, fits):
    assert is_answer(piece, read_range(wanted, None), length) == fits


def test_nothing_answers_what_nobody_asked_for():
    assert not is_answer(Piece(0, 4, 9), None, 5)
    assert not is_answer(None, read_range("bytes=0-4", None), 5)


def test_the_first_of_several_parts():
    kind = "multipart/byteranges; boundary=mark"
    data = b"--mark\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-4/9\r\n\r\nhello\r\n--mark--"
    part = read_first_part(kind, data)
    assert (part.content_type, part.piece, part.first[:5]) == ("text/plain", Piece(0, 4, 9), b"hello")
    assert read_first_part(kind, data[:50]) is None
    assert read_first_part("multipart/byteranges", data) is None


def test_what_was_blocked_whole_is_known_by_its_tag_and_size():
    memory, decision = EntityMemory(), object()
    memory.note_bad("a.test", 'W/"1"', 5, decision)
    memory.note_bad("a.test", None, 6, decision)
    assert memory.bad("a.test", '"1"', 5) is decision
    assert memory.bad("a.test", '"1"', 6) is None
    assert memory.bad("b.test", '"1"', 5) is None
    assert memory.bad("a.test", None, 6) is None


def test_a_url_is_risky_until_its_whole_file_was_harmless():
    memory = EntityMemory()
    memory.note_risky(b"u" * 32)
    assert memory.is_risky(b"u" * 32)
    memory.forget_risky(b"u" * 32)
    assert not memory.is_risky(b"u" * 32)
    memory.forget_risky(b"u" * 32)


@pytest.mark.parametrize(
    ("data", "may_be"),
    [
        (b"--mark\r\n", True),
        (b"\r\n--mark", True),
        (b"--m", True),
        (b"", True),
        (b"MZ", False),
        (b"--other", False),
    ],
)
def test_parts_begin_with_their_boundary(data, may_be):
    assert may_be_parts("multipart/byteranges; boundary=mark", data) is may_be


def test_without_a_boundary_there_are_no_parts():
    assert not may_be_parts("multipart/byteranges", b"--mark\r\n")


def test_whether_the_beginning_is_wanted_first():
    wanted = [read_ranges(f"bytes={each}", None) for each in ("0-9,20-", "9-9,20-", "-5,9-9", "0-9")]
    assert [begins_first(each) for each in wanted] == [True, False, False, False]
