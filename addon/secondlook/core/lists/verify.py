"""Whole verification of a hash list's columns, and many lookups at once; numpy. See `core.lists.format`."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from secondlook.core.lists.format import BUCKETS, Corrupt

CHUNK: Final = 1 << 20


def verify_columns(width: int, index: memoryview, keys: memoryview, tails: memoryview) -> None:
    """Check that entries ascend strictly and that the index points at them. Raise Corrupt."""
    column = np.frombuffer(keys, dtype=f"<u{keys.itemsize}")
    tail_bytes = width - keys.itemsize
    for start in range(0, len(column) - 1, CHUNK):
        part = column[start : start + CHUNK + 1]
        wrong = part[1:] <= part[:-1] if not tail_bytes else part[1:] < part[:-1]
        if wrong.any():
            raise Corrupt(f"hash list is not in ascending order near entry {start + int(wrong.argmax())}")
        if not tail_bytes:
            continue
        for at in (np.flatnonzero(part[1:] == part[:-1]) + start).tolist():
            first = bytes(tails[at * tail_bytes : (at + 1) * tail_bytes])
            if first >= bytes(tails[(at + 1) * tail_bytes : (at + 2) * tail_bytes]):
                raise Corrupt(f"hash list is not in ascending order near entry {at}")
    slots = np.arange(BUCKETS, dtype=column.dtype) << column.dtype.type(keys.itemsize * 8 - 16)
    if not np.array_equal(np.searchsorted(column, slots), np.frombuffer(index, dtype="<u4")[:BUCKETS]):
        raise Corrupt("hash list has an index that does not fit its entries")


def near(column: memoryview, hashes: Sequence[bytes]) -> list[int]:
    """Positions of the full hashes (32 bytes each) whose first bytes a sorted column of integers holds."""
    wanted = np.frombuffer(b"".join(hashes), dtype=f">u{column.itemsize}")[:: 32 // column.itemsize]
    sorted_keys = np.asarray(column)
    if not len(sorted_keys):
        return []
    at = np.searchsorted(sorted_keys, wanted.astype(sorted_keys.dtype)).clip(max=len(sorted_keys) - 1)
    return np.flatnonzero(sorted_keys[at] == wanted).tolist()
