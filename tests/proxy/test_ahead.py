"""A piece that is asked for before its file is judged, without a proxy."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxykit.samples import program
from secondlook.core.subject import FileSubject
from secondlook.download.body.ranges import WantedRange, read_ranges
from secondlook.download.body.response_facts import ResponseFacts
from secondlook.download.gate.trickle import PART, STEP_BYTES
from secondlook.download.judged_files import BLOCK_BYTES, JudgedFile
from secondlook.proxy.ahead import HELD_MAX_BYTES, Ahead, has_a_place

BODY = program(2 * BLOCK_BYTES)


def _ahead(first: int, last: int | None, kept: int = 0) -> Ahead:
    return Ahead(WantedRange(first, last, None), 0.0, kept)


def _facts(first: int, last: int, size: int | str, **more: str) -> ResponseFacts:
    return ResponseFacts(content_range=f"bytes {first}-{last}/{size}", **more)


@pytest.mark.parametrize(
    ("wanted", "header"),
    [
        ("-500", f"bytes=-{500 + BLOCK_BYTES - 1}"),
        ("-5,-500", f"bytes=-{500 + BLOCK_BYTES - 1}"),
        ("70000-70009,5-9", "bytes=0-131071"),
        ("70000-70009,140000-", "bytes=65536-"),
    ],
)
def test_one_piece_covers_all_that_is_wanted(wanted, header):
    assert Ahead(read_ranges(f"bytes={wanted}", None), 0.0, 0).header == header


@pytest.mark.parametrize(
    ("wanted", "known"),
    [("5-9", True), ("-5", True), ("5-9,20-", True), ("-5,-9", True), ("5-9,-5", False), ("9-5", False)],
)
def test_what_is_counted_from_both_ends_has_no_place(wanted, known):
    assert has_a_place(read_ranges(f"bytes={wanted}", None)) is known


@pytest.mark.parametrize("size", [1, 600, BLOCK_BYTES, 100_000, 2 * BLOCK_BYTES])
@pytest.mark.parametrize("step", [999, 70_000])
def test_what_comes_before_the_first_block_is_dropped(size, step):
    body = BODY[:size]
    ahead = Ahead(wanted := read_ranges("bytes=-500", None), 0.0, 0)
    first = max(0, size - 500 - BLOCK_BYTES + 1)
    assert ahead.begin(_facts(first, size - 1, size), wanted, size - first)
    for start in range(first, size, step):
        ahead.feed(body[start : start + step])
    block = max(0, size - 500) // BLOCK_BYTES * BLOCK_BYTES
    assert ahead.first == block
    assert ahead.drop() == body[block:]


@st.composite
def _spots(draw: st.DrawFn) -> str:
    """Give ranges of a file of two blocks, from one of its ends."""
    if draw(st.booleans()):
        return f"-{draw(st.integers(1, len(BODY)))}"
    bounds = sorted(draw(st.lists(st.integers(0, len(BODY) - 1), min_size=2, max_size=8, unique=True)))
    pairs = zip(bounds[::2], bounds[1::2], strict=False)
    return ",".join(f"{first}-{last}" for first, last in pairs)


@given(spots=_spots(), kept=st.integers(0, BLOCK_BYTES), step=st.integers(5000, 50_000))
def test_what_trickles_is_the_beginning_of_the_answer_and_never_the_end(spots, kept, step):
    wanted, size = read_ranges(f"bytes={spots}", None), len(BODY)
    ahead = Ahead(wanted, 0.0, kept)
    first, _, last = ahead.header.removeprefix("bytes=").partition("-")
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    assert ahead.begin(_facts(start, end - 1, size), wanted, end - start)
    gone = b""
    for at in range(start, end, step):
        ahead.feed(BODY[at : min(end, at + step)])
        while piece := ahead.trickle():
            gone += piece
    assert len(gone) == ahead.given
    windows = wanted.windows(size)
    total = sum(count for _, count in windows)
    most = max(0, min(total // PART, total - kept))
    assert ahead.slice.again(0).feed(BODY[: _place(windows, most)]).startswith(gone)


def _place(windows: list[tuple[int, int]], wanted: int) -> int:
    """Give the place behind so many bytes of some windows."""
    for first, count in windows:
        if wanted <= count:
            return first + wanted
        wanted -= count
    raise AssertionError("there are not so many")


@pytest.mark.parametrize(
    ("facts", "length", "fits"),
    [
        (_facts(0, BLOCK_BYTES - 1, 100_000), BLOCK_BYTES, True),
        (_facts(0, BLOCK_BYTES - 1, 100_000), None, True),
        (_facts(0, 999, 1000), 1000, True),
        (_facts(0, 998, 1000), None, False),
        (_facts(1, BLOCK_BYTES - 1, 100_000), None, False),
        (_facts(0, BLOCK_BYTES - 1, "*"), None, False),
        (_facts(0, BLOCK_BYTES - 1, 100_000), 5, False),
        (_facts(0, BLOCK_BYTES - 1, 100_000, content_type="Multipart/Byteranges; boundary=x"), None, False),
        (ResponseFacts(), None, False),
    ],
)
def test_only_the_piece_that_was_asked_for_is_taken(facts, length, fits):
    wanted = WantedRange(10, 20, None)
    assert Ahead(wanted, 0.0, 0).begin(facts, wanted, length) is fits


def test_a_piece_that_is_to_be_decoded_is_not_of_a_file_that_is_not():
    wanted, file = WantedRange(10, 20, None), JudgedFile(1000, BLOCK_BYTES, bytes(16), FileSubject(()))
    ahead = Ahead(wanted, 0.0, 0)
    assert ahead.begin(_facts(0, 999, 1000, encoding=" Deflate"), wanted, None)
    assert not ahead.is_of(file)
    assert ahead.is_of(replace(file, coding="deflate"))
    assert not ahead.is_of(replace(file, coding="deflate", size=1001))


def test_no_more_than_a_part_trickles_and_never_the_end():
    ahead = _ahead(10, 100_009, kept=70_000)
    wanted = WantedRange(10, 100_009, None)
    assert ahead.begin(_facts(0, 2 * BLOCK_BYTES - 1, 200_000), wanted, None)
    ahead.feed(BODY[: 10 + PART * 100])
    assert ahead.trickle() == b""  # what is kept has not come
    ahead.feed(BODY[10 + PART * 100 : 2 * BLOCK_BYTES])
    gone = b""
    while piece := ahead.trickle():
        assert len(piece) <= STEP_BYTES
        gone += piece
    assert gone == BODY[10 : 10 + 100_000 // PART]
    assert not ahead.full
    ahead.feed(bytes(HELD_MAX_BYTES))
    assert ahead.full
