"""HPACK: ours and the `hpack` package's understand each other, whatever is said; half a second."""

import hypothesis.strategies as st
import pytest
from hpack.exceptions import HPACKDecodingError, HPACKError
from hpack.hpack import Decoder, Encoder
from hpack.struct import NeverIndexedHeaderTuple
from hpack.table import HeaderTable
from hypothesis import given

from secondlook.proxy.mitm.http.header_coding import PLAIN_BYTES, TABLE_MAX_BYTES, HeadDecoder, HeadEncoder

LIMIT = 1 << 20
names = st.one_of(st.sampled_from([b":path", b"cookie", b"x-a", b"accept-encoding"]), st.binary(max_size=20))
values = st.one_of(
    st.sampled_from([b"/", b"", b"gzip, deflate", b"a" * 100, b"a" * PLAIN_BYTES]), st.binary(max_size=60)
)
heads = st.lists(st.lists(st.tuples(names, values, st.booleans()), max_size=8), max_size=4)


@given(heads, st.integers(0, 8192))
def test_both_read_what_the_other_writes(said, table):
    pairs = ((HeadEncoder(), Decoder(LIMIT)), (Encoder(), HeadDecoder(LIMIT, 100)))
    for encoder, decoder in pairs:
        encoder.header_table_size = min(table, 4096)
        for head in said:
            found = decoder.decode(encoder.encode(head), raw=True)
            assert [tuple(field) for field in found] == [field[:2] for field in head]


@given(heads, st.integers(0, 8192))
def test_ours_writes_what_the_package_writes(said, table):
    ours, theirs = HeadEncoder(), Encoder()
    ours.header_table_size = theirs.header_table_size = min(table, 4096)
    theirs.huffman_coder = ours.huffman_coder
    for head in said:
        short = [field for field in head if len(field[0]) + len(field[1]) < PLAIN_BYTES]
        assert ours.encode(short) == theirs.encode(short)


def test_every_field_that_a_table_holds_is_one_number():
    ours, theirs = HeadEncoder(), Encoder()
    theirs.huffman_coder = ours.huffman_coder
    dynamic = [(b"x-%d" % number, b"") for number in range(100)]  # more than one byte can tell
    for head in ([*HeaderTable.STATIC_TABLE], dynamic, dynamic):
        assert ours.encode(head) == theirs.encode(head)
    assert len(ours.encode(dynamic)) < 2 * len(dynamic)


@pytest.mark.parametrize("over", [{"size": 300, "fields": 100}, {"size": LIMIT, "fields": 5}])
def test_a_head_beyond_the_limits_leaves_the_table_as_it_must_be(over):
    encoder, decoder = Encoder(), HeadDecoder(over["size"], over["fields"])
    large = [(b"x-%d" % number, b"v" * 30) for number in range(10)]
    assert decoder.decode(encoder.encode(large)) == []
    assert decoder.oversized
    assert decoder.decode(encoder.encode(large[:2])) == large[:2]
    assert not decoder.oversized


def test_the_table_stays_small_whatever_the_other_side_offers():
    encoder = HeadEncoder()
    encoder.header_table_size = 1 << 30
    for number in range(2000):
        encoder.encode([(b"x-%d" % number, b"v")])
    kept = sum(len(name) + len(value) + 32 for name, value in encoder.header_table.dynamic_entries)
    assert kept <= TABLE_MAX_BYTES


@pytest.mark.parametrize(
    ("sizes", "written"),
    [
        ([0], b"\x20"),
        ([0, 0], b"\x20"),
        ([0, 4096, 1 << 16], b"\x20\x3f\xe1\x1f"),
        ([100, 200, 100], b"\x3f\x45"),
        ([4096, 1 << 16], b""),
        ([*range(1000), 50, 50], b"\x20\x3f\x13"),
    ],
)
def test_the_other_side_learns_how_its_wishes_for_the_table_ended(sizes, written):
    """The least size and the last one (RFC 7541, 4.2), however often it changes its mind meanwhile."""
    encoder = HeadEncoder()
    for size in sizes:
        encoder.header_table_size = size
    assert encoder.encode([(b":method", b"GET")]) == written + b"\x82"
    assert encoder.encode([(b":method", b"GET")]) == b"\x82"


def test_what_must_never_be_indexed_is_told_so():
    (field,) = HeadDecoder(LIMIT, 100).decode(HeadEncoder().encode([(b"cookie", b"secret", True)]))
    assert isinstance(field, NeverIndexedHeaderTuple)


def test_an_integer_without_end_is_broken():
    with pytest.raises(HPACKDecodingError, match="an integer is too long"):
        HeadDecoder(LIMIT, 100).decode(b"\x7f" + b"\xff" * 100)


def test_a_head_of_fields_without_number_is_not_read_to_its_end():
    decoder = HeadDecoder(262_144, 1000)
    assert (decoder.decode(b"\x82" * 8000), decoder.oversized) == ([], True)
    with pytest.raises(HPACKError, match="far too many"):
        decoder.decode(b"\x82" * 500_000)  # a quarter of a second


def test_the_table_does_not_change_its_size_without_number():
    """RFC 7541, 4.2: two changes say all there is to say; h2 as the other side says each."""
    decoder = HeadDecoder(262_144, 1000)
    assert decoder.decode(b"\x20\x3f\x01" * 50 + b"\x82") == [(b":method", b"GET")]
    with pytest.raises(HPACKDecodingError, match="too often"):
        decoder.decode(b"\x20" * 500_000 + b"\x82")  # half a second
