"""The bytes of a connection from which HTTP/1 heads are taken."""

import re

from h11._receivebuffer import ReceiveBuffer

from secondlook.proxy.mitm.http.framing import HEAD_TOO_LARGE, HeadError

_BLANK_LINE = re.compile(rb"\n\r?\n")


class HeadBuffer(ReceiveBuffer):
    """Bytes received, from which whole heads are taken; no byte is looked at twice for it."""

    def __init__(self, limit: int, lines: int) -> None:
        super().__init__()
        self._limit = limit
        self._lines = lines
        self.begin()

    def take_head(self) -> bytes | None:
        """Take the next head with its empty line, once it is whole. HeadError where it is too large."""
        data = self._data
        if data.startswith((b"\r", b"\n")):
            self._taken += len(self._extract(len(data) - len(data.lstrip(b"\r\n"))))
        found = _BLANK_LINE.search(data, self._multiple_lines_search)
        size = len(data) if found is None else found.end()
        if self._taken + size > self._limit:
            raise HeadError(f"its head is larger than {self._limit} bytes", HEAD_TOO_LARGE)
        if found is None:
            self._multiple_lines_search = max(0, size - 2)
            return None
        if self._lines_taken + data.count(b"\n", 0, size) > self._lines + 2:
            raise HeadError(f"its head has more than {self._lines} lines", HEAD_TOO_LARGE)
        return self.take(size)

    def add(self, data: bytes) -> None:
        """Take what came."""
        self._data += data

    def take(self, most: int) -> bytes:
        """Take so many bytes, or all that there are."""
        data = self._data
        if len(data) <= most:
            taken = bytes(data)
            data.clear()
        else:
            taken = bytes(data[:most])
            del data[:most]
        self._multiple_lines_search = 0
        return taken

    def count_interim(self, head: bytes) -> None:
        """Count the head of an interim answer with the one that follows."""
        self._taken += len(head)
        self._lines_taken += head.count(b"\n")

    def begin(self) -> None:
        """Wait for the head of another message."""
        self._taken = self._lines_taken = 0
