"""List files are written of sorted entries as they come."""

import io
import random

import pytest

from agentkit.hash_lists import build, entries_of
from secondlook.core.lists.build import write_sorted_list
from secondlook.core.lists.format import WIDTHS, Corrupt
from secondlook.core.lists.hashlist import HashList


def crowded(seed: int, count: int) -> list[bytes]:
    """Hashes with repetitions and with equal beginnings of 2, 4, 8 and 16 bytes."""
    chance = random.Random(seed)
    hashes = [chance.randbytes(32) for _ in range(count)]
    for kept in (2, 4, 8, 16, 32):
        hashes += [base[:kept] + chance.randbytes(32 - kept) for base in chance.choices(hashes, k=count // 4)]
    chance.shuffle(hashes)
    return hashes


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("size", [1, 33, 1000])
def test_sorted_entries_are_written_as_they_come(width, size):
    good = build(crowded(width, 200), width)
    file = io.BytesIO()
    write_sorted_list(file, HashList.open(good).blocks(size), width, scratch=io.BytesIO())
    assert file.getvalue() == good
    HashList.open(good).verify()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_entries_out_of_order_are_refused(width, cut):
    entries = entries_of(
        HashList.open(build([b"\1" * 7 + bytes([n]) + bytes([n]) * 24 for n in range(4)], width))
    )
    if len(entries) < 4:  # 4 bytes: all the same
        entries = [b"\1\1\1" + bytes([n]) for n in range(4)]
    for wrong in ([*entries[cut:], *entries[:cut]], [entries[0], entries[0], *entries[1:]]):
        for blocks in ([b"".join(wrong)], wrong):
            with pytest.raises(Corrupt, match="order"):
                write_sorted_list(io.BytesIO(), blocks, width, scratch=io.BytesIO())


def test_nothing_makes_an_empty_list():
    file = io.BytesIO()
    write_sorted_list(file, [], 16, scratch=io.BytesIO())
    assert file.getvalue() == build([], 16)


@pytest.mark.parametrize(("block", "width", "words"), [(b"12345", 4, "divide"), (b"", 5, "5 bytes")])
def test_impossible_input(block, width, words):
    with pytest.raises(ValueError, match=words):
        write_sorted_list(io.BytesIO(), [block], width, scratch=io.BytesIO())
