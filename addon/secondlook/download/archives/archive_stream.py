"""Packed files as streams that are unpacked in small steps, for the look into archives."""

import bz2
import lzma
from collections.abc import Callable
from typing import IO, Protocol

from secondlook.ground.zstd import ZstdDecompressor

STEP_BYTES = 64 << 10

type Decompressor = bz2.BZ2Decompressor | lzma.LZMADecompressor | ZstdDecompressor


class Stream(Protocol):
    """What is unpacked step by step."""

    def read(self, count: int, /) -> bytes:
        """Return at most `count` of the next bytes, none at the end."""


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

    Python's own files end, without a word, at what is no stream: xz goes on behind the zeros.
    """

    def __init__(self, file: IO[bytes], begin: Callable[[], Decompressor]) -> None:
        self._file, self._begin = file, begin
        self._stream = begin()

    def read(self, count: int) -> bytes:
        """Unpack the next bytes. Raises EOFError for a file that ends within a stream."""
        out = b""
        while not out:
            data = b""
            if self._stream.eof:
                data = self._next()
                if not data:
                    break
                self._stream = self._begin()
            elif self._stream.needs_input:
                data = self._file.read(STEP_BYTES)
                if not data:
                    raise EOFError("it ends within a stream")
            out = self._stream.decompress(data, count)
        return out

    def _next(self) -> bytes:
        """Return how another stream begins, nothing at the end of the file."""
        data = self._stream.unused_data.lstrip(b"\0")
        while not data and (piece := self._file.read(STEP_BYTES)):
            data = piece.lstrip(b"\0")
        return data
