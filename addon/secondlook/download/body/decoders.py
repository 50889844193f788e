"""Encodings undone one by one: gzip and deflate, brotli, zstd; `decoding.py` puts them in a chain.

Where data break, or go on behind their end, clients differ in what they keep. What is given here is the most
that any of them gets: the bytes up to the fault, and a body that only looked wrapped read in both ways.
"""

import zlib
from typing import Literal

import brotli

from secondlook.ground.zstd import ZstdError, begin_frame

STEP_BYTES = 65_536
WORK_BYTES = 4 << 20  # for one call of `Decoder.work`
_CAREFUL_BYTES = 256  # of deflate, taken at a time where its fault is looked for
_ROUNDS = 4  # ends of members or frames passed in one step
_HEADER_MAX_BYTES = 1 << 16  # of a gzip member
_AGAIN_MAX_BYTES = 1 << 20  # of a body that is decoded once more
_ZSTD_PIECE_BYTES, _ZSTD_CAREFUL_BYTES = 64, 8


class BrokenEncodingError(Exception):
    """The bytes are not what their Content-Encoding claims."""


class Layer:
    """One encoding being undone; each step gives at most `STEP_BYTES`, or nothing."""

    done = False
    ended = False  # an end was passed and more follows: some clients stop there
    restarted = False  # what was given is not how the body is read; it comes from its beginning now
    busy = False  # the last step gave nothing, and the next may
    patient = False  # what takes long may be done now
    waiting = b""

    def feed(self, data: bytes) -> None:
        """Add encoded bytes."""
        self.waiting += data

    def step(self) -> bytes:
        """Return what a little more of them stands for. Raises BrokenEncodingError."""
        raise NotImplementedError


class _Zlib(Layer):
    """gzip (several members too) and deflate (with or without the zlib wrapper).

    The wrapping is read here: zlib would keep the last bytes back where the check at the end is wrong. Where
    data break, what a client gets that reads byte by byte is given, which is the most. And where what looked
    wrapped breaks, it is read once more as if it were not: so do curl, urllib3 and browsers, early in a body.
    """

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._seen: bytes | None = b""  # all of a body that looks wrapped, to be read once more
        self._failed: zlib.error | None = None
        self._machine: zlib._Decompress | None = None
        self._check = 0
        self._size = 0
        self._length = 0

    def feed(self, data: bytes) -> None:
        super().feed(data)
        if self._seen is not None:
            self._seen = self._seen + data if len(self._seen) + len(data) <= _AGAIN_MAX_BYTES else None

    def step(self) -> bytes:
        self.busy = False
        rounds = 0
        while self.waiting or (self._machine is not None and self._machine.eof and not self.done):
            if self.done:
                if self._gzip and self.waiting == b"\x1f":
                    return b""  # half of a member's mark: a connection may cut anywhere
                self.ended = True
                if not self._gzip or not self.waiting.startswith(b"\x1f\x8b"):
                    self.waiting = b""  # what follows the end belongs to nothing; clients ignore it
                    return b""
                self.done, self._machine = False, None
                rounds += 1
                if rounds > _ROUNDS:
                    self.busy = True
                    return b""
            if not self._is_ready():
                return b""
            assert self._machine is not None
            if self._machine.eof:
                if not self._finish():
                    return b""
                continue
            out = self._inflate(self._machine)
            if out:
                return out
        return b""

    def _is_ready(self) -> bool:
        """Begin, or begin anew, where that is to be done; False while too little is there for it."""
        if self._failed is not None:
            self._begin_raw(self._failed)
        return self._machine is not None or self._begin()

    def _begin(self) -> bool:
        """Read what stands before the data; False while it is not all there."""
        if self._gzip:
            at = _gzip_header(self.waiting)
            self._check, self._size = 0, 8
        else:
            if len(self.waiting) < 2:  # noqa: PLR2004 - a zlib header is two bytes
                return False
            method, flags = self.waiting[:2]  # RFC 1950, 2.2; one that needs a dictionary is read without it
            fits = method & 0x8F == 8 and int.from_bytes(self.waiting[:2]) % 31 == 0  # noqa: PLR2004
            wrapped = fits and not flags & 0x20 and not self.restarted
            at = 2 if wrapped else 0
            self._check, self._size = 1, 4 if wrapped else 0
            if not wrapped:
                self._seen = None
        if at is None:
            return False
        self.waiting, self._length = self.waiting[at:], 0
        self._machine = zlib.decompressobj(-15)
        return True

    def _inflate(self, machine: "zlib._Decompress") -> bytes:
        before = machine.copy()
        try:
            out = machine.decompress(self.waiting, STEP_BYTES)
            self.waiting = machine.unused_data if machine.eof else machine.unconsumed_tail
        except zlib.error as error:
            self._failed = error
            out = _before_the_fault(before, self.waiting)
        self._check = zlib.crc32(out, self._check) if self._gzip else zlib.adler32(out, self._check)
        self._length += len(out)
        return out

    def _begin_raw(self, error: zlib.error) -> None:
        """Read all once more, as data without a wrapping; BrokenEncodingError where that is no other way."""
        if self._gzip or self._seen is None:
            raise BrokenEncodingError(str(error)) from error
        self.waiting, self._seen, self._failed, self._machine = self._seen, None, None, None
        self.restarted = True

    def _finish(self) -> bool:
        """Compare what stands after the data; False while it is not all there."""
        if len(self.waiting) < self._size:
            return False
        trailer, self.waiting = self.waiting[: self._size], self.waiting[self._size :]
        order: Literal["little", "big"] = "little" if self._gzip else "big"
        if self._size and int.from_bytes(trailer[:4], order) != self._check:
            raise BrokenEncodingError("its check is wrong")
        if self._gzip and int.from_bytes(trailer[4:], "little") != self._length & 0xFFFFFFFF:
            raise BrokenEncodingError("its length is wrong")
        self.done = True
        return True


def _before_the_fault(machine: "zlib._Decompress", data: bytes) -> bytes:
    """Return what comes of broken data before their fault; zlib gives nothing of a call that meets it."""
    out, at = b"", 0
    for step in (_CAREFUL_BYTES, 1):
        while at < len(data):
            before = machine.copy() if step > 1 else machine
            try:
                out += machine.decompress(data[at : at + step])
            except zlib.error:
                machine = before
                break
            at += step
    return out


def _gzip_header(data: bytes) -> int | None:
    """Return the length of a gzip header (RFC 1952); None while it is not all there."""
    if not b"\x1f\x8b\x08".startswith(data[:3]):
        raise BrokenEncodingError("no gzip")
    if len(data) < 10:  # noqa: PLR2004 - its fixed part
        return None
    flags, at = data[3], 10
    if flags & 0xE0:
        raise BrokenEncodingError("unknown flags")
    if flags & 4:
        at += 2 + int.from_bytes(data[10:12], "little")
    for text in (8, 16):
        if flags & text:
            end = data.find(b"\0", at)
            at = len(data) + 1 if end < 0 else end + 1
    if flags & 2:
        at += 2
    if at <= len(data):
        return at
    if len(data) > _HEADER_MAX_BYTES:
        raise BrokenEncodingError("its header is too long")
    return None


class _Piecewise(Layer):
    """One that decodes its input once more where that breaks, as long as it is short enough to be kept."""

    def __init__(self) -> None:
        self._begin_to_keep()

    def _begin_to_keep(self) -> None:
        self._seen: list[bytes] | None = []  # the piece that broke it is the last
        self._seen_bytes = 0

    def _keep(self, piece: bytes) -> None:
        self._seen_bytes += len(piece)
        if self._seen_bytes > _AGAIN_MAX_BYTES:
            self._seen = None
        if self._seen is not None:
            self._seen.append(piece)


class _Brotli(_Piecewise):
    """brotli; after a limited call there may be more output, whatever `can_accept_more_data` says.

    The library keeps back what it has where bytes follow the end, or a fault. Clients ignore those, so the
    last piece is decoded once more, byte by byte (of small bodies: all input must be at hand for it).
    """

    def __init__(self) -> None:
        super().__init__()
        self._machine = brotli.Decompressor()
        self._draining = False
        self._out_bytes = 0
        self._failed: brotli.error | None = None

    def step(self) -> bytes:
        if self._failed is not None:
            return self._retry(self._failed)
        if self.done:
            self.ended = self.ended or bool(self.waiting)
            self.waiting = b""
            return b""
        if self._draining:
            out = self._process(b"")
            if out:
                return out
            self._draining = False
        if not self.waiting or self.done:
            return b""
        data, self.waiting = self.waiting[:STEP_BYTES], self.waiting[STEP_BYTES:]
        self._keep(data)
        self._draining = True
        return self._process(data)

    def _process(self, data: bytes) -> bytes:
        try:
            out: bytes = self._machine.process(data, output_buffer_limit=STEP_BYTES)
        except brotli.error as error:
            self._failed = error
            return self._retry(error)
        self._out_bytes += len(out)
        self.done = not out and self._machine.is_finished()
        return out

    def _retry(self, error: brotli.error) -> bytes:
        self.busy = not self.patient
        if self.busy:
            return b""
        out, whole = self._again()
        if not (out or whole):  # the piece with the end may hold no more of the content
            raise BrokenEncodingError(str(error)) from error
        self._seen, self.waiting = None, b""
        if whole:
            self._failed, self.done = None, True
        return out

    def _again(self) -> tuple[bytes, bool]:
        """Return what came before the fault and was kept back, and whether the stream was over there."""
        if not self._seen:
            return b"", False
        machine, out = brotli.Decompressor(), bytearray()
        try:
            for data in (*self._seen[:-1], *(bytes((each,)) for each in self._seen[-1])):
                piece = machine.process(data, output_buffer_limit=STEP_BYTES)
                while piece:
                    out += piece
                    if len(out) > self._out_bytes + WORK_BYTES:
                        return b"", False
                    piece = machine.process(b"", output_buffer_limit=STEP_BYTES)
                if machine.is_finished():
                    return bytes(out[self._out_bytes :]), True
        except brotli.error:
            pass
        return bytes(out[self._out_bytes :]), False


class _Zstd(_Piecewise):
    """zstd, several frames too; where a frame breaks, the piece that does it is taken byte by byte."""

    def __init__(self) -> None:
        super().__init__()
        self._machine = begin_frame()
        self._step_bytes = _ZSTD_PIECE_BYTES
        self._failed: ZstdError | None = None

    def step(self) -> bytes:
        out, start, rounds = b"", 0, 0
        self.busy = False
        if self._failed is not None:
            return self._retry(self._failed)
        try:
            while not out and start < len(self.waiting) and not self.busy:
                if self.done:
                    rounds += 1
                    self.busy = rounds > _ROUNDS
                    self.ended, self.done, self._machine = True, False, begin_frame()
                    self._begin_to_keep()
                # this machine gives all that a piece stands for: 4 bytes may be a block of 128 KiB
                piece = self.waiting[start : start + self._step_bytes]
                self._keep(piece)
                out = self._machine.decompress(piece)
                self._step_bytes = _ZSTD_CAREFUL_BYTES if len(out) > STEP_BYTES else _ZSTD_PIECE_BYTES
                self.done = self._machine.eof
                start += len(piece) - len(self._machine.unused_data if self.done else b"")
        except ZstdError as error:
            self._failed = error
        self.waiting = self.waiting[start:]
        return out if self._failed is None else self._retry(self._failed)

    def _retry(self, error: ZstdError) -> bytes:
        self.busy = not self.patient
        if self.busy:
            return b""
        seen, self._seen = self._seen, None
        out, length = self._again(seen) if seen else (b"", None)
        if length is not None:
            self._failed, self.done = None, True
            self.waiting = self.waiting[length:]
            self.busy = not out
        elif not out:
            raise BrokenEncodingError(str(error)) from error
        return out

    def _again(self, seen: list[bytes]) -> tuple[bytes, int | None]:
        """Return what the last piece holds before its fault, and where in it the frame ends if it does.

        The length that a frame claims is only compared where all of it comes at once, not byte by byte.
        """
        machine, out = begin_frame(), b""
        try:
            for piece in seen[:-1]:
                machine.decompress(piece)
            for at, byte in enumerate(seen[-1], 1):
                out += machine.decompress(bytes((byte,)))
                if machine.eof:
                    return out, at
        except ZstdError:
            pass
        return out, None


def layer_of(name: str) -> Layer:
    """Make what undoes an encoding, by its name in `encodings_of`."""
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
