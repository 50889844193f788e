"""All sources merged into the columns of one generation, range by range, in bounded memory.

Each step takes the records of one range of hashes from every source, takes out what exceptions, guard and
replacements forbid, groups equal hashes, and appends to the table's columns and to the lists. What
stands behind a hash (source, family, day) is packed into one integer, so that a set of details is
made once however many hashes share it.
"""

import hashlib
import struct
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from secondlook.core.lists.name import ListName, Role
from secondlook.core.subject import SubjectKind
from secondlook.server.publish import table as columns
from secondlook.server.publish.detail import pack_detail
from secondlook.server.publish.guard import among
from secondlook.server.store.names import derived_list, list_of
from secondlook.server.store.records import (
    DIGESTS,
    KIND_FILE,
    RECORD,
    SLICE_RECORDS,
    Records,
    hash_bytes,
    keys,
    same_as_previous,
    slices,
    sort_records,
    write_rows,
)

DAY_S = 86_400
MAX_EXAMPLES = 1000  # of entries held back, for each source
_KINDS = (SubjectKind.URL, SubjectKind.FILE)  # by KIND_URL, KIND_FILE
type Behind = npt.NDArray[Any]  # u64: source << 40 | family << 24 | day << 8 | kind


@dataclass(slots=True, eq=False)
class Run:
    """One source's records, ready to be merged.

    `lists` maps each kind of entries to where they go, None where a later import replaced that list.
    `excepted` are offsets of text lines that exceptions take out, `held_back` of those that the guard does.
    """

    name: str
    records: Records
    lists: tuple[ListName | None, ListName | None]
    families: Sequence[str] = ()
    guarded: bool = True
    own: bool = False
    excepted: npt.NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, dtype=np.uint64))
    held_back: npt.NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, dtype=np.uint64))
    texts: Any = b""  # the lines that records point into
    shown: bool = True  # named among the feeds of a detail


class ListWriter:
    """Appends the sorted, distinct prefixes of one list to its file."""

    def __init__(self, folder: Path, target: ListName) -> None:
        self.target = target
        self.path = folder / f"{target.name}.raw"
        self.count = 0
        self.digests: set[str] = set()
        self._file: BinaryIO = self.path.open("wb")
        self._sha256 = hashlib.sha256()

    def add(self, hashes: npt.NDArray[np.uint8]) -> None:
        """Append rows of 32 bytes, ascending; all of one 4-byte prefix come in one call."""
        width = self.target.width
        rows = np.ascontiguousarray(hashes[:, :width])
        if len(rows) > 1:
            fresh = np.concatenate(([True], (rows[1:] != rows[:-1]).any(axis=1)))
            rows = rows[fresh]
        data = rows.tobytes()
        self._file.write(data)
        self._sha256.update(data)
        self.count += len(rows)

    def give_up(self) -> None:
        """Let go of a file that is not wanted any more; what a full disk does not take is nobody's loss."""
        with suppress(OSError):
            self._file.close()

    def finish(self) -> bytes:
        """Close the file; returns the SHA-256 of all entries."""
        self._file.close()
        return self._sha256.digest()


class Details:
    """Sets of details, each made once."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = runs
        self._known: dict[int | tuple[int, ...], int] = {}
        self._blobs: list[bytes] = []
        self._size = 0

    def one(self, behind: int) -> int:
        """Return the index of the details of a hash that one source has."""
        return self._index(behind, (behind,))

    def many(self, behind: tuple[int, ...]) -> int:
        """Return the index of the details of a hash that several records have."""
        own = tuple(each for each in behind if self._runs[each >> 40].own)
        return self._index(own or behind, own or behind)

    def _index(self, key: int | tuple[int, ...], behind: tuple[int, ...]) -> int:
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = len(self._blobs)
            self._blobs.append(self._pack(behind))
        return found

    def _pack(self, behind: tuple[int, ...]) -> bytes:
        by_list: dict[ListName, list[int]] = {}
        for each in behind:
            target = self._runs[each >> 40].lists[each & 0xFF]
            if target is not None:
                by_list.setdefault(target, []).append(each)
        packed = []
        for target in sorted(by_list, key=lambda target: target.name):
            group = by_list[target]
            runs = [self._runs[each >> 40] for each in group]
            families = [
                run.families[(each >> 24 & 0xFFFF) - 1]
                for run, each in zip(runs, group, strict=True)
                if each >> 24 & 0xFFFF
            ]
            days = [each >> 8 & 0xFFFF for each in group if each >> 8 & 0xFFFF]
            packed.append(
                pack_detail(
                    target,
                    feeds=sorted({run.name for run in runs if run.shown}),
                    family=families[0] if families else None,
                    first_seen=min(days) * DAY_S if days else None,
                )
            )
        return b"".join(packed)

    def write(self, path: Path) -> None:
        """Write `details.bin`."""
        offsets = np.cumsum([0, *(len(blob) for blob in self._blobs)], dtype=np.uint64)
        with path.open("wb") as file:
            file.write(struct.pack("<Q", len(self._blobs)))
            write_rows(file, offsets)
            file.writelines(self._blobs)


@dataclass(slots=True)
class HeldBack:
    """Entries that the known-good guard held back: how many, and where some of them stand."""

    counts: Counter[str] = field(default_factory=Counter)  # by source
    examples: list[tuple[Run, int]] = field(default_factory=list)  # where the text of each stands


class Merge:
    """One merge of runs into a folder; call `run`, then read the results."""

    def __init__(self, folder: Path, runs: Sequence[Run], guard: npt.NDArray[np.uint64]) -> None:
        self._folder = folder
        self._runs = runs
        self._guard = guard
        self._details = Details(runs)
        self.lists: dict[str, ListWriter] = {}
        self.checksums: dict[str, bytes] = {}
        self.held_back = HeldBack()
        self.entries = 0
        self.taken: list[Counter[str]] = [Counter() for _ in runs]  # records of each run, by list
        self._targets = sorted(
            {target for run in runs for target in run.lists if target}, key=lambda t: t.name
        )
        numbers = {target: number for number, target in enumerate(self._targets)}
        self._list_numbers = np.array(
            [-1 if target is None else numbers[target] for run in runs for target in run.lists],
            dtype=np.int16,
        )

    def list_for(self, target: ListName) -> ListWriter:
        """Return the writer of a list, made when it is first wanted."""
        writer = self.lists.get(target.name)
        if writer is None:
            writer = self.lists[target.name] = ListWriter(self._folder, target)
        return writer

    def run(self, excepted: Any, limit: int = SLICE_RECORDS) -> None:
        """Merge; `excepted` is the operator's `Exceptions`."""
        try:
            self._merge(excepted, limit)
        except BaseException:
            for writer in self.lists.values():
                writer.give_up()
            raise

    def _merge(self, excepted: Any, limit: int) -> None:
        index = np.zeros(columns.INDEX_ENTRIES, dtype=np.uint32)
        names = (columns.PREFIX, columns.REST, columns.DETAIL)
        with (
            (self._folder / names[0]).open("wb") as prefix,
            (self._folder / names[1]).open("wb") as rest,
            (self._folder / names[2]).open("wb") as detail,
        ):
            for parts in slices([run.records for run in self._runs], limit):
                records, behind = self._gather(parts, excepted)
                hashes, which = self._group(records, behind)
                first = np.ascontiguousarray(hashes[:, :4]).view(">u4").ravel().astype("<u4")
                write_rows(prefix, first)
                write_rows(rest, hashes[:, 4:])
                write_rows(detail, which)
                index[1:] += np.bincount(first >> 16, minlength=columns.INDEX_ENTRIES - 1).astype(np.uint32)
                self.entries += len(hashes)
        with (self._folder / columns.INDEX).open("wb") as file:
            write_rows(file, np.cumsum(index, dtype=np.uint32))
        self._details.write(self._folder / columns.DETAILS)
        self.checksums = {name: writer.finish() for name, writer in self.lists.items()}

    def _gather(self, parts: Sequence[Records], excepted: Any) -> tuple[Records, Behind]:
        """Put the parts of one range together, without what may not be published."""
        kept, behind = [], []
        for at, (run, part) in enumerate(zip(self._runs, parts, strict=True)):
            if not len(part):
                continue
            records = np.asarray(part)
            wanted = np.ones(len(records), dtype=np.bool_)
            for kind, target in enumerate(run.lists):
                if target is None:
                    wanted &= records["kind"] != kind
            if not run.own:
                wanted &= ~excepted.excepted(records, run.excepted)
            if run.guarded and run.lists[0] is not None and run.lists[0].role is Role.BLOCK:
                caught = among(keys(records), self._guard)
                if len(run.held_back):
                    caught |= np.isin(records["text"], run.held_back)
                caught &= (records["kind"] != KIND_FILE) & wanted
                self._hold_back(run, records[caught])
                wanted &= ~caught
            records = records if wanted.all() else records[wanted]
            self._count(run, self.taken[at], records)
            kept.append(records)
            behind.append(
                np.uint64(at) << np.uint64(40)
                | records["family"].astype(np.uint64) << np.uint64(24)
                | records["day"].astype(np.uint64) << np.uint64(8)
                | records["kind"].astype(np.uint64)
            )
        if not kept:
            return np.empty(0, dtype=RECORD), np.empty(0, dtype=np.uint64)
        records, origin = np.concatenate(kept), np.concatenate(behind)
        order = np.argsort(keys(records), kind="stable")
        # The text offset is no longer needed: it carries the place of `behind` through the last sorting step.
        records = records[order]
        records["text"] = np.arange(len(records), dtype=np.uint64)
        records = sort_records(records)
        return records, origin[order][records["text"].astype(np.int64)]

    def _count(self, run: Run, taken: Counter[str], records: Records) -> None:
        files = int(np.count_nonzero(records["kind"] == KIND_FILE))
        for target, count in zip(run.lists, (len(records) - files, files), strict=True):
            if target is not None and count:
                taken[target.name] += count

    def _hold_back(self, run: Run, caught: Records) -> None:
        if not len(caught):
            return
        self.held_back.counts[run.name] += len(caught)
        room = MAX_EXAMPLES - sum(each is run for each, _ in self.held_back.examples)
        self.held_back.examples += [(run, int(offset)) for offset in caught["text"][:room]]

    def _group(
        self, records: Records, behind: Behind
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint32]]:
        """Feed the lists, and give the distinct blocked hashes with the index of their details."""
        rows = hash_bytes(records)
        blocked = np.zeros(len(records), dtype=np.bool_)
        which_list = self._list_numbers[behind >> np.uint64(40) << np.uint64(1) | behind & np.uint64(0xFF)]
        for number, target in enumerate(self._targets):
            mark = which_list == number
            if not mark.any():
                continue
            self.list_for(target).add(rows[mark])
            if target.kind is SubjectKind.FILE:
                kinds = np.unique(records["digest"][mark])
                self.list_for(target).digests |= {DIGESTS[kind] for kind in kinds}
            derived = derived_list(target)
            if derived is not None:
                self.list_for(derived).add(rows[mark])
            if target.role is Role.BLOCK:
                blocked |= mark
        records, behind, rows = records[blocked], behind[blocked], rows[blocked]
        same = same_as_previous(records)
        starts = np.flatnonzero(~same)
        which = np.empty(len(starts), dtype=np.uint32)
        ends = np.append(starts[1:], len(records))
        single = ends - starts == 1
        distinct, inverse = np.unique(behind[starts[single]], return_inverse=True)
        lookup = np.array([self._details.one(int(each)) for each in distinct], dtype=np.uint32)
        which[single] = lookup[inverse] if len(lookup) else 0
        for at in np.flatnonzero(~single):
            group = behind[starts[at] : ends[at]].tolist()
            which[at] = self._details.many(tuple(sorted(set(group))))
        return rows[starts], which


def lists_for(target: ListName, dropped: Collection[str] = ()) -> tuple[ListName | None, ListName | None]:
    """Return where entries of each kind go from a source whose entries belong to `target`."""
    both = [list_of(target, kind) for kind in _KINDS]
    first, second = (None if one.name in dropped else one for one in both)
    return first, second
