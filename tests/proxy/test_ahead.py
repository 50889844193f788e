"""A piece that is asked for before its file is judged, without a proxy."""

import pytest

from proxykit.samples import program
from secondlook.download.body.ranges import Piece, WantedRange
from secondlook.download.gate.trickle import PART, STEP_BYTES
from secondlook.download.judged_files import BLOCK_BYTES
from secondlook.proxy.ahead import HELD_MAX_BYTES, Ahead

BODY = program(2 * BLOCK_BYTES)


def _ahead(first: int, last: int | None, kept: int = 0) -> Ahead:
    return Ahead(WantedRange(first, last, None), 0.0, kept)


def test_a_piece_is_asked_for_on_the_bounds_of_blocks():
    assert _ahead(0, 0).header == f"bytes=0-{BLOCK_BYTES - 1}"
    assert _ahead(BLOCK_BYTES, BLOCK_BYTES).header == f"bytes={BLOCK_BYTES}-{2 * BLOCK_BYTES - 1}"
    assert _ahead(BLOCK_BYTES - 1, None).header == "bytes=0-"


@pytest.mark.parametrize(
    ("piece", "length", "fits"),
    [
        (Piece(0, BLOCK_BYTES - 1, 100_000), BLOCK_BYTES, True),
        (Piece(0, BLOCK_BYTES - 1, 100_000), None, True),
        (Piece(0, 999, 1000), 1000, True),
        (Piece(0, 998, 1000), None, False),
        (Piece(1, BLOCK_BYTES - 1, 100_000), None, False),
        (Piece(0, BLOCK_BYTES - 1, None), None, False),
        (Piece(0, BLOCK_BYTES - 1, 100_000), 5, False),
        (None, None, False),
    ],
)
def test_only_the_piece_that_was_asked_for_is_taken(piece, length, fits):
    assert _ahead(10, 20).begin(piece, [(10, 11)], length) is fits


def test_no_more_than_a_part_trickles_and_never_the_end():
    ahead = _ahead(10, 100_009, kept=70_000)
    assert ahead.begin(Piece(0, 2 * BLOCK_BYTES - 1, 200_000), [(10, 100_000)], None)
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
