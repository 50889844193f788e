"""Packed files as streams that are unpacked in small steps, for the look into archives."""

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import IO, Protocol

from secondlook.ground.zstd import ZstdDecompressor

STEP_BYTES = 64 << 10

RAW, GZIP = -15, 31  # kinds of deflate, as zlib numbers them


class Stream(Protocol):
    """What is unpacked step by step."""

    def read(self, count: int, /) -> bytes:
        """Return at most `count` of the next bytes, none at the end."""


class Inflated:
    """Deflate as a machine like those of the other methods."""

    def __init__(self, kind: int) -> None:
        self._machine = zlib.decompressobj(kind)

    @property
    def eof(self) -> bool:
        """Whether it has ended."""
        return self._machine.eof

    @property
    def needs_input(self) -> bool:
        """Whether nothing waits to be unpacked."""
        return not self._machine.eof and not self._machine.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        """What stands behind its end."""
        return self._machine.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Unpack at most so many bytes."""
        return self._machine.decompress(self._machine.unconsumed_tail + data, max_length)


type Decompressor = bz2.BZ2Decompressor | lzma.LZMADecompressor | ZstdDecompressor | Inflated


class Clocked:
    """A file of which every reading looks at the clock."""

    def __init__(self, file: IO[bytes], look: Callable[[int], None]) -> None:
        self._file, self._look = file, look

    def read(self, count: int) -> bytes:
        """Look at the clock, then read."""
        self._look(0)
        return self._file.read(count)


class PackedStreams:
    """Packed streams one after the other, with zeros between or behind them (the xz format, 2.2).

    Python's own files end, without a word, at what is no stream: xz goes on behind the zeros. `number` is
    that of the stream which the last bytes are of: some readers end with the first.
    """

    def __init__(self, file: IO[bytes], begin: Callable[[], Decompressor]) -> None:
        self._file, self._begin = file, begin
        self._stream = begin()
        self.number = 1

    def read(self, count: int) -> bytes:
        """Unpack the next bytes. Raises EOFError for a file that ends within a stream."""
        out, drained = b"", False
        while not out:
            data = b""
            if self._stream.eof:
                data = self._next()
                if not data:
                    break
                self._stream, self.number = self._begin(), self.number + 1
            elif self._stream.needs_input:
                data = self._file.read(STEP_BYTES)
                drained = not data
            out = self._stream.decompress(data, count)
            if drained and not (out or self._stream.eof):
                raise EOFError("it ends within a stream")
        return out

    def _next(self) -> bytes:
        """Return how another stream begins, nothing at the end of the file."""
        data = self._stream.unused_data.lstrip(b"\0")
        while not data and (piece := self._file.read(STEP_BYTES)):
            data = piece.lstrip(b"\0")
        return data
