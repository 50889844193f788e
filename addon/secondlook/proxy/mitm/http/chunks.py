"""Chunked bodies (RFC 9112, 7.1), taken out of what was received in one go, linear in time.

Extensions and trailers are read and dropped (RFC 9110, 6.5.1). In an answer a bare LF may end a line, as
browsers let it; what goes on is chunked anew.
"""

import re

import h11
from h11._receivebuffer import ReceiveBuffer

LINE_MAX_BYTES = 16 << 10  # of a chunk's size with its extensions, or of a trailer
_PLAIN = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*+(?:;[^\r\x00]*+)?+\Z")


class ChunkReader:
    """A reader of a chunked body, as h11 has them: gives data, the end, or None where more must come."""

    def __init__(self, trailers_max: int, *, strict: bool) -> None:
        self._strict = strict  # bare LF is refused
        self._left = 0  # bytes of the chunk that is being read
        self._between = False  # its data are over, its line's end is not
        self._room = trailers_max
        self._last = self._over = False
        self._looked_at = 0  # bytes of the next line in which there is no LF

    def __call__(self, buf: ReceiveBuffer) -> h11.Data | h11.EndOfMessage | None:
        """Take what can be taken; h11.RemoteProtocolError where it is no chunked body."""
        held = buf._data  # noqa: SLF001
        data = bytes(held)
        out: list[bytes] = []
        at = 0
        while not self._over:
            if not (self._left or self._between or self._last):
                at = self._whole_chunks(data, at, out)
            if self._left:
                piece = data[at : at + self._left]
                if not piece:
                    break
                out.append(piece)
                at += len(piece)
                self._left -= len(piece)
                self._between = not self._left
                continue
            end = data.find(b"\n", at + self._looked_at)
            size = (len(data) if end < 0 else end) - at
            if size > (min(self._room, LINE_MAX_BYTES) if self._last else LINE_MAX_BYTES):
                raise h11.RemoteProtocolError("a line among its chunks is too long")
            if end < 0:
                self._looked_at = size
                break
            self._looked_at = 0
            self._line(data[at:end])
            at = end + 1
        if at:
            del held[:at]
        if out:
            return h11.Data(data=out[0] if len(out) == 1 else b"".join(out))
        return h11.EndOfMessage() if self._over else None

    def _whole_chunks(self, data: bytes, at: int, out: list[bytes]) -> int:
        """Take plain chunks that are all here, as nearly all are; return too where they end."""
        while found := _PLAIN.match(data, at):
            start = found.end()
            end = start + int(found[1], 16)
            if end == start or data[end : end + 2] != b"\r\n":
                break
            out.append(data[start:end])
            at, self._looked_at = end + 2, 0
        return at

    def _line(self, ended: bytes) -> None:
        line = ended.removesuffix(b"\r")
        if self._strict and not ended.endswith(b"\r"):
            raise h11.RemoteProtocolError("a bare LF among its chunks")
        if self._between:
            if line:
                raise h11.RemoteProtocolError("a chunk is longer than it says")
            self._between = False
        elif self._last:
            self._room -= len(ended) + 1
            self._over = not line
        else:
            found = _SIZE.match(line)
            if found is None:
                raise h11.RemoteProtocolError("a chunk has no size")
            self._left = int(found[1], 16)
            self._last = not self._left

    def read_eof(self) -> h11.EndOfMessage:
        """Refuse an end in the middle."""
        raise h11.RemoteProtocolError("the connection ended in a chunked body")
