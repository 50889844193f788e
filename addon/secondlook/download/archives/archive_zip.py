"""Members of a zip archive by each of its views (APPNOTE 6.3.10), unpacked in small steps.

Readers differ: most go by the directory at the end (`zipfile` reads it), some by the headers before the
members, one after the other, whatever stands between them. Here every header that the directory does not lead
to is a member too, and one whose two descriptions disagree is reported. `zipfile` bounds only what deflate
gives at once: a few bytes of bzip2 or LZMA can stand for a hundred megabytes; here each step gives what was
asked.
"""

import bz2
import lzma
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import IO, Protocol

from secondlook.download.archives.archive_stream import (
    RAW,
    Dripping,
    Inflated,
    OverLimitError,
    Source,
    ToItsFault,
)
from secondlook.ground.zstd import begin_frame

_INPUT_BYTES = 16 << 10
_SCAN_BYTES = 1 << 20
_HEADER = struct.Struct("<4s5H3I2H")
_MARK = b"PK\x03\x04"
_BEHIND_MARK = b"PK\x07\x08"
_STORED, _DEFLATED, _DEFLATED64, _BZIP2, _LZMA, _ZSTD, _XZ = 0, 8, 9, 12, 14, 93, 95
_METHODS = frozenset({_STORED, _DEFLATED, _DEFLATED64, _BZIP2, _LZMA, _ZSTD, _XZ, 98, 99, *range(1, 7)})
ENCRYPTED = 1  # flags
_SIZES_BEHIND = 8
_ZIP64 = 0xFFFFFFFF


class ZipError(Exception):
    """A member cannot be unpacked, or its headers contradict each other."""


class _Machine(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One member: where its header and its data stand, and what is recorded about them (None: nothing).

    `open_ended`: by its header, how long it is stands behind its data.
    """

    name: str
    method: int
    encrypted: bool
    header: int
    start: int
    packed: int | None
    size: int | None
    check: int | None
    open_ended: bool = False

    @property
    def searched_from(self) -> int:
        """From where on other headers may stand, as far as its own header tells.

        What is stored and open-ended some look through for a length that stands behind it.
        """
        unsure = self.open_ended and self.method == _STORED
        return self.start if unsure else self.start + (self.packed or 0)

    @property
    def is_dir(self) -> bool:
        """Return whether it is a folder, with nothing in it."""
        return self.name.endswith("/") and not self.packed


class _Stored:
    needs_input, unused_data, eof = True, b"", False

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:  # noqa: ARG002 - data are few
        return data


class Unpacked(ToItsFault):
    """A member that reads like a file, forwards only; at its end it has compared what was recorded.

    Raises ZipError for a lie.
    """

    _seen_to = (EOFError, OverLimitError, ZipError)

    def __init__(self, file: Source, entry: Entry) -> None:
        if entry.encrypted:
            raise ZipError("it is encrypted")
        self._file, self._entry = file, entry
        self._at = self._piece_at = entry.start
        self._left = entry.packed
        self._machine = self._make(entry.method)
        self._check = 0
        self.size = 0

    @property
    def end(self) -> int:
        """Where its data ended, once all is read: that may be before what is recorded."""
        return self._at - len(self._machine.unused_data)

    def _again(self) -> "Unpacked":
        return Unpacked(Dripping(self._file, self._piece_at), self._entry)

    def step(self, count: int) -> bytes:
        """Unpack the next bytes."""
        out = b""
        while not out and not self._machine.eof:
            data = self._take(_INPUT_BYTES) if self._machine.needs_input else b""
            drained = self._machine.needs_input and not data
            if drained and self._entry.method == _STORED:
                break
            out = self._machine.decompress(data, count)
            if drained and not out and not self._machine.eof:
                raise EOFError("a member ends too early")
        self._check = zlib.crc32(out, self._check)
        self.size += len(out)
        if not out:
            self._compare()
        return out

    def _compare(self) -> None:
        if self._entry.check is not None and self._check != self._entry.check:
            raise ZipError(f"Bad CRC of {self._entry.name!r}")
        if self._entry.size is not None and self.size != self._entry.size:
            raise ZipError(f"the size of {self._entry.name!r} is not the declared one")

    def _take(self, count: int) -> bytes:
        if self._left is not None:
            count = min(count, self._left)
        self._file.seek(self._at)
        self._piece_at = self._at
        data = self._file.read(count)
        self._at += len(data)
        if self._left is not None:
            self._left -= len(data)
        return data

    def _make(self, method: int) -> _Machine:
        match method:
            case 0 if self._left is not None:
                return _Stored()
            case 8:
                return Inflated(RAW)
            case 12:
                return bz2.BZ2Decompressor()
            case 14:
                return self._lzma()
            case 93:
                return begin_frame()
            case 95:
                return lzma.LZMADecompressor(lzma.FORMAT_XZ)
            case _:
                raise ZipError(f"method {method} is not unpacked")

    def _lzma(self) -> _Machine:
        _, size = struct.unpack("<HH", self._take(4))
        first, dictionary = struct.unpack_from("<BI", self._take(size))
        options = {"lc": first % 9, "lp": first // 9 % 5, "pb": first // 45, "dict_size": dictionary}
        return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA1, **options}])


def unlisted(file: IO[bytes], ends: dict[int, int]) -> Iterator[tuple[Entry, int]]:
    """Find the headers that no directory leads to; `ends` maps known ones to where others may stand.

    It may be added to while this runs: for an entry given here.
    """
    at, marks = 0, _Marks(file, _MARK)
    while (found := marks.find(at)) is not None:
        if found in ends:
            at = max(ends[found], found + 4)
            continue
        entry = read_header(file, found, _METHODS)
        if entry is None:
            at = found + 4
            continue
        yield entry, found
        at = max(ends.get(found, 0), found + 4)


def ended_behind(file: IO[bytes], entry: Entry) -> Iterator[Entry]:
    """Give what some take for all of a stored member: up to where its own length stands (4.3.9).

    Where no other length is known it is the first, and the sum that stands there has to be right.
    """
    known = entry.packed is not None
    if not (entry.open_ended and entry.method == _STORED) or entry.packed == 0:
        return
    at, marks = entry.start, _Marks(file, _BEHIND_MARK, _INPUT_BYTES)
    while (at_mark := marks.find(at)) is not None:
        if known and at_mark >= entry.start + (entry.packed or 0):
            return
        file.seek(at_mark + 4)
        check, sizes, count = file.read(4), file.read(16), at_mark - entry.start
        if sizes.startswith(struct.pack("<II", count, count)) or sizes == struct.pack("<QQ", count, count):
            sum_there = None if known else int.from_bytes(check, "little")
            yield replace(entry, packed=count, size=None, check=sum_there)
            if not known:
                return
        at = at_mark + 4


class _Marks:
    """Finds marks from a place on; each block of the file is read once."""

    def __init__(self, file: IO[bytes], mark: bytes, step: int = _SCAN_BYTES) -> None:
        self._file, self._mark, self._step = file, mark, step
        self._start, self._data = 0, b""

    def find(self, at: int) -> int | None:
        """Return where the next mark is from a place on, which is none before the last one."""
        while (found := self._data.find(self._mark, at - self._start)) < 0:
            at = max(at, self._start + len(self._data) - len(self._mark) + 1)
            self._file.seek(at)
            self._start, self._data = at, self._file.read(self._step)
            if len(self._data) < len(self._mark):
                return None
        return self._start + found


def read_header(file: IO[bytes], at: int, methods: frozenset[int] | None = None) -> Entry | None:
    """Read the header before a member; None where there is none, or none of one of some methods."""
    file.seek(at)
    head = file.read(_HEADER.size)
    if len(head) < _HEADER.size:
        return None
    mark, _, flags, method, _, _, check, packed, size, name_size, extra_size = _HEADER.unpack(head)
    if mark != _MARK or not name_size or (methods is not None and method not in methods):
        return None
    name = file.read(name_size)
    extra = file.read(extra_size)
    if len(name) < name_size:
        return None
    stated: tuple[int | None, int | None, int | None] = (packed, size, check)
    if flags & _SIZES_BEHIND:
        stated = (packed or None, size or None, check or None)
    elif _ZIP64 in {packed, size}:
        stated = (*_long_sizes(extra, packed, size), check)
    text = name.decode("utf-8" if flags & 0x800 else "cp437", "replace")
    start = at + _HEADER.size + name_size + extra_size
    if stated[0] == _ZIP64 or stated[1] == _ZIP64:
        stated = (None, None, stated[2])
    open_ended = bool(flags & _SIZES_BEHIND)
    return Entry(text, method, bool(flags & ENCRYPTED), at, start, *stated, open_ended)


def _long_sizes(extra: bytes, packed: int, size: int) -> tuple[int | None, int | None]:
    """Read the field of ZIP64 (4.5.3): the sizes that do not fit, in their order."""
    while len(extra) >= 4:  # noqa: PLR2004 - the head of a field
        kind, count = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + count], extra[4 + count :]
        if kind != 1:
            continue
        numbers = iter(struct.unpack(f"<{len(field) // 8}Q", field[: len(field) // 8 * 8]))
        long_size = next(numbers, None) if size == _ZIP64 else size
        return next(numbers, None) if packed == _ZIP64 else packed, long_size
    return None, None
