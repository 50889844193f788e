"""Content-Encoding, undone piece by piece in bounded memory: for looking inside, never for passing on.

Theory. Each layer is a decoder that gives at most `STEP_BYTES` for a call and keeps the input it has not
looked at. One 228-byte brotli chunk can stand for 300 MB, so both the output of one call and the output
in all are limited: `WORK_BYTES` for each piece fed (the rest waits for the next one), `ratio` in all.
States: working → done (every layer reached its end) | broken (not what it says) | over (too much).
"""

import zlib
from collections.abc import Iterator
from enum import StrEnum
from typing import Protocol

import brotli
import zstandard

STEP_BYTES = 65_536
WORK_BYTES = 4 << 20  # decoded for one piece fed, so that the event loop stays free
BACKLOG_BYTES = 1 << 20  # encoded input that may wait
RATIO_FROM_BYTES = 1 << 20  # small bodies may expand as they like up to here
_ZSTD_WINDOW_BYTES = 1 << 27
_ZSTD_PIECE_BYTES = 256
_NAMES = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate", "br": "br", "zstd": "zstd"}


class DecodeState(StrEnum):
    """How far a decoder is."""

    WORKING = "working"
    DONE = "done"
    BROKEN = "broken"
    OVER = "over"
    UNKNOWN = "unknown"  # an encoding nobody here reads


class BrokenEncodingError(Exception):
    """The bytes are not what their Content-Encoding says."""


class _Layer(Protocol):
    done: bool
    waiting: bytes

    def feed(self, data: bytes) -> None: ...

    def step(self) -> bytes: ...


class _Zlib:
    """gzip (several members too) and deflate (with or without the zlib wrapper)."""

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._machine: zlib._Decompress | None = zlib.decompressobj(31) if gzip else None
        self.waiting = b""
        self.done = False

    def feed(self, data: bytes) -> None:
        self.waiting += data

    def step(self) -> bytes:
        if self._machine is None:
            if len(self.waiting) < 2:  # noqa: PLR2004 - a zlib header is two bytes
                return b""
            wrapped = self.waiting[0] & 0x0F == 8 and int.from_bytes(self.waiting[:2]) % 31 == 0  # noqa: PLR2004
            self._machine = zlib.decompressobj(15 if wrapped else -15)
        if self._machine.eof:
            if not self._gzip or not self.waiting.startswith(b"\x1f\x8b"):
                self.waiting = b""  # what follows the end belongs to nothing; clients ignore it
                return b""
            self._machine = zlib.decompressobj(31)
        if not self.waiting:
            return b""
        try:
            out = self._machine.decompress(self.waiting, STEP_BYTES)
        except zlib.error as error:
            raise BrokenEncodingError(str(error)) from error
        self.waiting = self._machine.unused_data if self._machine.eof else self._machine.unconsumed_tail
        self.done = self._machine.eof
        return out


class _Brotli:
    """brotli; after a limited call there may be more output, whatever `can_accept_more_data` says."""

    def __init__(self) -> None:
        self._machine = brotli.Decompressor()
        self.waiting = b""
        self._draining = False
        self.done = False

    def feed(self, data: bytes) -> None:
        self.waiting += data

    def step(self) -> bytes:
        if self.done:
            return b""
        if self._draining:
            out = self._process(b"")
            if out:
                return out
            self._draining = False
        if not self.waiting or self.done:
            return b""
        data, self.waiting = self.waiting, b""
        self._draining = True
        return self._process(data)

    def _process(self, data: bytes) -> bytes:
        try:
            out: bytes = self._machine.process(data, output_buffer_limit=STEP_BYTES)
        except brotli.error as error:
            raise BrokenEncodingError(str(error)) from error
        self.done = not out and self._machine.is_finished()
        return out


class _Zstd:
    def __init__(self) -> None:
        self._context = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
        self._machine = self._context.decompressobj(write_size=STEP_BYTES, read_across_frames=True)
        self.waiting = b""
        self.done = False

    def feed(self, data: bytes) -> None:
        self.waiting += data

    def step(self) -> bytes:
        start, out = 0, b""
        try:
            while not out and start < len(self.waiting):
                # this machine gives all that a piece stands for: 4 bytes may be a block of 128 KiB
                out = self._machine.decompress(self.waiting[start : start + _ZSTD_PIECE_BYTES])
                start += _ZSTD_PIECE_BYTES
        except zstandard.ZstdError as error:
            raise BrokenEncodingError(str(error)) from error
        self.waiting = self.waiting[start:]
        self.done = self.done or bool(start)  # frames may follow each other: the end of the body is the end
        return out


def encodings_of(header: str | None, layers: int) -> tuple[str, ...] | None:
    """Read a Content-Encoding, outermost first; None where one is unknown or there are too many."""
    names = [part.strip().lower() for part in (header or "").split(",")]
    names = [name for name in names if name and name != "identity"]
    if len(names) > layers or any(name not in _NAMES for name in names):
        return None
    return tuple(_NAMES[name] for name in reversed(names))


class Decoder:
    """Undoes a chain of encodings; `feed` gives what came out, in pieces of at most `STEP_BYTES`."""

    def __init__(self, encodings: tuple[str, ...], *, ratio: int) -> None:
        self._layers: list[_Layer] = [_make(name) for name in encodings]
        self._ratio = ratio
        self._in_bytes = 0
        self.out_bytes = 0
        self.state = DecodeState.WORKING

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decode one more piece."""
        if self.state is not DecodeState.WORKING:
            return
        self._in_bytes += len(data)
        self._layers[0].feed(data)
        yield from self._work(WORK_BYTES)
        if len(self._layers[0].waiting) > BACKLOG_BYTES:
            self.state = DecodeState.OVER

    def finish(self) -> Iterator[bytes]:
        """Decode what still waits; afterwards the state is not WORKING."""
        before = -1
        while self.state is DecodeState.WORKING and self.out_bytes != before:
            before = self.out_bytes
            yield from self._work(WORK_BYTES)
        if self.state is DecodeState.WORKING:
            whole = self._in_bytes == 0 or all(layer.done for layer in self._layers)
            self.state = DecodeState.DONE if whole else DecodeState.BROKEN

    def _work(self, budget: int) -> Iterator[bytes]:
        limit = max(RATIO_FROM_BYTES, self._in_bytes * self._ratio)
        last = len(self._layers) - 1
        try:
            while budget > 0:
                for index in range(last, -1, -1):  # innermost first: nothing piles up between layers
                    out = self._layers[index].step()
                    if out:
                        break
                else:
                    return
                budget -= len(out)
                if index != last:
                    self._layers[index + 1].feed(out)
                    continue
                self.out_bytes += len(out)
                if self.out_bytes > limit:
                    self.state = DecodeState.OVER
                    return
                yield out
        except BrokenEncodingError:
            self.state = DecodeState.BROKEN


def _make(name: str) -> _Layer:
    match name:
        case "gzip":
            return _Zlib(gzip=True)
        case "deflate":
            return _Zlib(gzip=False)
        case "br":
            return _Brotli()
        case "zstd":
            return _Zstd()
        case _:
            raise ValueError(f"unknown encoding {name}")
