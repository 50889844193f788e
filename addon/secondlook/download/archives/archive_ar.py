"""Members of an `ar` archive: what Debian's packages are (deb(5)), and libraries."""

import re
from collections.abc import Iterator
from typing import IO

_MAGIC_BYTES, _HEADER_BYTES = 8, 60
_SIZE = slice(48, 58)
_END = b"`\n"
# BSD's, with what stands behind it: bsdtar takes blanks before the number, it and GNU's any end of it
_LONG_NAME = re.compile(rb"#1/[ \t]*+([0-9]++)(.*+)", re.DOTALL)


class ArError(Exception):
    """The archive is damaged."""


class Member:
    """One member that reads like a file, forwards only."""

    def __init__(self, file: IO[bytes], at: int, size: int) -> None:
        self._file, self._at, self._left = file, at, size

    def read(self, count: int) -> bytes:
        """Return the next bytes; none at the end."""
        self._file.seek(self._at)
        data = self._file.read(min(count, self._left))
        if not data and self._left:
            raise ArError("a member ends too early")
        self._at += len(data)
        self._left -= len(data)
        return data


def members(file: IO[bytes]) -> Iterator[tuple[str, Member]]:
    """Return names and contents, of names that do not fit into a header (BSD's, GNU's) what stands there.

    Before a content may stand such a name (BSD's); where readers differ about that, both contents are given.
    """
    at = _MAGIC_BYTES
    while True:
        file.seek(at)
        head = file.read(_HEADER_BYTES)
        if not head.strip(b"\n"):
            return
        size_field = head[_SIZE].strip()
        if len(head) < _HEADER_BYTES or head[58:60] != _END or not size_field.isdigit():
            raise ArError("no header where one should be")
        size, name = int(size_field), head[:16].decode("latin-1").strip().rstrip("/")
        at += _HEADER_BYTES
        long = _LONG_NAME.fullmatch(head, 0, 16)
        if long is not None:
            inside = min(int(long[1]), size)
            yield name, Member(file, at + inside, size - inside)
        if long is None or long[2].strip(b" ") or not head.startswith(long[1], 3):
            yield name, Member(file, at, size)
        at += size + size % 2
