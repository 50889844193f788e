"""Members of a zip archive, unpacked in small steps: `zipfile` bounds only what deflate gives at once.

A few bytes of bzip2 or LZMA can stand for a hundred megabytes; here each step gives at most what was asked.
"""

import bz2
import copy
import lzma
import struct
import zipfile
from typing import IO, Protocol

_INPUT_BYTES = 16 << 10


class _Machine(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class Unpacked:
    """A member that reads like a file, forwards only."""

    def __init__(self, packed: IO[bytes], machine: _Machine, size: int) -> None:
        self._packed = packed
        self._machine = machine
        self._left = size

    def read(self, count: int) -> bytes:
        """Give some of the next bytes, `count` at most; none at the end. Raises EOFError where some lack."""
        out = b""
        while not out and self._left > 0 and not self._machine.eof:
            data = self._packed.read(_INPUT_BYTES) if self._machine.needs_input else b""
            if self._machine.needs_input and not data:
                raise EOFError("a member ends too early")
            out = self._machine.decompress(data, min(count, self._left))
        self._left -= len(out)
        return out


def open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes] | Unpacked:
    """Open a member for reading; raises what `zipfile` and the decompressors raise."""
    if info.compress_type not in {zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}:
        return archive.open(info)
    stored = copy.copy(info)
    stored.compress_type, stored.file_size = zipfile.ZIP_STORED, info.compress_size
    stored.CRC = None  # type: ignore[assignment]  # that of the unpacked bytes
    packed = archive.open(stored)
    if info.compress_type == zipfile.ZIP_BZIP2:
        return Unpacked(packed, bz2.BZ2Decompressor(), info.file_size)
    _, size = struct.unpack("<HH", packed.read(4))
    first, dictionary = struct.unpack_from("<BI", packed.read(size))
    options = {"lc": first % 9, "lp": first // 9 % 5, "pb": first // 45, "dict_size": dictionary}
    machine = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA1, **options}])
    return Unpacked(packed, machine, info.file_size)
