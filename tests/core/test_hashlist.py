"""Hash lists: lookup equals `in set`, and every damage is refused by name."""

import hashlib
import mmap
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.hash_lists import build, entries_of
from secondlook.core.lists.format import (
    BUCKETS,
    HEADER,
    KEYS_AT,
    MAGIC,
    WIDTHS,
    Corrupt,
    NotAHashList,
    Truncated,
    UnsupportedVersion,
)
from secondlook.core.lists.hashlist import HashList, hash_keys

full_hashes = st.binary(min_size=32, max_size=32)


# A hash that shares its beginning with a seed (which, how many bytes): the hard cases of a sorted search.
close = st.tuples(st.integers(0, 3), st.sampled_from([1, 2, 3, 4, 7, 8, 9, 15, 16, 31, 32]), full_hashes)
drawn = st.lists(close | st.tuples(st.none(), st.just(0), full_hashes), max_size=40)
drawn_few = st.lists(close | st.tuples(st.none(), st.just(0), full_hashes), max_size=20)


def crowded(parts) -> tuple[list[bytes], list[bytes]]:
    """Some hashes, crowded around a few beginnings, and others to look up."""
    seeds, *both = parts
    listed, asked = (
        [(seeds[(which or 0) % len(seeds)][:kept] + rest)[:32] for which, kept, rest in each] for each in both
    )
    return listed, asked


lists = st.tuples(st.lists(full_hashes, min_size=1, max_size=4), drawn, drawn_few).map(crowded)


@pytest.mark.parametrize("width", WIDTHS)
@given(data=lists)
def test_lookup_equals_in_set(width, data):
    listed, asked = data
    wanted = {full_hash[:width] for full_hash in listed}
    hash_list = HashList.open(build(listed, width))
    assert len(hash_list) == len(wanted)
    entries = entries_of(hash_list)
    every = asked + listed
    assert hash_list.held(every) == [full_hash for full_hash in every if full_hash[:width] in wanted]
    for full_hash in every:
        assert hash_list.has(full_hash) == (full_hash[:width] in wanted)
        prefix = full_hash[:4]
        under = sorted(entry for entry in wanted if entry.startswith(prefix))
        span = hash_list.span(prefix)
        assert entries[span.start : span.stop] == under
        assert hash_list.has_prefix(prefix) == bool(under)
    first = next((number for number, asked_for in enumerate(asked) if asked_for[:width] in wanted), -1)
    assert hash_list.find(hash_keys(asked), asked) == first


@pytest.mark.parametrize("width", WIDTHS)
@given(data=lists, size=st.integers(1, 50))
def test_entries_come_back_sorted_with_their_checksum(width, data, size):
    listed, _ = data
    hash_list = HashList.open(build(listed, width))
    hash_list.verify()
    wanted = sorted({full_hash[:width] for full_hash in listed})
    assert entries_of(hash_list) == wanted
    assert b"".join(hash_list.blocks(size)) == b"".join(wanted)
    assert hash_list.checksum == hashlib.sha256(b"".join(wanted)).digest()


@pytest.mark.parametrize("width", WIDTHS)
def test_any_buffer_will_do(width, tmp_path):
    hashes = [hashlib.sha256(str(number).encode()).digest() for number in range(500)]
    data = build(hashes, width)
    path = tmp_path / "list.slh"
    path.write_bytes(data)
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    for buffer in (data, bytearray(data), memoryview(data), mapped):
        hash_list = HashList.open(buffer)
        hash_list.verify()
        assert all(hash_list.has(full_hash) for full_hash in hashes)
        assert not hash_list.has(hashlib.sha256(b"other").digest())


def test_the_first_and_last_of_all_hashes_are_found():
    ends = [bytes(32), b"\xff" * 32, b"\x00\x00" + b"\xff" * 30, b"\xff\xff" + bytes(30)]
    for width in WIDTHS:
        hash_list = HashList.open(build(ends, width))
        hash_list.verify()
        assert all(hash_list.has(full_hash) for full_hash in ends)
        assert not hash_list.has(b"\x80" + bytes(31))
        assert list(hash_list.span(b"\xff\xff\xff\xff")) == [3]


def test_an_empty_list_holds_nothing():
    hash_list = HashList.open(build([], 8))
    hash_list.verify()
    assert len(hash_list) == 0
    assert not hash_list.has(bytes(32))
    assert entries_of(hash_list) == []
    assert hash_list.checksum.hex().startswith("e3b0c442")


@pytest.fixture
def good() -> bytearray:
    return bytearray(build([hashlib.sha256(str(number).encode()).digest() for number in range(300)], 8))


@pytest.mark.parametrize("data", [b"", b"SLHASHE", b"<!DOCTYPE html>" * 100])
def test_no_hash_list(data):
    with pytest.raises(NotAHashList):
        HashList.open(data)


def test_another_version(good):
    struct.pack_into("<I", good, 8, 2)
    with pytest.raises(UnsupportedVersion, match="version 2"):
        HashList.open(good)


@pytest.mark.parametrize("kept", [8, HEADER.size - 1, HEADER.size, KEYS_AT - 1, KEYS_AT, -1])
def test_truncated(good, kept):
    with pytest.raises(Truncated):
        HashList.open(good[:kept])


def test_longer_than_declared(good):
    with pytest.raises(Corrupt, match="1 bytes more"):
        HashList.open(good + b"\0")


@pytest.mark.parametrize(("width", "count"), [(0, 300), (7, 300), (8, 2**33)])
def test_impossible_header(good, width, count):
    struct.pack_into("<IQ", good, 12, width, count)
    with pytest.raises(Corrupt, match="declares"):
        HashList.open(good)


@pytest.mark.parametrize(
    ("slot", "value"), [(0, 1), (BUCKETS, 299), (30_000, 301), (30_000, 2**32 - 1), (65_535, 0)]
)
def test_index_out_of_bounds_is_found_when_opening(good, slot, value):
    struct.pack_into("<I", good, HEADER.size + 4 * slot, value)
    with pytest.raises(Corrupt, match="index"):
        HashList.open(good)


def test_index_that_points_beside_is_found_by_verify(good):
    hash_list = HashList.open(good)
    slot = next(slot for slot in range(1, BUCKETS) if hash_list._index[slot - 1] < hash_list._index[slot])
    struct.pack_into("<I", good, HEADER.size + 4 * slot, hash_list._index[slot - 1])
    with pytest.raises(Corrupt, match="index"):
        HashList.open(good).verify()


@pytest.mark.parametrize("width", WIDTHS)
def test_verify_finds_any_flipped_bit_of_the_entries(width):
    hashes = [hashlib.sha256(str(number).encode()).digest() for number in range(40)]
    data = bytearray(build(hashes, width))
    hash_list = HashList.open(data)  # it looks at none of the entries, and into the same bytes as we
    for at in range(KEYS_AT, len(data)):
        data[at] ^= 0x10
        with pytest.raises(Corrupt):
            hash_list.verify()
        data[at] ^= 0x10
    hash_list.verify()


@pytest.mark.parametrize("width", WIDTHS)
def test_verify_finds_repeated_and_swapped_entries(width):
    size = min(width, 8)
    same = b"\1" * (3 if width == 4 else 7 if width == 8 else 8)
    hashes = [same + bytes([number]) * (32 - len(same)) for number in range(3)]
    data = bytearray(build(hashes, width))
    count = HashList.open(data).count
    entries = b"".join(entries_of(HashList.open(data)))
    assert count == 3
    twice = bytearray(data)
    if width <= 8:
        twice[KEYS_AT + size : KEYS_AT + 2 * size] = twice[KEYS_AT : KEYS_AT + size]
        raw = entries[:size] * 2 + entries[2 * size :]
    else:
        tails_at, tail = KEYS_AT + count * 8, width - 8
        twice[tails_at + tail : tails_at + 2 * tail] = twice[tails_at : tails_at + tail]
        raw = entries[:width] * 2 + entries[2 * width :]
    twice[24:56] = hashlib.sha256(raw).digest()  # a checksum that fits does not help
    with pytest.raises(Corrupt, match="ascending"):
        HashList.open(twice).verify()


def test_verify_finds_a_wrong_checksum(good):
    good[24] ^= 1
    with pytest.raises(Corrupt, match="checksum"):
        HashList.open(good).verify()


@settings(max_examples=300)
@given(st.binary(max_size=400), st.booleans())
def test_random_bytes_only_ever_raise_the_four_errors(data, with_magic):
    with pytest.raises((NotAHashList, UnsupportedVersion, Truncated, Corrupt)):
        HashList.open((MAGIC if with_magic else b"") + data)


@given(st.lists(st.tuples(st.integers(0, KEYS_AT + 299), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_damaged_file_is_refused_or_only_its_spare_bytes_changed(damage):
    hashes = [hashlib.sha256(str(number).encode()).digest() for number in range(50)]
    good = build(hashes, 8)
    bad = bytearray(good)
    for at, value in damage:
        bad[min(at, len(bad) - 1)] = value
    try:
        hash_list = HashList.open(bad)
        hash_list.verify()
    except (NotAHashList, UnsupportedVersion, Truncated, Corrupt):
        return
    assert entries_of(hash_list) == sorted(full_hash[:8] for full_hash in hashes)


@pytest.mark.parametrize("at", [56, 63, KEYS_AT - 4, KEYS_AT - 1])
def test_what_is_not_used_must_be_zero(at):
    data = bytearray(build([bytes(32)], 8))
    data[at] ^= 1
    with pytest.raises(Corrupt, match="other bytes than zero"):
        HashList.open(bytes(data))
