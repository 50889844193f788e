"""What goes on of a held body before its verdict: a part of it, never its end, only what is wanted."""

import asyncio
from collections import deque

import pytest

from secondlook.download.gate.gate_state import Ask, Hold, Pass, Small
from secondlook.download.gate.spool import Spool, SpoolRoom
from secondlook.download.gate.trickle import PART, STEP_BYTES, Trickle, spare

BODY = bytes(range(256)) * 40


def test_what_may_go_is_a_part_and_never_the_end():
    given = 0
    while step := spare(1_000_000 - given, given, 65_536):
        assert step <= STEP_BYTES
        given += step
    assert given == 1_000_000 // PART
    assert spare(65_536, 0, 65_536) == 0
    assert spare(67_000, 0, 65_536) == 67_000 - 65_536


@pytest.mark.parametrize("state", [Pass(), Ask(chunks=deque([BODY]))])
def test_nothing_goes_of_what_is_not_held_for_a_verdict(state):
    assert Trickle(0, None).spare(state) == 0
    assert asyncio.run(Trickle(0, None).take(state)) == b""


def test_of_a_small_body_its_first_bytes_go_each_once():
    trickle, state = Trickle(5000, None), Small(chunks=deque([BODY[:100], BODY[100:]]))
    out = b""
    while piece := asyncio.run(trickle.take(state)):
        out += piece
    assert out == BODY[: len(BODY) // PART]
    assert trickle.given == len(out)


@pytest.mark.parametrize(
    ("window", "out"),
    [
        (None, BODY[: len(BODY) // PART]),
        ((1000, 800), BODY[1000:1200]),
        ((0, 0), b""),
    ],
)
def test_of_a_held_file_only_bytes_of_the_range_that_is_wanted_go(tmp_path, window, out):
    room = SpoolRoom(tmp_path, 0, 1 << 20)
    state = Hold(spool=Spool(room))
    assert state.spool is not None
    state.spool.put(BODY)
    trickle, found = Trickle(0, window), b""
    while piece := asyncio.run(trickle.take(state)):
        found += piece
    room.close()
    assert found == out
