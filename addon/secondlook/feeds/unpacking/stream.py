"""Unpacking a feed as it streams by: gzip, bzip2, xz and zstd by their magic bytes, brotli by its name.

Every step gives a bounded piece at a time, so that a small file that unpacks to a huge one costs time, not
memory; the whole is bounded by `MAX_UNPACKED_BYTES`.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import chain

import brotli

from secondlook.feeds.entries.entry import FeedRefused
from secondlook.ground.zstd import ZstdDecompressor, ZstdError, begin_frame

MAX_UNPACKED_BYTES = 64 * 1024**3
MAX_LAYERS = 3
PIECE_BYTES = 65_536
_XZ_MEMORY_BYTES = 256 * 1024**2

type Unpacker = Callable[[Iterable[bytes]], Iterator[bytes]]


def sliced(chunks: Iterable[bytes], size: int = PIECE_BYTES) -> Iterator[bytes]:
    """Cut chunks of any size into pieces of at most `size` bytes; empty ones are left out."""
    for chunk in chunks:
        if len(chunk) <= size:
            if chunk:
                yield bytes(chunk)
        else:
            view = memoryview(chunk)
            for start in range(0, len(view), size):
                yield bytes(view[start : start + size])


def unpacked(chunks: Iterable[bytes], name: str = "") -> Iterator[bytes]:
    """Return the bytes of a feed without its compression layers (at most three).

    Raises FeedRefused when a layer is damaged or cut short, or the whole is too large.
    """
    stream: Iterator[bytes] = sliced(chunks)
    for _ in range(MAX_LAYERS):
        head, stream = peek(stream, 6)
        unpack = _unpacker(head, name)
        if unpack is None:
            break
        stream = unpack(stream)
        name = name.rpartition(".")[0]
    return _bounded(stream)


def decoded(chunks: Iterable[bytes], encodings: Sequence[str]) -> Iterator[bytes]:
    """Return a body without the content encodings of HTTP, named in the order in which they were applied.

    Raises FeedRefused when one is unknown, damaged or cut short.
    """
    stream: Iterator[bytes] = sliced(chunks)
    if len(encodings) > MAX_LAYERS:
        raise FeedRefused("too many content encodings")
    for encoding in reversed(encodings):
        unpack = ENCODINGS.get(encoding.removeprefix("x-"))
        if unpack is None:
            raise FeedRefused(f"the content encoding {encoding[:20]!r} was not asked for")
        stream = unpack(stream)
    return stream


def peek(stream: Iterator[bytes], size: int) -> tuple[bytes, Iterator[bytes]]:
    """Return the first bytes of a stream, and a stream that still has them."""
    parts: list[bytes] = []
    have = 0
    while have < size:
        chunk = next(stream, None)
        if chunk is None:
            break
        parts.append(chunk)
        have += len(chunk)
    return b"".join(parts)[:size], chain(parts, stream)


def _unpacker(head: bytes, name: str) -> Unpacker | None:
    if head.startswith(b"\x1f\x8b"):
        return _gzip
    if head.startswith(b"BZh"):
        return _bzip2
    if head.startswith(b"\xfd7zXZ\x00"):
        return _xz
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return _zstd
    return _brotli if name.lower().endswith(".br") else None


def _bounded(stream: Iterator[bytes]) -> Iterator[bytes]:
    total = 0
    for piece in stream:
        total += len(piece)
        if total > MAX_UNPACKED_BYTES:
            raise FeedRefused(f"too large: the feed unpacks to more than {MAX_UNPACKED_BYTES} bytes")
        yield piece


class _GzipMember:
    """zlib's machine for one member, with the surface of those of bz2, lzma and zstd."""

    def __init__(self) -> None:
        self._machine = zlib.decompressobj(wbits=31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._machine.eof

    @property
    def unused_data(self) -> bytes:
        return self._machine.unused_data

    def decompress(self, data: bytes, size: int) -> bytes:
        piece = self._machine.decompress(self._machine.unconsumed_tail + data, size)
        # A full piece may have left something in the machine, even where all of the input is consumed.
        self.needs_input = not self._machine.eof and len(piece) < size
        return piece


def _gzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    first, stream = peek(iter(chunks), 1)
    if first:  # servers name the coding beside an empty body too
        yield from _stepwise(stream, _GzipMember, "gzip", zlib.error)


type _Machine = _GzipMember | bz2.BZ2Decompressor | lzma.LZMADecompressor | ZstdDecompressor


def _bzip2(chunks: Iterable[bytes]) -> Iterator[bytes]:
    yield from _stepwise(chunks, bz2.BZ2Decompressor, "bzip2", OSError)


def _xz(chunks: Iterable[bytes]) -> Iterator[bytes]:
    def make() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)

    yield from _stepwise(chunks, make, "xz", lzma.LZMAError)


def _stepwise(
    chunks: Iterable[bytes],
    make: Callable[[], _Machine],
    name: str,
    damaged: type[Exception],
    padding: bytes = b"\x00",
) -> Iterator[bytes]:
    machine = make()
    try:
        for chunk in chunks:
            machine = yield from _through(machine, chunk, make, padding)
    except (damaged, EOFError) as error:
        raise FeedRefused(f"damaged: the {name} data cannot be unpacked ({error})") from error
    _demand(machine.eof, name)


def _through(
    machine: _Machine, data: bytes, make: Callable[[], _Machine], padding: bytes
) -> Generator[bytes, None, _Machine]:
    """Unpack a chunk piece by piece, over the ends of members; returns the machine that goes on."""
    while True:
        if machine.eof:
            data = (machine.unused_data + data).lstrip(padding)
            if not data:
                return machine
            machine = make()
        piece = machine.decompress(data, PIECE_BYTES)
        if piece:
            yield piece
        data = b""
        if machine.needs_input:
            return machine


def _zstd(chunks: Iterable[bytes]) -> Iterator[bytes]:
    yield from _stepwise(chunks, begin_frame, "zstd", ZstdError, padding=b"")


def _brotli(chunks: Iterable[bytes]) -> Iterator[bytes]:
    unpacker = brotli.Decompressor()
    try:
        for chunk in chunks:
            if unpacker.is_finished():
                raise FeedRefused("damaged: something follows the brotli data")
            piece = unpacker.process(chunk, output_buffer_limit=PIECE_BYTES)
            while piece:
                yield piece
                piece = (
                    b"" if unpacker.is_finished() else unpacker.process(b"", output_buffer_limit=PIECE_BYTES)
                )
    except brotli.error as error:
        raise FeedRefused(f"damaged: the brotli data cannot be unpacked ({error})") from error
    _demand(unpacker.is_finished(), "brotli")


def _demand(finished: bool, name: str) -> None:
    if not finished:
        raise FeedRefused(f"truncated: the {name} data ends early")


ENCODINGS: dict[str, Unpacker] = {"gzip": _gzip, "br": _brotli, "zstd": _zstd}  # that have an end to look for
