"""Real inputs, damaged: pieces cut out, doubled, moved, swapped, made up, and numbers at their edges."""

from collections.abc import Callable, Sequence
from random import Random

from hypothesis import strategies as st

type Integer = Callable[[int, int], int]
"""Chooses a number between two bounds, both included: Hypothesis, or a generator of random numbers."""

_MOST_STEPS = 6
_MADE_UP_BYTES = 8
_COPIED_BYTES = 1 << 10
_LONGEST_BYTES = 1 << 16
_EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF, (1 << 63) - 1, (1 << 64) - 1)


class Mutated:
    """An input of a target: one of some seeds, changed."""

    def __init__(self, seeds: Sequence[bytes], repair: Callable[[bytes], bytes] = bytes) -> None:
        self.seeds = list(dict.fromkeys(map(repair, seeds)))
        self.repair = repair

    def strategy(self) -> st.SearchStrategy[bytes]:
        """Draw such inputs by Hypothesis, which makes what fails small."""

        @st.composite
        def draw_one(draw: st.DrawFn) -> bytes:
            def integer(low: int, high: int) -> int:
                return draw(st.integers(low, high))

            return self.change(integer, self.seeds[integer(0, len(self.seeds) - 1)], self.seeds)

        return draw_one()

    def random(self, random: Random, corpus: Sequence[bytes]) -> bytes:
        """Change one of a corpus, at the speed of Python."""
        return self.change(random.randint, random.choice(corpus), corpus)

    def change(self, integer: Integer, data: bytes, others: Sequence[bytes]) -> bytes:
        """Change an input in a few places; pieces of others may get into it."""
        changed = bytearray(data)
        for _ in range(integer(0, _MOST_STEPS)):
            _STEPS[integer(0, len(_STEPS) - 1)](integer, changed, others)
        return self.repair(bytes(changed[:_LONGEST_BYTES]))


def mutated(seeds: Sequence[bytes], repair: Callable[[bytes], bytes] = bytes) -> Mutated:
    """Name the seeds of an input; `repair` makes a changed one whole again, such as its checksums."""
    return Mutated(seeds, repair)


def _span(integer: Integer, data: bytes | bytearray, longest: int = _COPIED_BYTES) -> slice:
    """Choose a piece; most are short."""
    start = integer(0, len(data))
    size = integer(0, min(longest, len(data) - start) >> 4 * integer(0, 2))
    return slice(start, start + size)


def _cut(integer: Integer, data: bytearray, _: Sequence[bytes]) -> None:
    del data[_span(integer, data, len(data))]


def _double(integer: Integer, data: bytearray, _: Sequence[bytes]) -> None:
    piece = _span(integer, data)
    data[piece.start : piece.start] = data[piece]


def _move(integer: Integer, data: bytearray, _: Sequence[bytes]) -> None:
    piece = _span(integer, data)
    moved = data[piece]
    del data[piece]
    at = integer(0, len(data))
    data[at:at] = moved


def _make_up(integer: Integer, data: bytearray, _: Sequence[bytes]) -> None:
    piece = _span(integer, data, _MADE_UP_BYTES)
    data[piece] = bytes(integer(0, 255) for _ in range(integer(0, _MADE_UP_BYTES)))


def _flip(integer: Integer, data: bytearray, _: Sequence[bytes]) -> None:
    if data:
        data[integer(0, len(data) - 1)] ^= 1 << integer(0, 7)


def _count(integer: Integer, data: bytearray, _: Sequence[bytes]) -> None:
    if data:
        at = integer(0, len(data) - 1)
        data[at] = (data[at] + integer(-3, 3)) & 0xFF


def _edge(integer: Integer, data: bytearray, _: Sequence[bytes]) -> None:
    at, size = integer(0, len(data)), 1 << integer(0, 3)
    number = _EDGES[integer(0, len(_EDGES) - 1)] & ((1 << 8 * size) - 1)
    data[at : at + size] = number.to_bytes(size, "big" if integer(0, 1) else "little")


def _splice(integer: Integer, data: bytearray, others: Sequence[bytes]) -> None:
    other = others[integer(0, len(others) - 1)]
    data[_span(integer, data)] = other[_span(integer, other)]


_STEPS = (_cut, _double, _move, _make_up, _flip, _count, _edge, _splice)
