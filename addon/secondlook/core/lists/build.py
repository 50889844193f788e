"""Building large list files from hashes in any order, in bounded memory, with numpy.

Hashes are taken in runs; each run is sorted and, when there is more than one, spilled to a scratch
file. The runs are then merged slice by slice of the 65,536-way index, so that neither the number of
entries nor the number of runs matters to memory. Workers never load this module.
"""

from collections.abc import Buffer, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import batched, chain
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

RUN_BYTES: Final = 64 << 20  # of entries sorted at once
COPY_BYTES: Final = 1 << 20
GATHERED: Final = 65_536

type Rows = NDArray[np.uint8]  # shape (entries, width), C-contiguous


@dataclass(frozen=True, slots=True)
class BuiltList:
    """What was written: count of distinct entries and SHA-256 of the sorted entries."""

    count: int
    checksum: bytes


def gather(hashes: Iterable[bytes]) -> Iterator[bytes]:
    """Hashes one by one made into the blocks that `write_list` wants."""
    for batch in batched(hashes, GATHERED):
        yield b"".join(batch)


def write_list(
    file: BinaryIO,
    blocks: Iterable[Buffer],
    width: int,
    *,
    scratch: BinaryIO,
    stride: int | None = None,
    run_bytes: int = RUN_BYTES,
) -> BuiltList:
    """Write a list file of the distinct `width`-byte prefixes of the hashes in `blocks`, in any order.

    Every block is a sequence of hashes of `stride` bytes (default: `width`). `file` and `scratch` are
    open for reading and writing, empty, and can seek. Raise ValueError for another width or when a
    block does not divide into hashes.
    """
    _check_width(width)
    runs = _runs(blocks, width, stride or width, run_bytes)
    first, second = next(runs, None), next(runs, None)
    if first is None or second is None:  # nothing to merge
        writer = _Writer(file, width, scratch)
        if first is not None:
            writer.append(first)
        return writer.finish()
    spilled = [_spill(rows, scratch) for rows in chain((first, second), runs)]
    writer = _Writer(file, width, scratch)
    for rows in _merged(spilled, width, scratch, run_bytes):
        writer.append(rows)
    return writer.finish()


def write_sorted_list(
    file: BinaryIO, blocks: Iterable[Buffer], width: int, *, scratch: BinaryIO
) -> BuiltList:
    """Write a list file of entries of `width` bytes that ascend strictly. Raise Corrupt if they do not."""
    _check_width(width)
    writer = _Writer(file, width, scratch)
    for block in blocks:
        writer.append(_rows(block, width, width))
    return writer.finish()


def _check_width(width: int) -> None:
    if width not in WIDTHS:
        raise ValueError(f"no hash list has entries of {width} bytes")


def _rows(block: Buffer, width: int, stride: int) -> Rows:
    raw = np.frombuffer(block, dtype=np.uint8)
    if len(raw) % stride:
        raise ValueError(f"{len(raw)} bytes do not divide into hashes of {stride} bytes")
    if stride < width:
        raise ValueError(f"a hash of {stride} bytes is shorter than {width} bytes")
    return np.ascontiguousarray(raw.reshape(-1, stride)[:, :width])


def _keys(rows: Rows) -> NDArray[np.uint64] | NDArray[np.uint32]:
    """The first 8 (or 4) bytes of each row as machine integers."""
    size = min(rows.shape[1], KEY_BYTES)
    return np.ascontiguousarray(rows[:, :size]).view(f">u{size}")[:, 0].astype(f"<u{size}")


def _sorted_rows(rows: Rows) -> Rows:
    """Rows in ascending order without repetitions."""
    width = rows.shape[1]
    keys = _keys(rows)
    if width <= KEY_BYTES:
        keys.sort()
        kept = keys[np.flatnonzero(_first_of_equal(keys))]
        return kept.astype(f">u{width}").view(np.uint8).reshape(-1, width)
    order = np.argsort(keys, kind="stable")
    rows, keys = rows[order], keys[order]
    again = ~_first_of_equal(keys)
    if again.any():  # equal keys: order whole rows, but only those
        tied = again.copy()
        tied[:-1] |= again[1:]
        part = np.sort(np.ascontiguousarray(rows[tied]).view(f"S{width}")[:, 0])
        rows[tied] = part.view(np.uint8).reshape(-1, width)
        different = np.ones(len(rows), dtype=bool)
        different[1:] = (rows[1:] != rows[:-1]).any(axis=1)
        rows = rows[different]
    return rows


def _first_of_equal(keys: NDArray[np.uint64] | NDArray[np.uint32]) -> NDArray[np.bool_]:
    first = np.ones(len(keys), dtype=bool)
    first[1:] = keys[1:] != keys[:-1]
    return first


def _runs(blocks: Iterable[Buffer], width: int, stride: int, run_bytes: int) -> Iterator[Rows]:
    held: list[Rows] = []
    size = 0
    for block in blocks:
        rows = _rows(block, width, stride)
        held.append(rows)
        size += rows.nbytes
        if size >= run_bytes:
            yield _sorted_rows(np.concatenate(held))
            held, size = [], 0
    if held:
        yield _sorted_rows(np.concatenate(held))


@dataclass(frozen=True, slots=True)
class _Run:
    """A sorted run in the scratch file: where it begins, and where each index slot begins within it."""

    at: int
    slots: NDArray[np.int64]


def _spill(rows: Rows, scratch: BinaryIO) -> _Run:
    at = scratch.seek(0, 2)
    scratch.write(rows.data)
    tops = np.ascontiguousarray(rows[:, :2]).view(">u2")[:, 0]
    return _Run(at, np.searchsorted(tops, np.arange(BUCKETS + 1)))


def _merged(runs: list[_Run], width: int, scratch: BinaryIO, run_bytes: int) -> Iterator[Rows]:
    """All runs as one, sorted, a slice of index slots at a time."""
    filled = np.sum([run.slots for run in runs], axis=0)
    most = max(1, run_bytes // width)
    slot = 0
    while slot < BUCKETS:
        end = int(np.searchsorted(filled, filled[slot] + most, side="right")) - 1
        end = min(BUCKETS, max(end, slot + 1))
        parts = []
        for run in runs:
            start, stop = int(run.slots[slot]), int(run.slots[end])
            scratch.seek(run.at + start * width)
            parts.append(_rows(scratch.read((stop - start) * width), width, width))
        yield _sorted_rows(np.concatenate(parts))
        slot = end


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

    def finish(self) -> BuiltList:
        """Write tails, index and header; the file is complete then, but not synced."""
        self._scratch.seek(self._tails_from)
        while self._tails_from < self._tails_at:
            block = self._scratch.read(min(COPY_BYTES, self._tails_at - self._tails_from))
            self._file.write(block)
            self._tails_from += len(block)
        checksum = self._digest.digest()
        self._file.seek(0)
        self._file.write(HEADER.pack(MAGIC, VERSION, self._width, self._count, checksum))
        self._file.write(np.cumsum(self._sizes).astype("<u4").data)
        self._file.write(bytes(4))
        self._file.flush()
        return BuiltList(self._count, checksum)


def _ascending(rows: Rows) -> bool:
    keys = _keys(rows)
    if rows.shape[1] <= KEY_BYTES:
        return bool((keys[1:] > keys[:-1]).all())
    if (keys[1:] < keys[:-1]).any():
        return False
    tied = np.flatnonzero(keys[1:] == keys[:-1])
    return all(rows[at].tobytes() < rows[at + 1].tobytes() for at in tied)
