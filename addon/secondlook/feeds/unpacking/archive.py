"""Containers of several files as they stream by: tar, zip, and ClamAV's CVD (a header and a tar).

Members are given one after another as streams; the reader of a member need not read it to its end.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterable, Iterator

from secondlook.feeds.entries.entry import FeedRefused
from secondlook.feeds.unpacking.stream import PIECE_BYTES, peek, unpacked

TAR_BLOCK_BYTES = 512
CVD_HEADER_BYTES = 512
_IN_ZIP64 = 0xFFFF_FFFF
MAX_NAME_BYTES = 65_536
_ZIP_LOCAL = b"PK\x03\x04"
_ZIP_ENDS = (b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06")
_ZIP_DESCRIPTOR = b"PK\x07\x08"
_CVD_FIELDS = 6

type Member = tuple[str, Iterator[bytes]]


class _Source:
    """A stream of chunks that is read by exact sizes."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._held = b""

    def take(self, size: int) -> bytes:
        """Return exactly `size` bytes; fewer only at the end."""
        parts = [self._held]
        have = len(self._held)
        while have < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            parts.append(chunk)
            have += len(chunk)
        data = b"".join(parts)
        self._held = data[size:]
        return data[:size]

    def need(self, size: int) -> bytes:
        """Return exactly `size` bytes or refuse the feed."""
        data = self.take(size)
        if len(data) < size:
            raise FeedRefused("truncated: the archive ends early")
        return data

    def some(self) -> bytes:
        """Return some bytes; nothing at the end."""
        if self._held:
            data, self._held = self._held, b""
            return data
        return next(self._chunks, b"")

    def put_back(self, data: bytes) -> None:
        """Return bytes that were taken too many."""
        self._held = data + self._held

    def run(self, size: int) -> Iterator[bytes]:
        """Return the next `size` bytes piece by piece."""
        while size:
            piece = self.need(min(size, PIECE_BYTES))
            size -= len(piece)
            yield piece


def members(chunks: Iterable[bytes], name: str) -> Iterator[Member]:
    """Return the files of a container, or the stream itself as the one file that it is."""
    stream = unpacked(chunks, name)
    head, stream = peek(stream, TAR_BLOCK_BYTES)
    if head.startswith(_ZIP_LOCAL):
        yield from _zip(_Source(stream))
    elif head.startswith(b"ClamAV-VDB:"):
        yield from _cvd(_Source(stream))
    elif _is_tar(head):
        yield from _tar(_Source(stream))
    else:
        yield "", stream


def _is_tar(head: bytes) -> bool:
    if len(head) < TAR_BLOCK_BYTES or not head[0]:
        return False
    try:
        declared = int(head[148:156].strip(b"\x00 ") or b"x", 8)
    except ValueError:
        return False
    return declared == sum(head[:148]) + 8 * 0x20 + sum(head[156:TAR_BLOCK_BYTES])


def _tar(source: _Source) -> Iterator[Member]:
    name = ""
    while True:
        block = source.take(TAR_BLOCK_BYTES)
        if not block:
            raise FeedRefused("truncated: the archive ends early")
        if not block.strip(b"\x00"):
            return
        if not _is_tar(block):
            raise FeedRefused("damaged: a tar header is wrong")
        size = _tar_number(block[124:136])
        kind = block[156:157]
        padding = -size % TAR_BLOCK_BYTES
        if kind in {b"L", b"x", b"g"}:
            if size > MAX_NAME_BYTES:
                raise FeedRefused("damaged: a tar header is too long")
            data = source.need(size + padding)[:size]
            name = _long_name(kind, data) or name
            continue
        content = source.run(size)
        if kind in {b"0", b"\x00"}:
            prefix = block[345:500].split(b"\x00")[0] if block[257:262] == b"ustar" else b""
            short = block[:100].split(b"\x00")[0]
            own = b"/".join(part for part in (prefix, short) if part).decode("utf-8", "replace")
            yield name or own, content
        name = ""
        for _ in content:
            pass
        source.need(padding)


def _tar_number(field: bytes) -> int:
    if field[0] & 0x80:
        return int.from_bytes(field, "big") & ((1 << 88) - 1)
    digits = field.strip(b"\x00 ")
    if digits.strip(b"01234567"):  # `int` would take a sign as well
        raise FeedRefused("damaged: a tar header is wrong")
    return int(digits or b"0", 8)


def _long_name(kind: bytes, data: bytes) -> str:
    if kind == b"L":
        return data.rstrip(b"\x00").decode("utf-8", "replace")
    for record in data.split(b"\n"):
        key, _, value = record.partition(b" ")[2].partition(b"=")
        if key == b"path":
            return value.decode("utf-8", "replace")
    return ""


def _cvd(source: _Source) -> Iterator[Member]:
    """Read a ClamAV database: its header has the MD5 of what follows."""
    fields = source.need(CVD_HEADER_BYTES).split(b":")
    declared = fields[5].strip().lower() if len(fields) > _CVD_FIELDS else b""
    digest = hashlib.md5(usedforsecurity=False)

    def rest() -> Iterator[bytes]:
        while piece := source.some():
            digest.update(piece)
            yield piece

    stream = rest()
    yield from members(stream, "")
    for _ in stream:
        pass
    if len(declared) == 32 and digest.hexdigest().encode() != declared:  # noqa: PLR2004
        raise FeedRefused("damaged: the database is not the one its header describes (MD5)")


def _zip(source: _Source) -> Iterator[Member]:
    while True:
        signature = source.take(4)
        if signature in _ZIP_ENDS:
            return
        if signature != _ZIP_LOCAL:
            raise FeedRefused(
                "truncated: the zip archive has no directory" if not signature else "damaged: zip"
            )
        _, flags, method, _, _, _, packed, plain, name_size, extra_size = struct.unpack(
            "<HHHHHIIIHH", source.need(26)
        )
        name = source.need(name_size).decode("utf-8", "replace")
        packed = _zip64(source.need(extra_size), packed, plain)
        if flags & 1:
            raise FeedRefused("encrypted: the zip archive needs a password")
        described = bool(flags & 8)
        if method == 8:  # noqa: PLR2004
            content = _inflate(source)
        elif method == 0 and not described:
            content = source.run(packed)
        else:
            raise FeedRefused(f"unknown compression method {method} in the zip archive")
        if not name.endswith("/"):
            yield name, content
        for _ in content:
            pass
        if described:
            _skip_descriptor(source)


def _zip64(extra: bytes, packed: int, plain: int) -> int:
    if packed != _IN_ZIP64:
        return packed
    while len(extra) >= 4:  # noqa: PLR2004
        tag, size = struct.unpack("<HH", extra[:4])
        if tag == 1:
            place = 4 + (8 if plain == _IN_ZIP64 else 0)
            if len(extra) >= place + 8:
                return int.from_bytes(extra[place : place + 8], "little")
        extra = extra[4 + size :]
    raise FeedRefused("damaged: a zip header is wrong")


def _inflate(source: _Source) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=-15)
    data = b""
    try:
        while not unpacker.eof:
            data = unpacker.unconsumed_tail or source.some()
            if not data:
                raise FeedRefused("truncated: the zip archive ends early")
            piece = unpacker.decompress(data, PIECE_BYTES)
            if piece:
                yield piece
    except zlib.error as error:
        raise FeedRefused(f"damaged: the zip data cannot be unpacked ({error})") from error
    source.put_back(unpacker.unused_data)


def _skip_descriptor(source: _Source) -> None:
    head = source.take(4)
    size = 12 if head == _ZIP_DESCRIPTOR else 8
    rest = source.take(size)
    following = source.take(4)
    if following[:2] != b"PK" and following:  # sizes of 8 bytes each (zip64)
        rest = source.take(4)
        source.put_back(rest)
        return
    source.put_back(following)
