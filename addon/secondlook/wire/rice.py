"""Rice-Golomb delta coding of sorted hash prefixes, in bulk with numpy (Safe Browsing v5).

A prefix of W bits is a big-endian unsigned integer. Of a sorted list the smallest value is sent as it is
(`first_value`), then each difference to the value before: the quotient by 2**k as so many one-bits and a
zero-bit, then the lower k bits, least significant first. Bits fill each byte from its lowest one up.

Where one code ends is known only once its zero-bit was found, so the codes are walked one by one; that
walk does nothing but search zero-bits in one byte per bit (`bytes.find`, in C). Everything else, values
included, is arithmetic on whole columns of 32-bit digits, lowest digit first, for all widths alike.
"""

from collections.abc import Buffer, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from secondlook.wire import safebrowsing_pb2 as pb
from secondlook.wire.fault import BadUpdate

type Column = NDArray[np.uint64]
type Digits = NDArray[np.uint64]  # shape (digits, values), each below 2**32
type Message = (
    pb.RiceDeltaEncoded32Bit
    | pb.RiceDeltaEncoded64Bit
    | pb.RiceDeltaEncoded128Bit
    | pb.RiceDeltaEncoded256Bit
)

# Smallest and largest parameter by width in bytes.
PARAMETERS: Final = {4: (3, 30), 8: (35, 62), 16: (99, 126), 32: (227, 254)}
WIDTHS: Final[dict[type[Message], int]] = {
    pb.RiceDeltaEncoded32Bit: 4,
    pb.RiceDeltaEncoded64Bit: 8,
    pb.RiceDeltaEncoded128Bit: 16,
    pb.RiceDeltaEncoded256Bit: 32,
}
MESSAGES: Final = {width: message for message, width in WIDTHS.items()}
CHUNK_BYTES: Final = 1 << 18
CHUNK_VALUES: Final = 1 << 17
_FIRST_VALUE: Final = {
    4: ("first_value",),
    8: ("first_value",),
    16: ("first_value_hi", "first_value_lo"),
    32: (
        "first_value_first_part",
        "first_value_second_part",
        "first_value_third_part",
        "first_value_fourth_part",
    ),
}
_DIGIT: Final = np.uint64(32)
_MASK: Final = np.uint64(0xFFFFFFFF)
_BYTE: Final = np.uint64(3)  # shift from bits to bytes
_IN_BYTE: Final = np.uint64(7)
_WORD: Final = np.uint64(5)  # shift from bits to 32-bit words
_IN_WORD: Final = np.uint64(31)


def decode(message: Message) -> bytes:
    """The sorted values of a message, each in big-endian bytes; at least one. Raise BadUpdate."""
    width = WIDTHS[type(message)]
    first = _first_value(message, width)
    values = [first.to_bytes(width)]
    count, parameter = message.entries_count, message.rice_parameter
    if count < 0:
        raise BadUpdate(f"negative count of Rice-coded entries: {count}")
    if count:
        low, high = PARAMETERS[width]
        if not low <= parameter <= high:
            raise BadUpdate(f"Rice parameter {parameter} is not within {low} to {high} for {width} bytes")
        values.extend(_decode_deltas(message.encoded_data, count, parameter, width, first))
    return b"".join(values)


def _decode_deltas(data: bytes, count: int, parameter: int, width: int, first: int) -> Iterator[bytes]:
    if count > len(data) * 8 // (parameter + 1):  # before anything of that size is allocated
        raise BadUpdate(f"{count} Rice-coded entries cannot fit in {len(data)} bytes")
    # A 64-bit word at every byte, so that 32 bits from any position are one gather and one shift.
    words: Column = np.ndarray((len(data) + 1,), dtype="<u8", buffer=data + bytes(8), strides=(1,))
    last = _digits_of(first, width)
    end = 0
    done = 0
    for zeros in _zero_bits(data, count, parameter):
        done += len(zeros)
        starts = np.empty_like(zeros)
        starts[0], starts[1:] = end, zeros[:-1] + np.uint64(1 + parameter)
        end = int(zeros[-1]) + 1 + parameter
        if end > len(data) * 8:
            raise BadUpdate("Rice-coded data ends within an entry")
        deltas = _join(zeros - starts, words, zeros + np.uint64(1), parameter, width)
        if not deltas.any(axis=0).all():
            raise BadUpdate("a Rice-coded entry repeats the one before")
        values = _running_sums(deltas, last)
        last = values[:, -1].copy()
        yield values[::-1].T.astype(">u4").tobytes()
    if done < count:
        raise BadUpdate(f"Rice-coded data ends after {done} of {count} entries")


def _zero_bits(data: bytes, count: int, parameter: int) -> Iterator[Column]:
    """Positions of the zero-bit that ends each quotient, in batches."""
    at = 0  # where the search for the next zero-bit goes on
    left = count
    step = parameter + 1
    for base in range(0, len(data), CHUNK_BYTES):
        bits = np.unpackbits(
            np.frombuffer(data, np.uint8, min(CHUNK_BYTES, len(data) - base), base), bitorder="little"
        )
        find = bits.tobytes().find
        size, offset = len(bits), base * 8
        local = at - offset
        found: list[int] = []
        append = found.append
        while local < size:
            zero = find(0, local)
            if zero < 0:
                local = size
                break
            append(zero)
            local = zero + step
        at = offset + local
        if found:
            zeros = np.array(found[:left], dtype=np.uint64) + np.uint64(offset)
            left -= len(zeros)
            yield zeros
            if not left:
                return


def _join(quotients: Column, words: Column, positions: Column, parameter: int, width: int) -> Digits:
    """Quotients and the `parameter` bits at each position, as digits. Raise BadUpdate."""
    digits = np.empty((width // 4, len(quotients)), dtype=np.uint64)
    top_bits = np.uint64(parameter % 32)  # the ranges of parameters end within the uppermost digit
    if (quotients >> (_DIGIT - top_bits)).any():
        raise BadUpdate(f"a Rice-coded entry needs more than {width} bytes")
    for digit in digits:
        digit[:] = (words[positions >> _BYTE] >> (positions & _IN_BYTE)) & _MASK
        positions = positions + _DIGIT
    digits[-1] &= (np.uint64(1) << top_bits) - np.uint64(1)
    digits[-1] |= quotients << top_bits
    return digits


def _running_sums(deltas: Digits, last: Column) -> Digits:
    """The values that follow `last`. Raise BadUpdate when one needs more digits than there are."""
    sums = np.cumsum(deltas, axis=1, dtype=np.uint64)
    carry: Column | np.uint64 = np.uint64(0)
    for number, before in enumerate(last):
        sums[number] += before + carry
        carry = sums[number] >> _DIGIT
        sums[number] &= _MASK
    if np.any(carry):
        raise BadUpdate("Rice-coded entries add up to more than their width")
    return sums


def encode(entries: Buffer, width: int, parameter: int | None = None) -> Message:
    """The message for sorted distinct values of `width` bytes each, at least one.

    Without a `parameter` the one that fits the mean difference is taken. Raise ValueError when there
    are no values, when they do not ascend strictly or when the parameter is out of range.
    """
    raw = memoryview(entries).cast("B")
    count, rest = divmod(len(raw), width)
    if rest or not count:
        raise ValueError(f"cannot encode {len(raw)} bytes as entries of {width} bytes")
    first, last = int.from_bytes(raw[:width]), int.from_bytes(raw[-width:])
    message = MESSAGES[width]()
    _set_first_value(message, width, first)
    if count == 1:
        return message
    low, high = PARAMETERS[width]
    if parameter is None:
        mean = max(1, (last - first) // (count - 1))
        parameter = min(high, max(low, mean.bit_length() - 1))
    elif not low <= parameter <= high:
        raise ValueError(f"Rice parameter {parameter} is not within {low} to {high} for {width} bytes")
    message.rice_parameter = parameter
    message.entries_count = count - 1
    message.encoded_data = b"".join(_encode_deltas(raw, width, parameter))
    return message


def _encode_deltas(raw: memoryview, width: int, parameter: int) -> Iterator[bytes]:
    count = len(raw) // width
    filled, open_byte = 0, 0  # bits used of the last byte of the chunk before, and that byte
    for start in range(0, count - 1, CHUNK_VALUES):
        part = raw[start * width : min(count, start + CHUNK_VALUES + 1) * width]
        code, bits = _encode_chunk(_differences(part, width), parameter, filled)
        code[0] |= open_byte
        whole, filled = divmod(bits, 8)
        open_byte = code[whole] if filled else 0
        yield bytes(code[:whole])
    if filled:
        yield bytes([open_byte])


def _differences(part: memoryview, width: int) -> Digits:
    """Each value less the one before. Raise ValueError unless they ascend strictly."""
    values = np.frombuffer(part, dtype=">u4").reshape(-1, width // 4).T[::-1].astype(np.int64)
    deltas = values[:, 1:] - values[:, :-1]
    borrow: NDArray[np.int64] | int = 0
    for number in range(len(deltas)):
        deltas[number] -= borrow
        borrow = (deltas[number] < 0).astype(np.int64)
        deltas[number] += borrow << 32
    if np.any(borrow) or not deltas.any(axis=0).all():
        raise ValueError("entries do not ascend strictly")
    return deltas.astype(np.uint64)


def _encode_chunk(deltas: Digits, parameter: int, filled: int) -> tuple[bytearray, int]:
    """The codes of these differences after `filled` free bits, and how many bits are used in all."""
    top_bits = np.uint64(parameter % 32)
    quotients = deltas[-1] >> top_bits
    deltas[-1] &= (np.uint64(1) << top_bits) - np.uint64(1)
    ends = np.cumsum(quotients + np.uint64(1 + parameter)) + np.uint64(filled)
    starts = ends - quotients - np.uint64(1 + parameter)
    words = np.zeros(int(ends[-1] >> _WORD) + 2, dtype=np.uint64)  # 32 bits used of each

    def put(positions: Column, values: Column) -> None:
        slots = positions >> _WORD
        values = values << (positions & _IN_WORD)
        np.add.at(words, slots, values & _MASK)
        np.add.at(words, slots + np.uint64(1), values >> _DIGIT)

    runs = quotients >> _WORD  # whole words of one-bits, rare
    if runs.any():
        times = runs.astype(np.int64)
        steps = np.arange(times.sum(), dtype=np.uint64) - np.repeat(np.cumsum(runs) - runs, times)
        put(np.repeat(starts, times) + (steps << _WORD), np.full(len(steps), _MASK))
    put(starts + (runs << _WORD), (np.uint64(1) << (quotients & _IN_WORD)) - np.uint64(1))
    positions = starts + quotients + np.uint64(1)
    for digit in deltas:
        put(positions, digit)
        positions = positions + _DIGIT
    return bytearray(words.astype("<u4").tobytes()), int(ends[-1])


def _first_value(message: Message, width: int) -> int:
    value = 0
    for field in _FIRST_VALUE[width]:
        value = value << 64 | getattr(message, field)
    return value


def _set_first_value(message: Message, width: int, value: int) -> None:
    for field in reversed(_FIRST_VALUE[width]):
        setattr(message, field, value & (2**64 - 1))
        value >>= 64


def _digits_of(value: int, width: int) -> Column:
    return np.frombuffer(value.to_bytes(width, "little"), dtype="<u4").astype(np.uint64)
