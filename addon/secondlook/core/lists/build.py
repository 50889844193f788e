"""Writing large list files from their sorted entries, in bounded memory, with numpy.

Entries come in blocks of any size. Workers never load this module.
"""

from collections.abc import Buffer, Iterable
from hashlib import sha256
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from secondlook.core.lists.format import (
    BUCKETS,
    HEADER,
    KEY_BYTES,
    KEYS_AT,
    MAGIC,
    MAX_COUNT,
    VERSION,
    WIDTHS,
    Corrupt,
)

COPY_BYTES: Final = 1 << 20

type Rows = NDArray[np.uint8]  # shape (entries, width), C-contiguous


def write_sorted_list(file: BinaryIO, blocks: Iterable[Buffer], width: int, *, scratch: BinaryIO) -> None:
    """Write a list file of entries of `width` bytes that ascend strictly. Raise Corrupt if they do not.

    `file` and `scratch` are open for reading and writing, empty, and can seek. Raise ValueError for another
    width or when a block does not divide into entries. The file is complete then, but not synced.
    """
    if width not in WIDTHS:
        raise ValueError(f"no hash list has entries of {width} bytes")
    writer = _Writer(file, width, scratch)
    for block in blocks:
        writer.append(_rows(block, width))
    writer.finish()


def _rows(block: Buffer, width: int) -> Rows:
    raw = np.frombuffer(block, dtype=np.uint8)
    if len(raw) % width:
        raise ValueError(f"{len(raw)} bytes do not divide into entries of {width} bytes")
    return raw.reshape(-1, width)


def _keys(rows: Rows) -> NDArray[np.uint64] | NDArray[np.uint32]:
    """The first 8 (or 4) bytes of each row as machine integers."""
    size = min(rows.shape[1], KEY_BYTES)
    return np.ascontiguousarray(rows[:, :size]).view(f">u{size}")[:, 0].astype(f"<u{size}")


class _Writer:
    """Writes the columns of a list file as sorted rows come in, and its header at the end."""

    def __init__(self, file: BinaryIO, width: int, scratch: BinaryIO) -> None:
        self._file = file
        self._width = width
        self._scratch = scratch  # holds the tails until the keys before them are complete
        self._tails_from = self._tails_at = scratch.seek(0, 2)
        self._sizes = np.zeros(BUCKETS + 1, dtype=np.int64)
        self._count = 0
        self._digest = sha256()
        self._last = b""
        file.seek(KEYS_AT)

    def append(self, rows: Rows) -> None:
        """Add rows that ascend strictly and follow what is there. Raise Corrupt if they do not."""
        if not len(rows):
            return
        first = rows[0].tobytes()
        if (self._last and first <= self._last) or not _ascending(rows):
            raise Corrupt("entries to be written are not in ascending order")
        self._last = rows[-1].tobytes()
        self._count += len(rows)
        if self._count > MAX_COUNT:
            raise ValueError(f"a hash list cannot have more than {MAX_COUNT} entries")
        self._digest.update(rows.data)
        keys = _keys(rows)
        tops = keys >> keys.dtype.type(keys.itemsize * 8 - 16)
        self._sizes[1:] += np.bincount(tops.astype(np.int64), minlength=BUCKETS)
        self._file.write(keys.data)
        if self._width > KEY_BYTES:
            self._scratch.seek(self._tails_at)
            self._tails_at += self._scratch.write(np.ascontiguousarray(rows[:, KEY_BYTES:]).data)

    def finish(self) -> None:
        """Write tails, index and header."""
        self._scratch.seek(self._tails_from)
        while self._tails_from < self._tails_at:
            block = self._scratch.read(min(COPY_BYTES, self._tails_at - self._tails_from))
            self._file.write(block)
            self._tails_from += len(block)
        self._file.seek(0)
        self._file.write(HEADER.pack(MAGIC, VERSION, self._width, self._count, self._digest.digest()))
        self._file.write(np.cumsum(self._sizes).astype("<u4").data)
        self._file.write(bytes(4))
        self._file.flush()


def _ascending(rows: Rows) -> bool:
    keys = _keys(rows)
    if rows.shape[1] <= KEY_BYTES:
        return bool((keys[1:] > keys[:-1]).all())
    if (keys[1:] < keys[:-1]).any():
        return False
    tied = np.flatnonzero(keys[1:] == keys[:-1])
    return all(rows[at].tobytes() < rows[at + 1].tobytes() for at in tied)
