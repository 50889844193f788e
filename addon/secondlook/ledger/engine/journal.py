"""The flags journal: where a flag goes when the ledger cannot take it in time.

A file of fixed size, filled with zeros when it is made, so that a full disk does not matter later: an
append overwrites bytes that the file already owns.

```
header   8 bytes magic · u64 generation · zeros to 64
record   4 bytes mark · u32 length · u64 generation · u32 CRC-32 of generation and payload · u32 zero
         payload: JSON (UTF-8) · zeros to a multiple of 8
```

The records of the present generation, in order, are the content. Emptying the journal writes generation +
1 into the header: one write of 8 bytes, after which the old records no longer count (`scrub` overwrites
them, when a client is erased). A record that was torn by a crash fails its CRC; it was never acknowledged,
and the next append begins where it began. A damaged record in the middle is stepped over: reading goes on
at the next mark.

Several processes share the file: `flock` on it guards every append and emptying. Only one at a time
replays (`flock` on `flags.journal.replay`).
"""

import fcntl
import json
import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final

from secondlook.ground.errors import LedgerError
from secondlook.ground.files import sync_folder
from secondlook.ground.json_text import read_json
from secondlook.ground.lock import take_lock
from secondlook.ledger.engine.wakeup import Slot, Waiting, answer

MAGIC: Final = b"SL-FLAG1"
MARK: Final = b"\xf1AG\x1e"
_HEADER: Final = 64
_RECORD: Final = struct.Struct("<4sIQII")
_GENERATION: Final = struct.Struct("<Q")
RECORD_LIMIT: Final = 65_536  # bytes of one payload
USUAL_BYTES: Final = 2_048  # of a record, more or less
SIZE_BYTES: Final = 16 << 20
_ROUND: Final = 8
_GROUP: Final = 512
_LONGEST: Final = _RECORD.size + RECORD_LIMIT + _ROUND
_WINDOW: Final = 4 * _LONGEST  # what is read at once

type Record = dict[str, Any]


class Journal:
    """One process's handle on the journal; every method may be called from any thread."""

    def __init__(self, path: Path, *, size_bytes: int = SIZE_BYTES) -> None:
        """Open or make the file; raises LedgerError when it can be neither opened nor made."""
        self.path = path
        self._lock = threading.Lock()
        self._end = _HEADER
        self._generation = 0
        self._waiting: Waiting[Callable[[], Record]] = Waiting()
        try:
            self._file = self._open(size_bytes)
        except OSError as error:
            raise LedgerError(f"flags journal {path}: {error.strerror or error}") from error
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="flags-journal")

    def _open(self, size_bytes: int) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with _locked(file):
                head = os.pread(file, _HEADER, 0)
                if head[:8] != MAGIC:
                    if head.strip(b"\0"):
                        self._set_aside(file)
                    _fill(file, 0, size_bytes)
                    os.pwrite(file, MAGIC + _GENERATION.pack(1), 0)
                    os.fsync(file)
                    sync_folder(self.path.parent)
                elif (present := os.fstat(file).st_size) < size_bytes:
                    _fill(file, present, size_bytes)
                    os.fsync(file)
        except BaseException:
            os.close(file)
            raise
        return file

    def _set_aside(self, file: int) -> None:
        """Keep a file that is no journal, whatever it is, under another name."""
        copy = self.path.with_name(f"{self.path.name}.damaged")
        with open(copy, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as out:
            at = 0
            while block := os.pread(file, 1 << 20, at):
                out.write(block)
                at += len(block)

    def submit(self, make: Callable[[], Record]) -> Slot[Callable[[], Record]]:
        """As `append` of what `make` gives, in the journal's own thread (called on an event loop).

        What waits there is written with one sync.
        """
        slot = self._waiting.put(make)
        self._thread.submit(self._drain)
        return slot

    def _drain(self) -> None:
        batch = self._waiting.take(_GROUP)
        if not batch:
            return
        try:
            self.append(*[slot.value() for slot in batch])
        except LedgerError as error:
            if len(batch) == 1:
                answer(batch, error)
                return
            for slot in batch:  # one may be too long, the last may not fit
                try:
                    self.append(slot.value())
                except LedgerError as fault:
                    answer([slot], fault)
                else:
                    answer([slot])
        else:
            answer(batch)
        if self._waiting:
            self._drain()

    def append(self, *records: Record) -> None:
        """Write records and wait until they are on the disk; raises LedgerError (full, failed)."""
        payloads = [json.dumps(one, separators=(",", ":"), ensure_ascii=True).encode() for one in records]
        if (longest := max(map(len, payloads))) > RECORD_LIMIT:
            raise LedgerError(f"flags journal {self.path}: a record of {longest} bytes is too long")
        try:
            with self._lock, _locked(self._file):
                self._find_end()
                data = b"".join(self._framed(payload) for payload in payloads)
                if self._end + len(data) > os.fstat(self._file).st_size:
                    raise LedgerError(f"flags journal {self.path}: full")
                if os.pwrite(self._file, data, self._end) != len(data):
                    raise LedgerError(f"flags journal {self.path}: a record was written in part only")
                os.fdatasync(self._file)
                self._end += len(data)
        except OSError as error:
            raise LedgerError(f"flags journal {self.path}: {error.strerror or error}") from error

    def _framed(self, payload: bytes) -> bytes:
        crc = zlib.crc32(payload, zlib.crc32(_GENERATION.pack(self._generation)))
        return (
            _RECORD.pack(MARK, len(payload), self._generation, crc, 0)
            + payload
            + bytes(-len(payload) % _ROUND)
        )

    def waiting(self) -> bool:
        """Return whether there is anything to replay; cheap."""
        with self._lock, _locked(self._file):
            self._find_end()
            return self._end > _HEADER

    def has_room(self) -> bool:
        """Return whether a usual record would fit; cheap."""
        with self._lock, _locked(self._file):
            self._find_end()
            return self._end + USUAL_BYTES <= os.fstat(self._file).st_size

    @property
    def size_bytes(self) -> int:
        """The size of the file."""
        return os.fstat(self._file).st_size

    def records(self) -> list[Record]:
        """Read all that waits to be replayed, oldest first."""
        with self._lock, _locked(self._file):
            return [record for _, record in self._read(_HEADER, past_damage=True)]

    def replay(self, take: Callable[[list[Record]], None]) -> int:
        """Hand all records to `take`, some hundred at a time, and empty the journal when it took the last.

        Returns how many there were, 0 when another process replays. `take` must be able to take a record
        twice (a crash may fall between it and the emptying). What is appended meanwhile is handed over too.
        Errors of `take` pass through and nothing is emptied.
        """
        count = 0
        with self.replaying() as alone:
            for group in self._groups() if alone else ():
                take(group)
                count += len(group)
        return count

    def _groups(self) -> Iterator[list[Record]]:
        """Yield all records in groups; who asks on after the last has the journal emptied."""
        at = _HEADER
        while True:
            with self._lock, _locked(self._file):
                group = list(islice(self._read(at, past_damage=True), _GROUP))
                if not group:
                    if at > _HEADER:
                        self._empty()
                    return
            yield [record for _, record in group]
            at = group[-1][0]

    @contextmanager
    def replaying(self) -> Iterator[bool]:
        """Keep other processes from replaying; gives False where one of them does."""
        try:
            gate = take_lock(Path(f"{self.path}.replay"), wait=False)
        except BlockingIOError:
            yield False
            return
        except OSError as error:
            raise LedgerError(f"flags journal {self.path}: {error.strerror or error}") from error
        try:
            yield True
        finally:
            os.close(gate)

    def scrub(self) -> None:
        """Overwrite what is left of records that no longer count; raises LedgerError."""
        try:
            with self._lock, _locked(self._file):
                self._find_end()
                _fill(self._file, self._end, os.fstat(self._file).st_size)
                os.fdatasync(self._file)
        except OSError as error:
            raise LedgerError(f"flags journal {self.path}: {error.strerror or error}") from error

    def close(self) -> None:
        """Write what waits and close the file."""
        self._thread.shutdown(wait=True)
        with self._lock:
            os.close(self._file)

    def _empty(self) -> None:
        self._generation += 1
        os.pwrite(self._file, _GENERATION.pack(self._generation), len(MAGIC))
        os.fdatasync(self._file)
        self._end = _HEADER

    def _find_end(self) -> None:
        """Bring `_generation` and `_end` up to date with what other processes did.

        Only the first look goes through the whole file: what was damaged before this process began is stepped
        over then. What others append meanwhile stands in one piece.
        """
        first = not self._generation
        generation = self._read_generation()
        if generation != self._generation:
            self._generation, self._end = generation, _HEADER
        for end, _ in self._read(self._end, past_damage=first):
            self._end = end

    def _read_generation(self) -> int:
        head = os.pread(self._file, len(MAGIC) + _GENERATION.size, 0)
        return int(_GENERATION.unpack_from(head, len(MAGIC))[0])

    def _read(self, start: int, *, past_damage: bool) -> Iterator[tuple[int, Record]]:
        """Yield the valid records of the present generation from `start` on, each with its end.

        It ends where there is none, or steps over that and goes on at the next mark.
        """
        generation = self._read_generation()
        size = os.fstat(self._file).st_size
        data, origin, at = b"", start, start  # what was read last, where it begins, and where a record may
        while at < size:
            if at + _LONGEST > origin + len(data) < size:
                data, origin = os.pread(self._file, _WINDOW, at), at
            found = _record_at(data, at - origin, generation)
            if found is not None:
                length, record = found
                at += length
                yield at, record
            elif past_damage:
                mark = data.find(MARK, at - origin + 1)
                at = origin + mark if mark >= 0 else max(at + 1, origin + len(data) - len(MARK) + 1)
            else:
                return


def _record_at(data: bytes, at: int, generation: int) -> tuple[int, Record] | None:
    """Read the record at an offset: its whole length and content, or None when there is none."""
    if at + _RECORD.size > len(data):
        return None
    mark, length, of, crc, _ = _RECORD.unpack_from(data, at)
    begin = at + _RECORD.size
    if mark != MARK or of != generation or length > RECORD_LIMIT or begin + length > len(data):
        return None
    payload = data[begin : begin + length]
    if zlib.crc32(payload, zlib.crc32(_GENERATION.pack(generation))) != crc:
        return None
    record = read_json(payload)
    return _RECORD.size + length + (-length % _ROUND), record


def _fill(file: int, start: int, end: int) -> None:
    """Write zeros, so that the blocks really belong to the file."""
    block = bytes(1 << 20)
    at = start
    while at < end:
        written = os.pwrite(file, block[: min(len(block), end - at)], at)
        at += written


@contextmanager
def _locked(file: int) -> Iterator[None]:
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
