"""Takes out of a body, as it goes by, what a client wanted of it: one range, or several (RFC 9110, 14.6)."""

import copy
import secrets
from collections.abc import MutableMapping, Sequence
from typing import Self


class Slice:
    """Takes windows (first byte, count; in order and apart) out of an entity of `size` bytes.

    `at` is the place in the entity of the next byte that is fed.
    """

    def __init__(
        self, windows: Sequence[tuple[int, int]], size: int | None, content_type: str | None = None
    ) -> None:
        self.windows = tuple(windows)
        self.first = self.windows[0][0]
        self.end = sum(self.windows[-1])
        self.at = 0
        self._next = 0  # window
        self._size = "*" if size is None else str(size)
        self._boundary = secrets.token_hex(16) if len(self.windows) > 1 else ""
        self._type = content_type or "application/octet-stream"

    def again(self, at: int) -> Self:
        """Return one that gives the same answer, fed from `at` on."""
        other = copy.copy(self)
        other.begin(at)
        return other

    def begin(self, at: int) -> None:
        """Begin anew, at a place in the entity."""
        self.at, self._next = at, 0

    def feed(self, data: bytes | memoryview) -> bytes:
        """Take the next bytes of the entity; return what goes on."""
        out: list[bytes | memoryview] = []
        start, end = self.at, self.at + len(data)
        while self._next < len(self.windows):
            first, count = self.windows[self._next]
            if end <= first:
                break
            if start <= first:
                out.append(self._head(self._next))
            out.append(data[max(0, first - start) : first + count - start])
            if end < first + count:
                break
            self._next += 1
            if self._next == len(self.windows):
                out.append(self._foot())
        self.at = end
        return b"".join(out)

    def label(self, headers: MutableMapping[str, str]) -> None:
        """Change the headers of a 200 into those of the 206 (Partial Content) that has what is taken out."""
        headers.pop("transfer-encoding", None)
        parts = range(len(self.windows)) if self._boundary else ()
        length = sum(count for _, count in self.windows) + sum(len(self._head(each)) for each in parts)
        headers["content-length"] = str(length + len(self._foot()))
        if self._boundary:
            headers.pop("content-range", None)
            headers["content-type"] = f"multipart/byteranges; boundary={self._boundary}"
        else:
            headers["content-range"] = self._position(0)

    def _position(self, index: int) -> str:
        first, count = self.windows[index]
        return f"bytes {first}-{first + count - 1}/{self._size}"

    def _head(self, index: int) -> bytes:
        if not self._boundary:
            return b""
        fields = f"Content-Type: {self._type}\r\nContent-Range: {self._position(index)}"
        mark = f"--{self._boundary}\r\n{fields}\r\n\r\n"
        return ("\r\n" if index else "").encode() + mark.encode("latin-1", "replace")

    def _foot(self) -> bytes:
        return f"\r\n--{self._boundary}--\r\n".encode() if self._boundary else b""
