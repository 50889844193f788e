"""A version comes back as it was, and what somebody else made is none of ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.wire.version import TAG_BYTES, ListVersion

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=40)
TAGS = st.binary(min_size=TAG_BYTES, max_size=TAG_BYTES)
NUMBERS = st.integers(0, 2**64 - 1)
WHOLE = st.builds(ListVersion, NAMES, NUMBERS, TAGS)
CUT = st.builds(ListVersion, NAMES, NUMBERS, TAGS, NUMBERS, TAGS, st.binary(min_size=1, max_size=32))


@given(WHOLE | CUT)
def test_a_version_comes_back_as_it_was(version):
    assert ListVersion.decode(version.encode()) == version
    assert version.whole == (not version.bound)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_version_or_none(blob):
    version = ListVersion.decode(blob)
    assert version is None or version.encode() == blob


def test_the_form_never_changes():
    tag = bytes(range(8))
    assert ListVersion("mw-8b", 7, tag).encode() == b"\x01\x05mw-8b" + (7).to_bytes(8) + tag
    cut = ListVersion("mw-8b", 7, tag, 6, tag[::-1], b"bnd")
    assert cut.encode() == ListVersion("mw-8b", 7, tag).encode() + (6).to_bytes(8) + tag[::-1] + b"bnd"


@pytest.mark.parametrize("cut", [0, 1, 2, 6, 7, 22])
def test_a_part_of_one_is_none(cut):
    assert ListVersion.decode(ListVersion("mw-8b", 7, bytes(8)).encode()[:cut]) is None


@pytest.mark.parametrize(
    "blob",
    [
        b"\x02\x01a" + bytes(16),
        b"\x01\x01\xff" + bytes(16),
        b"\x01\x01a" + bytes(32),
        b"\x01\x01a" + bytes(253),
    ],
)
def test_of_another_format_or_size_it_is_none(blob):
    assert ListVersion.decode(blob) is None
