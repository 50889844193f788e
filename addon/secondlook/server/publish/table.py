"""The full table of a generation: every full hash with its details, searched by 4-byte prefix.

Four files, each one column, mapped and never copied:

```
prefix.u32   first 4 bytes of each hash as a native integer, ascending
rest.b28     the other 28 bytes
detail.u32   index into details.bin
index.u32    65,537 positions: where hashes that begin with these 2 bytes start
details.bin  u64 count, (count + 1) u64 offsets, then for each detail set the bytes of its
             `full_hash_details` fields, ready to be put behind a hash
```

A prefix search is one look into the index and one bisection in C over a mapped column of integers.
All integers are little-endian.
"""

import mmap
import struct
import sys
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from pathlib import Path

from secondlook.ground.errors import PatternError

PREFIX, REST, DETAIL, INDEX, DETAILS = "prefix.u32", "rest.b28", "detail.u32", "index.u32", "details.bin"
REST_BYTES = 28
INDEX_ENTRIES = 65_537

if sys.byteorder != "little":  # pragma: no cover - no such machine runs Python 3.12 and numpy wheels
    raise ImportError("the server's table needs a little-endian machine")


def map_file(path: Path) -> memoryview:
    """Map a file for reading; an empty file gives an empty view."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


class Table:
    """A mapped table; `len()` is the number of full hashes."""

    def __init__(self, folder: Path) -> None:
        try:
            self._prefixes = map_file(folder / PREFIX).cast("I")
            self._rest = map_file(folder / REST)
            self._detail = map_file(folder / DETAIL).cast("I")
            self._index = map_file(folder / INDEX).cast("I")
            details = map_file(folder / DETAILS)
            (self._detail_count,) = struct.unpack_from("<Q", details)
            self._offsets = details[8 : 16 + 8 * self._detail_count].cast("Q")
            self._blobs = details[16 + 8 * self._detail_count :]
        except (OSError, TypeError, ValueError, struct.error) as error:
            raise PatternError(f"cannot open the table in {folder}: {error}") from error
        count = len(self._prefixes)
        if (
            len(self._detail) != count
            or len(self._rest) != count * REST_BYTES
            or len(self._index) != INDEX_ENTRIES
            or self._index[INDEX_ENTRIES - 1] != count
            or len(self._offsets) != self._detail_count + 1
            or self._offsets[self._detail_count] != len(self._blobs)
        ):
            raise PatternError(f"the table in {folder} is cut or damaged")

    def __len__(self) -> int:
        return len(self._prefixes)

    def find(self, prefix: int) -> Sequence[int]:
        """Return the rows whose hash begins with this prefix (a big-endian integer of 4 bytes)."""
        prefixes, index = self._prefixes, self._index
        high = prefix >> 16
        end = index[high + 1]
        row = bisect_left(prefixes, prefix, index[high], end)
        if row == end or prefixes[row] != prefix:
            return ()
        last = row + 1
        while last < end and prefixes[last] == prefix:
            last += 1
        return range(row, last)

    def full_hash(self, row: int) -> bytes:
        """Return the 32 bytes of one row."""
        rest = self._rest[row * REST_BYTES : row * REST_BYTES + REST_BYTES]
        return self._prefixes[row].to_bytes(4, "big") + bytes(rest)

    def details(self, row: int) -> bytes:
        """Return the packed `full_hash_details` fields of one row; PatternError if they are out of bounds."""
        which = self._detail[row]
        if which >= self._detail_count:
            raise PatternError(f"row {row} of the table points outside its details")
        return bytes(self._blobs[self._offsets[which] : self._offsets[which + 1]])

    def has(self, full_hash: bytes) -> bool:
        """Return whether this full hash is in the table."""
        return any(
            self.full_hash(row) == full_hash for row in self.find(int.from_bytes(full_hash[:4], "big"))
        )

    def held(self, hashes: Iterable[bytes]) -> list[bytes]:
        """Return those of these full hashes that are in the table; quick for many of them."""
        from secondlook.core.lists.verify import near  # noqa: PLC0415 - needs numpy, which serving does not

        every = list(hashes)
        return [every[at] for at in near(self._prefixes, every) if self.has(every[at])]
