"""Packed files as streams that are unpacked in small steps, for the look into archives."""

import bz2
import lzma
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import IO, Protocol

from secondlook.ground.zstd import ZstdDecompressor

STEP_BYTES = 64 << 10
_AGAIN_MAX_BYTES = 64 << 20  # that are unpacked once more, to see what comes before a fault

RAW, GZIP = -15, 31  # kinds of deflate, as zlib numbers them


class OverLimitError(Exception):
    """The archive is deeper, larger, fuller or slower than allowed."""


class Stream(Protocol):
    """What is unpacked step by step."""

    def read(self, count: int, /) -> bytes:
        """Return at most `count` of the next bytes, none at the end."""


class Source(Stream, Protocol):
    """A file that is read here and there."""

    def seek(self, at: int, /) -> int:
        """Go to a place."""

    def tell(self) -> int:
        """Return the place."""


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
        self.seek, self.tell = file.seek, file.tell

    def read(self, count: int = -1, /) -> bytes:
        """Look at the clock, then read."""
        self._look(0)
        return self._file.read(count)


class Dripping:
    """A file that comes byte by byte from some place on."""

    def __init__(self, file: Source, begin: int) -> None:
        self._file, self._begin = file, begin

    def seek(self, at: int, /) -> int:
        """Go to a place."""
        return self._file.seek(at)

    def tell(self) -> int:
        """Return the place."""
        return self._file.tell()

    def read(self, count: int, /) -> bytes:
        """Return at most `count` of the next bytes."""
        return self._file.read(1 if self.tell() >= self._begin else count)


class ToItsFault(ABC):
    """Something unpacked of which all is given that stands before a fault.

    Machines give nothing of a step in which they meet one, which may be a wrong sum behind all of it; other
    programs leave that.
    """

    _seen_to: tuple[type[Exception], ...] = (EOFError, OverLimitError)  # by then all is given
    _given = 0
    _fault: Exception | None = None
    _piece_at: int

    def read(self, count: int) -> bytes:
        """Unpack the next bytes, none at the end. Raises EOFError where some lack, and what machines do."""
        if self._fault is not None:
            raise self._fault
        try:
            out = self.step(count)
        except self._seen_to:
            raise
        except Exception as error:
            out = self._before_the_fault()
            if not out:
                raise
            self._fault = error
        self._given += len(out)
        return out

    def _before_the_fault(self) -> bytes:
        out, passed = bytearray(), self._given
        if passed > _AGAIN_MAX_BYTES:
            return b""
        try:
            again = self._again()
            while piece := again.step(STEP_BYTES):
                out += piece[passed:]
                passed = max(0, passed - len(piece))
        except OverLimitError:
            raise
        except Exception:  # noqa: BLE001, S110 - it is the fault that is known
            pass
        return bytes(out)

    @abstractmethod
    def step(self, count: int) -> bytes:
        """Unpack the next bytes; `_piece_at` is where the last that were read of the file stand."""

    @abstractmethod
    def _again(self) -> "ToItsFault":
        """Begin once more, with a file that drips from `_piece_at` on."""


class PackedStreams(ToItsFault):
    """Packed streams one after the other, with zeros between or behind them (the xz format, 2.2).

    Python's own files end, without a word, at what is no stream: xz goes on behind the zeros. `number` is
    that of the stream which the last bytes are of: some readers end with the first.
    """

    def __init__(self, file: Source, begin: Callable[[], Decompressor]) -> None:
        self._file, self._begin, self._start = file, begin, file.tell()
        self._stream = begin()
        self._piece_at = self._start
        self.number = 1

    def _again(self) -> "PackedStreams":
        self._file.seek(self._start)
        return PackedStreams(Dripping(self._file, self._piece_at), self._begin)

    def step(self, count: int) -> bytes:
        """Unpack the next bytes."""
        out, drained = b"", False
        while not out:
            data = b""
            if self._stream.eof:
                data = self._next()
                if not data:
                    break
                self._stream, self.number = self._begin(), self.number + 1
            elif self._stream.needs_input:
                self._piece_at = self._file.tell()
                data = self._file.read(STEP_BYTES)
                drained = not data
            out = self._stream.decompress(data, count)
            if drained and not (out or self._stream.eof):
                raise EOFError("it ends within a stream")
        return out

    def _next(self) -> bytes:
        """Return how another stream begins, nothing at the end of the file."""
        data = self._stream.unused_data.lstrip(b"\0")
        while not data:
            self._piece_at = self._file.tell()
            piece = self._file.read(STEP_BYTES)
            if not piece:
                break
            data = piece.lstrip(b"\0")
        return data
