"""Rice coding: bit-exact on every published vector, and nothing malformed passes."""

import itertools

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from secondlook.wire import safebrowsing_pb2 as pb
from secondlook.wire.fault import BadUpdate
from secondlook.wire.rice import MESSAGES, PARAMETERS, WIDTHS, _set_first_value, decode, encode
from wirekit.vectors import DELTAS, RICE


def message(width, parameter, first, count, data):
    made = MESSAGES[width](rice_parameter=parameter, entries_count=count, encoded_data=data)
    _set_first_value(made, width, first)
    return made


def by_the_book(deltas, parameter):
    """The encoding as the protocol words it, bit by bit."""
    bits = "".join(
        "1" * (delta >> parameter) + "0" + "".join(str(delta >> bit & 1) for bit in range(parameter))
        for delta in deltas
    )
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[at : at + 8][::-1], 2) for at in range(0, len(bits), 8))


@pytest.mark.parametrize(("width", "parameter", "first", "count", "data", "values"), RICE)
def test_published_vectors_both_ways(width, parameter, first, count, data, values):
    raw = bytes.fromhex("".join(values))
    given_message = message(width, parameter, first, count, bytes.fromhex(data))
    assert decode(given_message) == raw
    assert encode(raw, width, parameter) == given_message


@pytest.mark.parametrize(("deltas", "data"), DELTAS)
def test_vectors_of_differences(deltas, data):
    values = list(itertools.accumulate(deltas, initial=0))
    assert by_the_book(deltas, 28).hex() == data
    if values[-1] < 2**32:
        raw = b"".join(value.to_bytes(4) for value in values)
        assert encode(raw, 4, 28).encoded_data.hex() == data
        assert decode(message(4, 28, 0, len(deltas), bytes.fromhex(data))) == raw
    else:  # more than 32 bits in all: fine as a stream, not as values
        with pytest.raises(BadUpdate, match="add up"):
            decode(message(4, 28, 0, len(deltas), bytes.fromhex(data)))


@st.composite
def sorted_values(draw):
    """Sorted distinct values of some width: spread, crowded, or at the ends."""
    width = draw(st.sampled_from([4, 8, 16, 32]))
    top = 2 ** (width * 8) - 1
    spread = st.integers(0, top)
    start = draw(st.sampled_from([0, top - 5000, top // 2]))
    values = draw(st.sets(st.one_of(spread, st.integers(start, start + 5000)), min_size=1, max_size=60))
    return width, sorted(values)


@given(sorted_values())
def test_round_trip(case):
    width, values = case
    raw = b"".join(value.to_bytes(width) for value in values)
    made = encode(raw, width)
    assert made.entries_count == len(values) - 1
    assert decode(made) == raw
    assert decode(type(made).FromString(made.SerializeToString())) == raw


@given(sorted_values(), st.data())
def test_every_parameter_gives_the_bits_of_the_book(case, data):
    width, values = case
    assume(len(values) > 1)
    low, high = PARAMETERS[width]
    deltas = [after - before for before, after in itertools.pairwise(values)]
    parameter = data.draw(st.integers(low, high))
    assume(sum(delta >> parameter for delta in deltas) < 100_000)
    raw = b"".join(value.to_bytes(width) for value in values)
    made = encode(raw, width, parameter)
    assert made.encoded_data == by_the_book(deltas, parameter)
    assert decode(made) == raw


@pytest.mark.parametrize("width", [4, 8, 16, 32])
def test_many_values_cross_all_chunks(width, monkeypatch):
    import random

    monkeypatch.setattr("secondlook.wire.rice.CHUNK_BYTES", 64)
    monkeypatch.setattr("secondlook.wire.rice.CHUNK_VALUES", 50)
    chance = random.Random(width)
    values = sorted({chance.getrandbits(width * 8) for _ in range(3000)})
    raw = b"".join(value.to_bytes(width) for value in values)
    made = encode(raw, width)
    deltas = [after - before for before, after in itertools.pairwise(values)]
    assert made.encoded_data == by_the_book(deltas, made.rice_parameter)
    assert decode(made) == raw


def test_long_runs_of_ones_cross_words_and_chunks(monkeypatch):
    monkeypatch.setattr("secondlook.wire.rice.CHUNK_BYTES", 16)
    deltas = [8 * 31, 8 * 32, 8 * 33, 1, 8 * 1000 + 7, 8 * 64, 3]
    values = list(itertools.accumulate(deltas, initial=5))
    raw = b"".join(value.to_bytes(4) for value in values)
    made = encode(raw, 4, 3)
    assert made.encoded_data == by_the_book(deltas, 3)
    assert decode(made) == raw


@pytest.mark.parametrize("width", [4, 8, 16, 32])
@pytest.mark.parametrize("value", [0, 1])
def test_a_single_value_needs_no_data(width, value):
    raw = value.to_bytes(width)
    made = encode(raw, width)
    assert (made.entries_count, made.encoded_data) == (0, b"")
    for parameter in (0, 1, 99):  # says nothing, so any will do
        made.rice_parameter = parameter
        assert decode(made) == raw


@pytest.mark.parametrize(
    ("raw", "width", "parameter", "words"),
    [
        (b"", 4, None, "0 bytes"),
        (b"12345", 4, None, "5 bytes"),
        (bytes(8), 4, None, "ascend"),
        (b"\1" * 4 + b"\0" * 4, 4, None, "ascend"),
        (bytes(8) + b"\1" * 8, 8, 34, "parameter 34"),
        (bytes(8) + b"\1" * 8, 8, 63, "parameter 63"),
    ],
)
def test_what_cannot_be_encoded(raw, width, parameter, words):
    with pytest.raises(ValueError, match=words):
        encode(raw, width, parameter)


@pytest.mark.parametrize("width", [4, 8, 16, 32])
class TestMalformed:
    def test_parameter_out_of_range(self, width):
        low, high = PARAMETERS[width]
        for parameter in (low - 1, high + 1, 0, -1, 2**31 - 1, -(2**31)):
            with pytest.raises(BadUpdate, match="parameter"):
                decode(message(width, parameter, 0, 1, bytes(64)))

    def test_negative_count(self, width):
        with pytest.raises(BadUpdate, match="negative"):
            decode(message(width, PARAMETERS[width][0], 0, -1, bytes(64)))

    def test_count_beyond_the_data_allocates_nothing(self, width):
        with pytest.raises(BadUpdate, match="cannot fit"):
            decode(message(width, PARAMETERS[width][0], 0, 2**31 - 1, b"\xaa" * 64))

    def test_data_ends_early(self, width):
        low, _ = PARAMETERS[width]
        deltas = [3, 5 << low, 1, 9]
        data = by_the_book(deltas, low)
        for kept in range(len(data)):
            with pytest.raises(BadUpdate):
                decode(message(width, low, 0, len(deltas), data[:kept]))

    def test_no_zero_bit_at_all(self, width):
        with pytest.raises(BadUpdate):
            decode(message(width, PARAMETERS[width][0], 0, 1, b"\xff" * 200))

    def test_quotient_too_large(self, width):
        _, high = PARAMETERS[width]
        fits = (2 ** (width * 8 - high) - 1) << high
        assert int.from_bytes(decode(message(width, high, 0, 1, by_the_book([fits], high)))[width:]) == fits
        with pytest.raises(BadUpdate, match="needs more than"):
            decode(message(width, high, 0, 1, by_the_book([fits + 2**high], high)))

    def test_sum_too_large(self, width):
        low, _ = PARAMETERS[width]
        top = 2 ** (width * 8) - 1
        assert decode(message(width, low, top - 1, 1, by_the_book([1], low)))[width:] == top.to_bytes(width)
        for deltas in ([2], [1, 1], [1, 1, 1]):
            with pytest.raises(BadUpdate, match="add up"):
                decode(message(width, low, top - 1, len(deltas), by_the_book(deltas, low)))

    def test_repeated_value(self, width):
        low, _ = PARAMETERS[width]
        with pytest.raises(BadUpdate, match="repeats"):
            decode(message(width, low, 7, 3, by_the_book([1, 0, 1], low)))


@settings(max_examples=400)
@given(
    st.sampled_from(sorted(WIDTHS.values())),
    st.integers(-(2**31), 2**31 - 1) | st.integers(0, 260),
    st.integers(-(2**31), 2**31 - 1) | st.integers(0, 60),
    st.binary(max_size=120),
    st.binary(max_size=32),
)
def test_random_bytes_only_ever_raise_bad_update(width, parameter, count, data, first):
    given_message = message(width, parameter, int.from_bytes(first) % 2 ** (width * 8), count, data)
    try:
        raw = decode(given_message)
    except BadUpdate:
        return
    values = [raw[at : at + width] for at in range(0, len(raw), width)]
    assert values == sorted(set(values))
    assert len(values) == count + 1


def test_every_width_has_its_message():
    assert {
        4: pb.RiceDeltaEncoded32Bit,
        8: pb.RiceDeltaEncoded64Bit,
        16: pb.RiceDeltaEncoded128Bit,
        32: pb.RiceDeltaEncoded256Bit,
    } == MESSAGES
