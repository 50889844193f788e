"""The bytes of an ICAP connection as heads and chunks; `machine.py` knows what they mean. No I/O."""

import re
from typing import Final, NamedTuple

from secondlook.gateway.icap.heads import CHUNK_MAX_BYTES, HEAD_MAX_BYTES, Fields, IcapError, read_fields

CHUNK_LINE_MAX_BYTES: Final = 1024
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(;[^\r\n\0]*)?\r\n")
_IEOF = re.compile(rb";[ \t]*ieof[ \t]*(?:;.*)?")


class LastChunk(NamedTuple):
    """The end of a body or of its preview; `ieof`: the preview is all there is (RFC 3507, 4.5)."""

    trailers: Fields
    ieof: bool


class Frames:
    """What came and was not taken yet; each method returns None until what it takes is here."""

    __slots__ = ("_left", "_searched", "allowed", "buffer")

    def __init__(self) -> None:
        self.buffer = bytearray()
        self._searched = 0
        self._left: int | None = None  # of the chunk that is being read; None: its line is next
        self.allowed: int | None = None  # bytes that chunks may still have, of a preview

    def head(self, name: str) -> bytes | None:
        """Take a head with its empty line. Raise IcapError."""
        buffer = self.buffer
        while buffer[:2] == b"\r\n":  # of a client that sends more at the end of a body than it should
            del buffer[:2]
        found = buffer.find(b"\r\n\r\n", self._searched)
        # However it comes: what would be refused before its end is here is refused with its end here, too.
        if buffer.find(b"\n\n", self._searched, found if found >= 0 else len(buffer)) >= 0:
            raise IcapError(f"{name}: its lines do not end with CR LF")
        if found < 0:
            if len(buffer) > HEAD_MAX_BYTES:
                raise IcapError(f"{name} is larger than {HEAD_MAX_BYTES} bytes")
            self._searched = max(0, len(buffer) - 3)
            return None
        self._searched = 0
        if found + 4 > HEAD_MAX_BYTES:
            raise IcapError(f"{name} is larger than {HEAD_MAX_BYTES} bytes")
        return self.take(found + 4)

    def take(self, count: int) -> bytes | None:
        """Take so many bytes."""
        buffer = self.buffer
        if len(buffer) < count:
            return None
        data = bytes(buffer[:count])
        del buffer[:count]
        return data

    def chunk(self) -> bytes | LastChunk | None:
        """Take what is here of a chunk, or of several chunks of a body. Raise IcapError."""
        buffer = self.buffer
        if self._left == 0 and not self._take_chunk_end():
            return None
        if self._left is None:
            if self.allowed is None and (whole := self._take_whole_chunks()):
                return whole
            found = self._take_chunk_line()
            if not isinstance(found, int):
                return found
            self._left = found
        if not buffer:
            return None
        with memoryview(buffer) as view:  # a slice of it is a copy less
            data = bytes(view[: self._left])
        del buffer[: self._left]
        self._left -= len(data)
        return data

    def _take_whole_chunks(self) -> bytes:
        """Take the data of all chunks that are here whole; an odd one is left until it is the next."""
        buffer, pieces, end = self.buffer, [], 0
        with memoryview(buffer) as view:
            while line := _CHUNK_LINE.match(buffer, end, end + CHUNK_LINE_MAX_BYTES):
                start, size = line.end(), int(line[1], 16)
                if not 0 < size <= CHUNK_MAX_BYTES or not buffer.startswith(b"\r\n", start + size):
                    break
                pieces.append(bytes(view[start : start + size]))
                end = start + size + 2
        del buffer[:end]
        return b"".join(pieces)

    def _take_chunk_line(self) -> int | LastChunk | None:
        """Take the size of a chunk, or the whole of the last one."""
        buffer = self.buffer
        end = buffer.find(b"\n", 0, CHUNK_LINE_MAX_BYTES)
        if end < 0:
            if len(buffer) >= CHUNK_LINE_MAX_BYTES:
                raise IcapError(f"a chunk's line is longer than {CHUNK_LINE_MAX_BYTES} bytes")
            return None
        line = _CHUNK_LINE.fullmatch(buffer, 0, end + 1)
        if line is None:
            raise IcapError(f"expected the size of a chunk, got {bytes(buffer[: min(end, 60)])!r}"[:120])
        size = int(line[1], 16)
        if size > CHUNK_MAX_BYTES:
            raise IcapError(f"a chunk is larger than {CHUNK_MAX_BYTES} bytes")
        if not size:
            return self._take_last(end + 1, bytes(line[2] or b""))
        if self.allowed is not None:
            self.allowed -= size
            if self.allowed < 0:
                raise IcapError("the preview is longer than announced")
        del buffer[: end + 1]
        return size

    def _take_chunk_end(self) -> bool:
        """Take the line end after the bytes of a chunk; False until it is here."""
        end = self.buffer[:2]
        if end != b"\r\n":
            if not b"\r\n".startswith(end):
                raise IcapError("a chunk is longer than its size")
            return False
        del self.buffer[:2]
        self._left = None
        return True

    def _take_last(self, start: int, extension: bytes) -> LastChunk | None:
        """Take the last chunk: its line up to `start`, trailers, and an empty line."""
        buffer = self.buffer
        trailers: Fields = ()
        if buffer[start : start + 2] == b"\r\n":
            end = start + 2
        else:
            found = buffer.find(b"\r\n\r\n", start)
            if found < 0 and len(buffer) - start <= HEAD_MAX_BYTES:
                return None
            if not 0 <= found - start <= HEAD_MAX_BYTES:
                raise IcapError(f"trailers are larger than {HEAD_MAX_BYTES} bytes")
            end = found + 4
            trailers = read_fields(bytes(buffer[start:end]), 0, "trailers: ")
        del buffer[:end]
        return LastChunk(trailers, _IEOF.fullmatch(extension) is not None)
