"""Members of a 7z archive as py7zr hands them out: hashed, and kept to see whether they are archives."""

import hashlib
import tempfile
from collections.abc import Callable
from typing import IO

from py7zr import SevenZipFile
from py7zr.io import Py7zIO, WriterFactory


class Member(Py7zIO):
    """One member: its digest and its content."""

    def __init__(self, count: Callable[[int], None], memory_bytes: int) -> None:
        self._count = count
        self._digest = hashlib.sha256()
        self._size = 0
        self._copy: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=memory_bytes)  # noqa: SIM115 - lives as long as the member

    @property
    def digest(self) -> bytes:
        """SHA-256 of the member."""
        return self._digest.digest()

    def write(self, s: bytes | bytearray) -> int:
        """Take the next bytes."""
        data = bytes(s)
        self._count(len(data))
        self._digest.update(data)
        self._copy.write(data)
        self._size += len(data)
        return len(data)

    def content(self) -> IO[bytes]:
        """Return the content."""
        return self._copy

    def forget(self) -> None:
        """Drop the content."""
        self._copy.close()

    def read(self, size: int | None = None) -> bytes:  # noqa: ARG002 - the interface's
        """Return nothing: members are only written."""
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:  # noqa: ARG002 - the interface's
        """Do nothing."""
        return 0

    def flush(self) -> None:
        """Do nothing."""

    def size(self) -> int:
        """Return the number of bytes written."""
        return self._size


class MemberFactory(WriterFactory):
    """Makes a `Member` for each name that py7zr meets.

    `count` is called with the size of each piece; more than `memory_bytes` of one member lies on disk.
    """

    def __init__(self, count: Callable[[int], None], memory_bytes: int) -> None:
        self._count = count
        self._memory_bytes = memory_bytes
        self.members: list[tuple[str, Member]] = []  # two may have one name

    def close(self) -> None:
        """Forget what was kept."""
        for _, member in self.members:
            member.forget()

    def create(self, filename: str) -> Member:
        """Make the receiver of one member."""
        member = Member(self._count, self._memory_bytes)
        self.members.append((filename, member))
        return member


def unpack(archive: SevenZipFile, factory: MemberFactory) -> None:
    """Unpack all that has content: of what is called a folder or a socket py7zr leaves it out."""
    for told in archive.header.files_info.files if archive.files else ():
        if not told["emptystream"]:
            told.pop("attributes", None)
    archive.extractall(factory=factory)
