"""Digests of one member of an archive: of all of it, and of what readers leave who take less for all."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import IO

from secondlook.download.archives.archive_stream import STEP_BYTES

_MOST_ENDS = 8  # of packed streams, where a reader may stop


class MemberForms:
    """Takes the pieces of a member; `stated` is the size that its header gives."""

    def __init__(self, stated: int | None) -> None:
        self.size = 0
        self._stated, self._number = stated, 1
        self._digest = hashlib.sha256()

    @property
    def whole(self) -> bytes:
        """SHA-256 of all that was taken."""
        return self._digest.digest()

    def take(self, piece: bytes, number: int) -> Iterator[tuple[bytes, str]]:
        """Take the next bytes, of a stream of this number; give digests of what some end with, and why."""
        if number != self._number:
            self._number = number
            if self.size and number <= _MOST_ENDS:
                yield self.whole, "up to another beginning"
        if self._stated is not None and self.size <= self._stated < self.size + len(piece):
            shorter = self._digest.copy()
            shorter.update(piece[: self._stated - self.size])
            yield shorter.digest(), "as long as declared"
        self.size += len(piece)
        self._digest.update(piece)


def without_holes(file: IO[bytes], parts: Sequence[tuple[int, int]]) -> bytes:
    """Return the digest of the parts of a file, one after the other: where they stand, and their lengths."""
    digest = hashlib.sha256()
    for at, size in parts:
        file.seek(at)
        left = size
        while piece := file.read(min(STEP_BYTES, left)):
            digest.update(piece)
            left -= len(piece)
    return digest.digest()
