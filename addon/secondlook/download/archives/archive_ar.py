"""Members of an `ar` archive: what Debian's packages are (deb(5)), and libraries."""

from collections.abc import Iterator
from typing import IO

_MAGIC_BYTES, _HEADER_BYTES = 8, 60
_SIZE = slice(48, 58)
_END = b"`\n"


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
    """Return names and contents, of names that do not fit into a header (BSD's, GNU's) what stands there."""
    at = _MAGIC_BYTES
    while True:
        file.seek(at)
        head = file.read(_HEADER_BYTES)
        if not head.strip(b"\n"):
            return
        size_field = head[_SIZE].strip()
        if len(head) < _HEADER_BYTES or head[58:60] != _END or not size_field.isdigit():
            raise ArError("no header where one should be")
        size, name = int(size_field), head[:16].decode("latin-1").strip()
        at += _HEADER_BYTES
        inside = int(name[3:]) if name.startswith("#1/") and name[3:].isdigit() else 0
        yield name.rstrip("/"), Member(file, at + min(inside, size), size - min(inside, size))
        at += size + size % 2
