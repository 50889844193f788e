"""Built in bounded memory or at once: the same file to the byte."""

import hashlib
import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondlook.core.lists.build import gather, write_list, write_sorted_list
from secondlook.core.lists.format import WIDTHS, Corrupt
from secondlook.core.lists.hashlist import HashList, build


def crowded(seed: int, count: int) -> list[bytes]:
    """Hashes with repetitions and with equal beginnings of 2, 4, 8 and 16 bytes."""
    chance = random.Random(seed)
    hashes = [chance.randbytes(32) for _ in range(count)]
    for kept in (2, 4, 8, 16, 32):
        hashes += [base[:kept] + chance.randbytes(32 - kept) for base in chance.choices(hashes, k=count // 4)]
    chance.shuffle(hashes)
    return hashes


def written(hashes: list[bytes], width: int, run_bytes: int) -> bytes:
    file = io.BytesIO()
    built = write_list(file, gather(hashes), width, scratch=io.BytesIO(), stride=32, run_bytes=run_bytes)
    hash_list = HashList.open(file.getvalue())
    assert (built.count, built.checksum) == (hash_list.count, hash_list.checksum)
    return file.getvalue()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("run_bytes", [1, 1000, 20_000, 1 << 26])
def test_runs_make_the_same_file_as_one_build(width, run_bytes):
    hashes = crowded(width, 400)
    file = io.BytesIO()
    blocks = [b"".join(hashes[start : start + 37]) for start in range(0, len(hashes), 37)]
    write_list(file, blocks, width, scratch=io.BytesIO(), stride=32, run_bytes=run_bytes)
    assert file.getvalue() == build(hashes, width)
    HashList.open(file.getvalue()).verify()


@pytest.mark.parametrize("width", WIDTHS)
@settings(max_examples=40)
@given(st.lists(st.binary(min_size=32, max_size=32), max_size=30), st.integers(1, 300))
def test_any_hashes(width, hashes, run_bytes):
    assert written(hashes, width, run_bytes) == build(hashes, width)


@pytest.mark.parametrize("width", WIDTHS)
def test_sorted_entries_are_written_as_they_come(width):
    hashes = crowded(width, 200)
    good = build(hashes, width)
    file = io.BytesIO()
    write_sorted_list(file, HashList.open(good).blocks(33), width, scratch=io.BytesIO())
    assert file.getvalue() == good


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_entries_out_of_order_are_refused(width, cut):
    entries = list(
        HashList.open(build([b"\1" * 7 + bytes([n]) + bytes([n]) * 24 for n in range(4)], width)).entries()
    )
    if len(entries) < 4:  # 4 bytes: all the same
        entries = [b"\1\1\1" + bytes([n]) for n in range(4)]
    for wrong in ([*entries[cut:], *entries[:cut]], [entries[0], entries[0], *entries[1:]]):
        for blocks in ([b"".join(wrong)], wrong):
            with pytest.raises(Corrupt, match="order"):
                write_sorted_list(io.BytesIO(), blocks, width, scratch=io.BytesIO())


def test_nothing_makes_an_empty_list():
    file = io.BytesIO()
    built = write_list(file, [], 16, scratch=io.BytesIO())
    assert built.count == 0
    assert file.getvalue() == build([], 16)
    assert built.checksum == hashlib.sha256().digest()


@pytest.mark.parametrize(
    ("block", "width", "stride", "words"),
    [(b"12345", 4, 4, "divide"), (b"1234", 8, 4, "shorter"), (b"", 5, None, "5 bytes")],
)
def test_impossible_input(block, width, stride, words):
    with pytest.raises(ValueError, match=words):
        write_list(io.BytesIO(), [block], width, scratch=io.BytesIO(), stride=stride)
