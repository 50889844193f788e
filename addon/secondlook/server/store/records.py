"""Entries as fixed-size records in files: sorted runs, merged range by range in bounded memory.

One entry is 48 bytes: the full hash, where its text stands in the file beside it, what family it
belongs to, the day it was first seen. A *run* is a file of records sorted by full hash. Runs of any
size are merged by cutting the range of hashes into slices that fit the memory bound, so that fifty
million entries need no more memory than five.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from secondlook.ground.errors import PatternError

RECORD = np.dtype(
    [
        ("hash", "V32"),
        ("text", "<u8"),  # offset of the line in the text file; NO_TEXT: the hash in hex is the text
        ("family", "<u2"),  # index into the source's families, 0: none
        ("day", "<u2"),  # first seen, days since 1970, 0: unknown
        ("last", "<u2"),  # last seen in the feed, days since 1970
        ("kind", "u1"),  # KIND_URL or KIND_FILE
        ("digest", "u1"),  # index into DIGESTS, of a file entry
    ]
)
NO_TEXT = (1 << 64) - 1
KIND_URL = 0
KIND_FILE = 1
DIGESTS = ("sha256", "sha1", "md5")
SLICE_RECORDS = 2_000_000  # about 100 MB of records, three times that while they are sorted

type Records = npt.NDArray[np.void]
type Keys = npt.NDArray[np.uint64]


def keys(records: npt.NDArray[Any]) -> Keys:
    """Return the first 8 bytes of each hash as an integer; ordered like the hashes, but for ties."""
    raw = records.view(np.uint8).reshape(len(records), records.dtype.itemsize)[:, :8]
    return np.ascontiguousarray(raw).view(">u8").ravel().astype(np.uint64)


def sorted_keys(hashes: Iterable[bytes]) -> Keys:
    """Return the first 8 bytes of each hash (32 bytes) as a sorted array of integers."""
    return np.sort(np.frombuffer(b"".join(hashes), dtype=">u8")[::4].astype(np.uint64))


def hash_bytes(records: Records) -> npt.NDArray[np.uint8]:
    """Return the hashes as rows of 32 bytes."""
    return records.view(np.uint8).reshape(len(records), RECORD.itemsize)[:, :32]


def sort_records(records: Records) -> Records:
    """Sort by full hash, keeping the order of equal ones."""
    if len(records) < 2:  # noqa: PLR2004 - nothing to sort
        return records
    key = keys(records)
    order = np.argsort(key, kind="stable")
    records, key = records[order], key[order]
    tied = np.flatnonzero(key[1:] == key[:-1])
    if not len(tied):
        return records
    # Hashes that share 8 bytes are nearly always equal ones; put the others right group by group.
    rows = hash_bytes(records)
    wrong = tied[(rows[tied] != rows[tied + 1]).any(axis=1)]
    for at in wrong:
        low, high = np.searchsorted(key, key[at], "left"), np.searchsorted(key, key[at], "right")
        group = records[low:high]
        hashes = [bytes(full_hash) for full_hash in group["hash"]]
        records[low:high] = group[sorted(range(len(group)), key=hashes.__getitem__)]
    return records


def same_as_previous(records: Records) -> npt.NDArray[np.bool_]:
    """Mark, in sorted records, each one whose hash equals the one before it."""
    same = np.zeros(len(records), dtype=np.bool_)
    if len(records) > 1:
        key = keys(records)
        near = np.flatnonzero(key[1:] == key[:-1])
        if len(near):
            rows = hash_bytes(records)
            same[near + 1] = (rows[near] == rows[near + 1]).all(axis=1)
    return same


def write_rows(file: BinaryIO, rows: npt.NDArray[Any]) -> None:
    """Write an array's bytes; raises OSError on a full disk (`tofile` only reports fewer rows)."""
    file.write(np.ascontiguousarray(rows).data)


def open_run(path: Path) -> Records:
    """Map a file of records; an empty file is an empty array. Raises PatternError for one that is cut."""
    try:
        size = path.stat().st_size
        if size % RECORD.itemsize:
            raise PatternError(f"{path} is cut: {size} bytes")
        return np.memmap(path, dtype=RECORD, mode="r") if size else np.empty(0, dtype=RECORD)
    except (OSError, ValueError) as error:
        raise PatternError(f"cannot open {path}: {error}") from error


def slices(runs: Sequence[Records], limit: int = SLICE_RECORDS) -> Iterator[list[Records]]:
    """Cut sorted runs along the same hashes, so that each step holds about `limit` records of all runs.

    Each step gives one part of every run, in the order of `runs`; the parts of one step hold every
    record of one range of 4-byte prefixes.
    """
    total = sum(len(run) for run in runs)
    steps = max(1, -(-total // limit))
    starts = [0] * len(runs)
    for step in range(1, steps + 1):
        if step == steps:
            ends = [len(run) for run in runs]
        else:
            bound = ((1 << 32) // steps * step).to_bytes(4, "big")
            ends = [_first_not_below(run, bound) for run in runs]
        yield [run[start:end] for run, start, end in zip(runs, starts, ends, strict=True)]
        starts = ends


def _first_not_below(run: Records, bound: bytes) -> int:
    """Bisect a mapped run by hand: only the touched pages are read."""
    low, high = 0, len(run)
    while low < high:
        middle = (low + high) // 2
        if bytes(run[middle]["hash"])[:4] < bound:
            low = middle + 1
        else:
            high = middle
    return low


class RunWriter:
    """Collects records in memory, spills sorted runs, and merges them into one file without repeats."""

    def __init__(self, folder: Path, *, limit: int = SLICE_RECORDS) -> None:
        self._folder = folder
        self._limit = limit
        self._buffers: list[bytes] = []
        self._held = 0
        self._runs: list[Path] = []

    def add(self, packed: bytes) -> None:
        """Take any number of packed records."""
        self._buffers.append(packed)
        self._held += len(packed) // RECORD.itemsize
        if self._held >= self._limit:
            self._spill()

    def _spill(self) -> None:
        if not self._held:
            return
        records = sort_records(np.frombuffer(b"".join(self._buffers), dtype=RECORD))
        self._buffers, self._held = [], 0
        path = self._folder / f"run-{len(self._runs):04d}"
        with path.open("wb") as file:
            write_rows(file, records)
        self._runs.append(path)

    def finish(self, target: Path) -> None:
        """Write the merged run without repeated hashes: the first one added stays."""
        self._spill()
        runs = [open_run(path) for path in self._runs]
        with target.open("wb") as file:
            for parts in slices(runs, self._limit):
                merged = sort_records(np.concatenate(parts)) if parts else np.empty(0, dtype=RECORD)
                merged = merged[~same_as_previous(merged)]
                write_rows(file, merged)
        del runs
        for path in self._runs:
            path.unlink()
        self._runs = []
