"""HPACK (RFC 7541) in linear time: the `hpack` package's tables, with an encoder and a decoder of ours.

`hpack` 4.2 builds one giant integer for each Huffman-coded string and copies the rest of a block for every
literal of it: a value of 256 KB takes 5 to 11 s to encode. It takes any dynamic table that the other side
wishes for, and searches it one entry after the other; and a head beyond the limit ends the connection.

Here long values go plain and unindexed, the table stays small, and a head beyond the limit is read to its end
without being kept, so that its connection lives on. What was sent before is looked up: fields in the tables,
and how short strings are coded.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from hpack.exceptions import HPACKDecodingError, InvalidTableSizeError, OversizedHeaderListError
from hpack.hpack import Decoder, Encoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import HUFFMAN_COMPLETE, HUFFMAN_EMIT_SYMBOL, HUFFMAN_FAIL, HUFFMAN_TABLE
from hpack.struct import HeaderTuple, NeverIndexedHeaderTuple
from hpack.table import HeaderTable

type Field = tuple[bytes, bytes]

PLAIN_BYTES = 2048  # a field from here on is sent as it is: it would only push others out of the table
TABLE_MAX_BYTES = 4096  # of a dynamic table, whatever the other side offers (Chromium: 64 KiB)
BEYOND = (
    8  # times the most fields are read of a head that is refused: each may be one byte, and takes its time
)
ENTRY_BYTES = 32  # what a field counts beside its name and value (RFC 7541, 4.1)
SHORT_BYTES = 64  # coded strings up to here are remembered
_RESIZED_MOST = 100  # times in a block; two would do (RFC 7541, 4.2), `hpack` writes each that there was
_SHORT_KEPT = 4096
_INTEGER_MAX_BYTES = 5
_CODES = [
    format(code & ((1 << length) - 1), f"0{length}b")
    for code, length in zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True)
]
_PLAIN, _NEVER = b"\x00", b"\x10"
_INDEXED = [bytes((0x80 | index,)) for index in range(0x7F)]
_DYNAMIC = len(HeaderTable.STATIC_TABLE) + 1  # index of the first entry of the dynamic table
_STATIC = {
    field: _INDEXED[index] for index, field in reversed(list(enumerate(HeaderTable.STATIC_TABLE, start=1)))
}


class _Huffman:
    """Huffman codes of strings, in linear time."""

    @staticmethod
    def encode(data: bytes | None) -> bytes:
        """Code a string (RFC 7541, 5.2)."""
        if not data:
            return b""
        bits = "".join([_CODES[byte] for byte in data])
        padding = -len(bits) % 8
        return int(bits + "1" * padding, 2).to_bytes((len(bits) + padding) // 8)


class HeadEncoder(Encoder):
    """An encoder whose cost is that of the bytes it sends."""

    def __init__(self) -> None:
        super().__init__()
        self.huffman_coder = _Huffman()  # type: ignore[assignment]

    @property
    def header_table_size(self) -> int:
        """The size of the dynamic table."""
        return self.header_table.maxsize

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        size = min(value, TABLE_MAX_BYTES)
        if size == self.header_table.maxsize:
            return  # `hpack` would forget a change that the other side does not know of yet
        self.header_table.maxsize = size
        least = min((size, *self.table_size_changes))
        self.table_size_changes = [size] if least == size else [least, size]  # RFC 7541, 4.2

    def encode(self, headers: Iterable[Field], huffman: bool = True) -> bytes:  # type: ignore[override]
        """Code a head; one that must not be indexed is of a type of its own, or has a third part."""
        table = self.header_table
        block = []
        if table.resized:
            block.append(self._encode_table_size_change())
            table.resized = False
        field: Any
        for field in headers:
            if type(field) is tuple and len(field) == 2:  # noqa: PLR2004
                block.append(self.add(field, False, huffman))
            else:
                sensitive = not field.indexable if isinstance(field, HeaderTuple) else bool(field[2])
                block.append(self.add((field[0], field[1]), sensitive, huffman))
        return b"".join(block)

    def add(self, to_add: Field, sensitive: bool, huffman: bool = False) -> bytes:
        """Code one field."""
        name, value = to_add
        if len(name) + len(value) >= PLAIN_BYTES:
            return self._encode_literal(name, value, _NEVER if sensitive else _PLAIN)
        known = _STATIC.get(to_add)
        if known is not None:
            return known
        entries = self.header_table.dynamic_entries
        if to_add in entries:
            index = entries.index(to_add) + _DYNAMIC
            return _INDEXED[index] if index < len(_INDEXED) else self._encode_indexed(index)
        return super().add(to_add, sensitive, huffman)


class HeadDecoder(Decoder):
    """A decoder that reads a head of any size to its end, and keeps one only up to the limit.

    `oversized` is whether the last head was beyond `max_header_list_size` or `max_fields`; such a
    head is given as an empty list.
    """

    oversized = False

    def __init__(self, max_header_list_size: int, max_fields: int) -> None:
        super().__init__(max_header_list_size)
        self.max_fields = max_fields

    def decode(self, data: bytes, raw: bool = False) -> list[Field]:  # type: ignore[override]  # noqa: ARG002, C901, PLR0912
        """Decode a header block to name-value pairs; HPACKError where it is broken or goes on and on."""
        table = self.header_table
        fields: list[Field] = []
        self.oversized = False
        size = at = beyond = resized = 0
        field: Field
        try:
            while at < len(data):
                first = data[at]
                if first & 0x80:
                    index, at = _integer(data, at, 0x7F)
                    field = table.get_by_index(index)
                elif first & 0x60 == 0x20:  # noqa: PLR2004 - a bit pattern, as in the RFC
                    if fields or self.oversized:
                        raise HPACKDecodingError("a table size update stands after a field")
                    index, at = _integer(data, at, 0x1F)
                    resized += 1
                    if resized > _RESIZED_MOST:
                        raise HPACKDecodingError("the table changes its size too often")
                    if index > self.max_allowed_table_size:
                        raise InvalidTableSizeError("the table is larger than allowed")
                    self.header_table_size = index
                    continue
                else:
                    index, at = _integer(data, at, 0x3F if first & 0x40 else 0x0F)
                    if index:
                        name = table.get_by_index(index)[0]
                    else:
                        name, at = _string(data, at)
                    value, at = _string(data, at)
                    never = first & 0x10 and not first & 0x40  # stays so on the way (RFC 7541, 6.2.3)
                    field = NeverIndexedHeaderTuple(name, value) if never else (name, value)
                    if first & 0x40:
                        table.add(name, value)
                size += len(field[0]) + len(field[1]) + ENTRY_BYTES
                if self.oversized:
                    beyond += 1
                    if beyond > self.max_fields * BEYOND:
                        raise OversizedHeaderListError("a header block with far too many fields")
                elif size > self.max_header_list_size or len(fields) >= self.max_fields:
                    self.oversized = True
                    fields.clear()
                else:
                    fields.append(field)
        except IndexError as error:
            raise HPACKDecodingError("the header block ends in the middle") from error
        self._assert_valid_table_size()
        return fields


def _integer(data: bytes, at: int, mask: int) -> tuple[int, int]:
    """Read an integer (RFC 7541, 5.1); return it and where it ends."""
    number = data[at] & mask
    at += 1
    if number < mask:
        return number, at
    for shift in range(0, 7 * _INTEGER_MAX_BYTES, 7):
        byte = data[at]
        at += 1
        number += (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004
            return number, at
    raise HPACKDecodingError("an integer is too long")


def _string(data: bytes, at: int) -> tuple[bytes, int]:
    """Read a string (RFC 7541, 5.2); return it and where it ends."""
    coded = data[at] & 0x80
    length, at = _integer(data, at, 0x7F)
    end = at + length
    if end > len(data):
        raise HPACKDecodingError("the header block ends in a string")
    found = bytes(data[at:end])
    if not coded:
        return found, end
    return (_short(found) if length <= SHORT_BYTES else _huffman(found)), end


type _Step = tuple[int, bytes, bool]
_STEPS: list[_Step | None] = [None] * (256 * 256)  # by state and byte; filled as they are met


def _huffman(data: bytes) -> bytes:
    if not data:
        return b""
    steps, state, complete = _STEPS, 0, True
    pieces: list[bytes] = []
    for byte in data:
        state, piece, complete = steps[state | byte] or _learn(state, byte)
        pieces.append(piece)
    if not complete:
        raise HPACKDecodingError("a Huffman-coded string ends in the middle")
    return b"".join(pieces)


_short = lru_cache(_SHORT_KEPT)(_huffman)  # dates, types, names of hosts and programs: the same for a while


def _learn(state: int, byte: int) -> _Step:
    """Find what a byte does in a state: two steps of `hpack`'s table, which takes half a byte each."""
    piece, node, flags = b"", state >> 8, 0
    for nibble in (byte >> 4, byte & 0x0F):
        node, flags, symbol = HUFFMAN_TABLE[node * 16 + nibble]
        if flags & HUFFMAN_FAIL:
            raise HPACKDecodingError("a Huffman-coded string is broken")
        if flags & HUFFMAN_EMIT_SYMBOL:
            piece += bytes((symbol,))
    step = _STEPS[state | byte] = (node << 8, piece, bool(flags & HUFFMAN_COMPLETE))
    return step
