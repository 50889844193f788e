"""Hash lists: sorted arrays of fixed-width hash prefixes, looked up in any buffer.

A list file is read in place (bytes in a test, an `mmap` in a worker), so that every process shares
one copy and opening costs a few milliseconds whatever the size. Its layout is `core.lists.format`.
"""

import hashlib
import sys
from array import array
from bisect import bisect_left
from collections.abc import Buffer, Iterable, Iterator, Sequence
from struct import Struct
from typing import Final, Self

from secondlook.core.lists.format import (
    BLOCK_ENTRIES,
    BUCKETS,
    HEADER,
    INDEX_BYTES,
    KEY_BYTES,
    KEYS_AT,
    MAGIC,
    MAX_COUNT,
    RESERVED_AT,
    VERSION,
    WIDTHS,
    Corrupt,
    NotAHashList,
    Truncated,
    UnsupportedVersion,
)


def hash_keys(hashes: Sequence[bytes]) -> tuple[int, ...]:
    """The upper 64 bits of each full hash (32 bytes each), to be shared by lookups in several lists."""
    count = len(hashes)
    return (_UNPACK[count] if count < len(_UNPACK) else _key_unpacker(count)).unpack(b"".join(hashes))


def _key_unpacker(count: int) -> Struct:
    return Struct(">" + "Q24x" * count)


_UNPACK: Final = tuple(_key_unpacker(count) for count in range(33))


class HashList:
    """A sorted list of hash prefixes over a buffer that must stay unchanged and open.

    `width` is in bytes; `checksum` is the SHA-256 of the sorted entries, as the header says.
    """

    __slots__ = ("_index", "_keys", "_shift", "_tail_bytes", "_tails", "checksum", "count", "width")

    def __init__(
        self, width: int, checksum: bytes, index: memoryview, keys: memoryview, tails: memoryview
    ) -> None:
        self.width = width
        self.count = len(keys)
        self.checksum = checksum
        self._index = index
        self._keys = keys
        self._tails = tails
        self._tail_bytes = max(0, width - KEY_BYTES)
        self._shift = 32 if width < KEY_BYTES else 0

    @classmethod
    def open(cls, buffer: Buffer) -> Self:
        """A list over `buffer`, whose header, size and index bounds are checked but not its entries.

        Raise NotAHashList, UnsupportedVersion, Truncated or Corrupt. `verify` checks the rest.
        """
        view = memoryview(buffer).cast("B")
        size = len(view)
        if bytes(view[: len(MAGIC)]) != MAGIC:
            raise NotAHashList(f"not a hash list: {size} bytes that do not begin with {MAGIC.decode()}")
        if size < HEADER.size:
            raise Truncated(f"hash list ends within its header: {size} bytes")
        _, version, width, count, checksum = HEADER.unpack_from(view)
        if version != VERSION:
            raise UnsupportedVersion(f"hash list has format version {version}, this program reads {VERSION}")
        if sys.byteorder != "little":
            raise UnsupportedVersion("hash lists are read on little-endian machines only")
        if width not in WIDTHS or count > MAX_COUNT:
            raise Corrupt(f"hash list declares {count} entries of {width} bytes")
        if any(view[RESERVED_AT : HEADER.size]) or any(view[HEADER.size + INDEX_BYTES : KEYS_AT]):
            raise Corrupt("hash list has other bytes than zero where nothing stands")
        expected = KEYS_AT + count * width
        if size < expected:
            raise Truncated(f"hash list has {size} bytes, {expected} are declared")
        if size > expected:
            raise Corrupt(f"hash list has {size - expected} bytes more than declared")
        index = view[HEADER.size : HEADER.size + INDEX_BYTES].cast("I")
        bounds = index.tolist()
        if bounds[0] != 0 or bounds[BUCKETS] != count or bounds != sorted(bounds):
            raise Corrupt("hash list has an index that leaves its bounds")
        key_bytes = min(width, KEY_BYTES)
        tails_at = KEYS_AT + count * key_bytes
        keys = view[KEYS_AT:tails_at].cast("Q" if key_bytes == KEY_BYTES else "I")
        return cls(width, checksum, index, keys, view[tails_at:])

    def __len__(self) -> int:
        return self.count

    def has(self, full_hash: bytes) -> bool:
        """Return whether the list holds the prefix of this full hash (32 bytes)."""
        return self.find(hash_keys((full_hash,)), (full_hash,)) >= 0

    def held(self, hashes: Iterable[bytes]) -> list[bytes]:
        """Those of these full hashes (32 bytes each) whose prefix the list holds; quick for many of them.

        Needs numpy, which workers never load.
        """
        from secondlook.core.lists.verify import near  # noqa: PLC0415 (keeps numpy out of workers)

        every = list(hashes)
        return [every[at] for at in near(self._keys, every) if self.has(every[at])]

    def find(self, keys: Sequence[int], hashes: Sequence[bytes]) -> int:
        """The position in `hashes` of the first that the list holds, or -1; `keys` is `hash_keys(hashes)`."""
        index, column, shift = self._index, self._keys, self._shift
        for position, whole in enumerate(keys):
            slot = whole >> 48
            high = index[slot + 1]
            low = index[slot]
            if low == high:
                continue
            key = whole >> shift
            at = bisect_left(column, key, low, high)
            if (
                at < high
                and column[at] == key
                and (not self._tail_bytes or self._tail_follows(at, high, key, hashes[position]))
            ):
                return position
        return -1

    def _tail_follows(self, at: int, high: int, key: int, full_hash: bytes) -> bool:
        """Return whether an entry with this key, from `at` on, goes on like the hash; equal keys are rare."""
        size, tails, column = self._tail_bytes, self._tails, self._keys
        tail = full_hash[KEY_BYTES : self.width]
        while at < high and column[at] == key:
            if tails[at * size : (at + 1) * size] == tail:
                return True
            at += 1
        return False

    def span(self, prefix: bytes) -> range:
        """Positions of the entries that begin with `prefix` (2 to 8 bytes, no longer than an entry)."""
        bits = len(prefix) * 8
        key_bits = 64 - self._shift
        first = int.from_bytes(prefix) << (key_bits - bits)
        last = first | ((1 << (key_bits - bits)) - 1)
        slot = int.from_bytes(prefix[:2])
        low, high = self._index[slot], self._index[slot + 1]
        start = bisect_left(self._keys, first, low, high)
        return range(start, bisect_left(self._keys, last + 1, start, high))

    def has_prefix(self, prefix: bytes) -> bool:
        """Return whether an entry begins with `prefix` (2 to 8 bytes, no longer than an entry)."""
        return bool(self.span(prefix))

    def blocks(self, size: int = BLOCK_ENTRIES) -> Iterator[bytes]:
        """The entries one after the other in ascending order, in blocks of `size` entries."""
        width, tail_bytes = self.width, self._tail_bytes
        key_bytes = width - tail_bytes
        for start in range(0, self.count, size):
            numbers = array(self._keys.format, self._keys[start : start + size])
            numbers.byteswap()
            keys = numbers.tobytes()
            if not tail_bytes:
                yield keys
                continue
            tails = bytes(self._tails[start * tail_bytes : (start + len(numbers)) * tail_bytes])
            block = bytearray(len(numbers) * width)
            for column in range(key_bytes):
                block[column::width] = keys[column::key_bytes]
            for column in range(tail_bytes):
                block[key_bytes + column :: width] = tails[column::tail_bytes]
            yield bytes(block)

    def verify(self) -> None:
        """Read the whole list: strictly ascending, checksum and index right. Raise Corrupt.

        Takes about 0.05 s for a million entries; needs numpy, which workers never load.
        """
        from secondlook.core.lists.verify import verify_columns  # noqa: PLC0415 (keeps numpy out of workers)

        verify_columns(self.width, self._index, self._keys, self._tails)
        digest = hashlib.sha256()
        for block in self.blocks():
            digest.update(block)
        if digest.digest() != self.checksum:
            raise Corrupt("hash list does not match its checksum")
