"""Unpacking a feed as it streams by: gzip, bzip2, xz and zstd by their magic bytes, brotli by its name.

Every step gives a bounded piece at a time, so that a small file that unpacks to a huge one costs time, not
memory; the whole is bounded by `MAX_UNPACKED_BYTES`.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
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


def _gzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=31)
    fed = False
    try:
        for chunk in chunks:
            data = chunk
            while data:
                if unpacker.eof:
                    data = data.lstrip(b"\x00")
                    if not data:
                        break
                    unpacker, fed = zlib.decompressobj(wbits=31), False
                fed = True
                piece = unpacker.decompress(data, PIECE_BYTES)
                if piece:
                    yield piece
                data = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
    except zlib.error as error:
        raise FeedRefused(f"damaged: the gzip data cannot be unpacked ({error})") from error
    while not unpacker.eof and (piece := unpacker.decompress(unpacker.unconsumed_tail, PIECE_BYTES)):
        yield piece
    _demand(unpacker.eof or not fed, "gzip")


def _bzip2(chunks: Iterable[bytes]) -> Iterator[bytes]:
    yield from _stepwise(chunks, bz2.BZ2Decompressor, "bzip2", OSError)


def _xz(chunks: Iterable[bytes]) -> Iterator[bytes]:
    def make() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)

    yield from _stepwise(chunks, make, "xz", lzma.LZMAError)


def _stepwise(
    chunks: Iterable[bytes],
    make: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor | ZstdDecompressor],
    name: str,
    damaged: type[Exception],
    padding: bytes = b"\x00",
) -> Iterator[bytes]:
    unpacker = make()
    fed = False
    try:
        for chunk in chunks:
            data = chunk
            while True:
                if unpacker.eof:
                    data = (unpacker.unused_data + data).lstrip(padding) if fed else data
                    if not data:
                        break
                    unpacker, fed = make(), False
                piece = unpacker.decompress(data, PIECE_BYTES)
                fed = True
                if piece:
                    yield piece
                data = b""
                if unpacker.needs_input:
                    break
    except (damaged, EOFError) as error:
        raise FeedRefused(f"damaged: the {name} data cannot be unpacked ({error})") from error
    _demand(unpacker.eof, name)


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
