"""Updates applied: chains end where full ones do, and whatever does not fit is refused whole."""

import hashlib
import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.ground.errors import PatternError
from secondlook.wire import safebrowsing_pb2 as pb
from secondlook.wire.fault import BadUpdate
from secondlook.wire.rice import encode
from secondlook.wire.update import ADDITIONS, apply_update
from wirekit.coded import rice32
from wirekit.vectors import BATCH_FULL, BATCH_PARTIAL


def joined(entries):
    return b"".join(sorted(entries))


def make_update(width, old, new, *, partial=True):
    """The update from the entries `old` to the entries `new`, as a server makes it."""
    update = pb.HashList(
        name="mw", version=b"v", partial_update=partial, sha256_checksum=hashlib.sha256(joined(new)).digest()
    )
    if not partial:
        old = set()
    gone = [at for at, entry in enumerate(sorted(old)) if entry not in new]
    if gone:
        update.compressed_removals.CopyFrom(rice32(b"".join(at.to_bytes(4) for at in gone)))
    added = new - old
    if added:
        getattr(update, ADDITIONS[width]).CopyFrom(encode(joined(added), width))
    return update


@st.composite
def histories(draw):
    width = draw(st.sampled_from([4, 8, 16, 32]))
    pool = draw(st.lists(st.binary(min_size=width, max_size=width), min_size=1, max_size=12, unique=True))
    pool += [bytes(width), b"\xff" * width, bytes(width - 1) + b"\1"]
    return width, draw(st.lists(st.sets(st.sampled_from(pool)), min_size=2, max_size=6))


@given(histories())
def test_any_chain_of_updates_ends_where_a_full_one_does(case):
    width, states = case
    held = apply_update(make_update(width, set(), states[0], partial=False), "mw", width, None).entries
    for old, new in itertools.pairwise(states):
        update = pb.HashList.FromString(make_update(width, old, new).SerializeToString())
        applied = apply_update(update, "mw", width, held)
        assert applied.checksum == hashlib.sha256(joined(new)).digest()
        if old == new:
            assert applied.entries is None
        else:
            held = applied.entries
            assert (applied.removed, applied.added) == (len(old - new), len(new - old))
        assert held == joined(new)


def test_golden_bytes_of_a_full_and_a_partial_update():
    (full,) = pb.BatchGetHashListsResponse.FromString(bytes.fromhex(BATCH_FULL)).hash_lists
    held = apply_update(full, "se-4b", 4, None).entries
    assert held.hex(" ", 4) == "1d32c508 291bc542 f7a502e5"
    (partial,) = pb.BatchGetHashListsResponse.FromString(bytes.fromhex(BATCH_PARTIAL)).hash_lists
    held = apply_update(partial, "se-4b", 4, held).entries
    assert held.hex(" ", 4) == "1d32c508 d22d396c f7a502e5"


def test_a_large_list_with_a_small_change():
    chance = random.Random(1)
    old = {chance.randbytes(8) for _ in range(50_000)}
    new = set(sorted(old)[100:]) | {chance.randbytes(8) for _ in range(500)}
    assert apply_update(make_update(8, old, new), "mw", 8, joined(old)).entries == joined(new)


@pytest.mark.parametrize("width", [4, 8, 32])
def test_a_full_list_is_counted_against_what_was_held(width):
    old, new = ({bytes([n]) * width for n in numbers} for numbers in (range(90), range(80, 120)))
    for held, counted in ((joined(old), (80, 30)), (joined(new), (0, 0)), (None, (0, 40)), (b"", (0, 40))):
        applied = apply_update(make_update(width, old, new, partial=False), "mw", width, held)
        assert (applied.removed, applied.added) == counted
    emptied = apply_update(make_update(width, old, set(), partial=False), "mw", width, joined(old))
    assert (emptied.removed, emptied.added) == (90, 0)


def test_no_change_may_leave_out_the_checksum():
    held = b"12345678"
    assert apply_update(pb.HashList(name="mw", partial_update=True), "mw", 8, held).entries is None


OLD = {b"aaaa", b"bbbb", b"cccc"}
NEW = {b"bbbb", b"cccc", b"dddd"}


def change(**fields):
    update = make_update(4, OLD, NEW)
    for name, value in fields.items():
        setattr(update, name, value)
    return update


def removing(*positions):
    update = pb.HashList(name="mw", partial_update=True, sha256_checksum=bytes(32))
    update.compressed_removals.CopyFrom(rice32(b"".join(at.to_bytes(4) for at in positions)))
    return update


def adding(entry):
    new = OLD | {entry}
    update = pb.HashList(name="mw", partial_update=True, sha256_checksum=hashlib.sha256(joined(new)).digest())
    getattr(update, ADDITIONS[len(entry)]).CopyFrom(encode(entry, len(entry)))
    return update


def full_with_removals():
    update = make_update(4, set(), NEW, partial=False)
    update.compressed_removals.CopyFrom(encode(bytes(4), 4))
    return update


def broken_rice():
    update = make_update(4, OLD, {b"aaaa", b"zzzz", b"yyyy", b"xxxx"})
    update.additions_four_bytes.encoded_data = b"\xff"
    return update


REFUSED = {
    "another list": (change(name="se"), "came for"),
    "checksum of other entries": (change(sha256_checksum=bytes(32)), "does not match"),
    "checksum cut": (change(sha256_checksum=bytes(31)), "31 bytes"),
    "checksum missing": (change(sha256_checksum=b""), "no checksum"),
    "full, checksum missing": (pb.HashList(name="mw"), "no checksum"),
    "removal beyond the end": (removing(1, 3), "removes entry 3 of 3"),
    "addition is there already": (adding(b"bbbb"), "there already"),
    "addition is the last one there": (adding(b"cccc"), "there already"),
    "addition of another width": (adding(b"bbbbbbbb"), "additions_eight_bytes"),
    "full with removals": (full_with_removals(), "has removals"),
    "broken Rice data": (broken_rice(), "Rice"),
    "no change, yet another checksum": (
        pb.HashList(name="mw", partial_update=True, sha256_checksum=bytes(32)),
        "not the one held",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_whole(case):
    update, words = REFUSED[case]
    with pytest.raises(BadUpdate, match=words):
        apply_update(update, "mw", 4, joined(OLD))


def test_a_partial_update_needs_something_to_start_from():
    with pytest.raises(BadUpdate, match="nothing is held"):
        apply_update(make_update(4, OLD, NEW), "mw", 4, None)


def test_a_refused_update_keeps_the_last_good_list():
    assert issubclass(BadUpdate, PatternError)


def test_the_first_index_and_the_zero_prefix_are_present_though_empty():
    zero = bytes(4)
    removed = make_update(4, {zero, b"bbbb"}, {b"bbbb"})
    assert removed.compressed_removals.ByteSize() == 0
    assert apply_update(removed, "mw", 4, zero + b"bbbb").entries == b"bbbb"
    added = make_update(4, {b"bbbb"}, {zero, b"bbbb"})
    assert added.additions_four_bytes.ByteSize() == 0
    assert apply_update(added, "mw", 4, b"bbbb").entries == zero + b"bbbb"


@given(st.binary(max_size=200), st.binary(max_size=40))
def test_random_messages_only_ever_raise_bad_update(data, held):
    from google.protobuf.message import DecodeError

    try:
        update = pb.HashList.FromString(data)
    except DecodeError:
        return
    try:
        applied = apply_update(update, update.name, 4, held[: len(held) // 4 * 4])
    except BadUpdate:
        return
    assert applied.entries is None or hashlib.sha256(applied.entries).digest() == applied.checksum
