"""Damage in a hash list that its header does not show."""

import random

import pytest

from agentkit.hash_lists import build
from secondlook.core.lists import verify
from secondlook.core.lists.format import HEADER, KEYS_AT, Corrupt
from secondlook.core.lists.hashlist import HashList

RANDOM = random.Random(7)
HASHES = [RANDOM.randbytes(32) for _ in range(5000)]
WIDTHS = (4, 8, 16, 32)


def checked(data):
    HashList.open(bytes(data)).verify()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("count", [0, 1, 2, 5000])
def test_a_list_that_is_right(width, count):
    checked(build(HASHES[:count], width))


def swapped(data, width, at, count):
    """Exchange two neighbours, keys and tails."""
    data = bytearray(data)
    key = min(width, 8)
    for start, size in ((KEYS_AT, key), (KEYS_AT + count * key, width - key)):
        one, two = start + at * size, start + (at + 1) * size
        data[one:two], data[two : two + size] = data[two : two + size], data[one:two]
    return data


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("at", [0, 2500, 4998])
def test_entries_in_another_order(width, at):
    with pytest.raises(Corrupt, match=f"not in ascending order near entry {at}"):
        checked(swapped(build(HASHES, width), width, at, 5000))


@pytest.mark.parametrize("chunk", [1, 2, 3, 1000])
def test_order_is_held_across_the_parts_that_are_read_at_a_time(monkeypatch, chunk):
    monkeypatch.setattr(verify, "CHUNK", chunk)
    small = HASHES[:30]
    checked(build(small, 8))
    for at in range(29):
        with pytest.raises(Corrupt, match="not in ascending order"):
            checked(swapped(build(small, 8), 8, at, 30))


@pytest.mark.parametrize("width", [4, 8])
def test_an_entry_that_stands_there_twice(width):
    data = bytearray(build([b"1" * 32, b"2" * 32], width))
    data[KEYS_AT + width : KEYS_AT + 2 * width] = data[KEYS_AT : KEYS_AT + width]
    with pytest.raises(Corrupt):
        checked(data)


@pytest.mark.parametrize(
    ("first", "second", "fault"), [(b"a", b"b", False), (b"b", b"a", True), (b"a", b"a", True)]
)
def test_entries_that_differ_late_ascend_by_their_tails(first, second, fault):
    data = bytearray(build([b"1" * 8 + b"a" * 24, b"1" * 8 + b"b" * 24], 16))
    tails = KEYS_AT + 2 * 8
    data[tails : tails + 16] = first * 8 + second * 8
    if not fault:
        checked(data)
        return
    with pytest.raises(Corrupt, match="ascending order near entry 0"):
        checked(data)


def test_an_index_that_does_not_fit():
    data = bytearray(build(HASHES, 8))
    data[HEADER.size + 4 * 40_000] ^= 1
    with pytest.raises(Corrupt, match="index"):
        checked(data)


def test_entries_of_another_checksum():
    data = bytearray(build(HASHES, 8))
    data[24] ^= 1
    with pytest.raises(Corrupt, match="checksum"):
        checked(data)
