"""Hash list files, which another program, a full disk or a stranger may have written."""

from hashlib import sha256

from hypothesis import strategies as st

from agentkit.hash_lists import build
from fuzzkit import fuzz, mutated
from secondlook.core.lists.hashlist import HashList
from secondlook.ground.errors import PatternError

HASHES = [sha256(b"%d" % number).digest() for number in range(60)]
FILES = [build(HASHES[:count], width) for width in (4, 8, 32) for count in (1, 60)]


@fuzz(data=mutated([b"", *(data[:64] + data[-2048:] for data in FILES)]))
def test_files_that_are_cut(data):
    """What is no whole list is refused with an error of lists, never with another."""
    try:
        HashList.open(data)
    except PatternError as error:
        assert str(error)


@fuzz(which=st.sampled_from(FILES), at=st.integers(0, 1 << 20), bit=st.integers(0, 7))
def test_a_flipped_bit(which, at, bit):
    """A list in which one bit is another is refused when it is opened or when it is verified."""
    data = bytearray(which)
    data[at % len(data)] ^= 1 << bit
    try:
        HashList.open(bytes(data)).verify()
    except PatternError:
        return
    raise AssertionError("taken with a flipped bit")


@fuzz(
    hashes=st.lists(st.binary(min_size=32, max_size=32), max_size=60),
    others=st.lists(st.binary(min_size=32, max_size=32), max_size=20),
    width=st.sampled_from([4, 8, 32]),
)
def test_look_ups(hashes, others, width):
    """A list has exactly the prefixes of the hashes that it was built from."""
    table = HashList.open(build(hashes, width))
    table.verify()
    held = {each[:width] for each in hashes}
    assert table.count == len(held)
    for each in (*hashes, *others):
        assert table.has(each) == (each[:width] in held)
