"""Importing: a file or a feed's bytes become a source, streamed, counted, in bounded memory."""

import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import rmtree

import numpy as np

from secondlook.core.lists.name import ListName, Role
from secondlook.core.subject import SubjectKind
from secondlook.core.url.canonical import url_subject
from secondlook.core.url.expression import Suffixes
from secondlook.core.verdict import Risk, Threat
from secondlook.feeds.entries.entry import Entry, EntryKind, FeedRefused, Reject, RejectClass
from secondlook.feeds.entries.guard import Exceptions
from secondlook.feeds.entries.inexact import InexactExceptions
from secondlook.feeds.reader import Reading, read
from secondlook.ground.files import replacing
from secondlook.server.store.names import block_list, import_list, list_of
from secondlook.server.store.records import (
    DIGESTS,
    KIND_FILE,
    KIND_URL,
    NO_TEXT,
    RunWriter,
    keys,
    open_run,
    sorted_keys,
    write_rows,
)
from secondlook.server.store.store import ServerStore, Source, SourceKind
from secondlook.suffix import load_suffixes

CHUNK_BYTES = 1 << 20
BATCH_ENTRIES = 10_000
DAY_S = 86_400
MAX_FAMILIES = 65_535
_RECORD = struct.Struct("<32sQHHHBB")
_FILE_DIGESTS = {EntryKind.SHA256: 0, EntryKind.SHA1: 1, EntryKind.MD5: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """What became of one file: counts by list, rejects by class, the first rejects with their lines.

    `refused` is the reason why nothing of it was taken.
    """

    name: str
    format: str
    accepted: int = 0
    distinct: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    lists: Mapping[str, int] = field(default_factory=dict)
    rejects: Sequence[Reject] = ()
    skipped: Sequence[tuple[str, str]] = ()  # members of an archive that were left out, and why
    refused: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of all files of one import."""

    files: tuple[FileReport, ...]

    @property
    def accepted(self) -> int:
        """How many entries were taken, repeats included."""
        return sum(file.accepted for file in self.files)

    @property
    def rejected(self) -> int:
        """How many lines gave no entry."""
        return sum(sum(file.rejected.values()) for file in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What is recorded about a source beside its entries."""

    name: str
    kind: SourceKind
    target: ListName
    who: str
    now: float
    format: str = "auto"
    insist: bool = False
    licence: str | None = None
    url: str | None = None
    expires_at: float | None = None
    min_confidence: int | None = None


def choose_list(list_name: str | None, threat: Threat, risk: Risk) -> ListName:
    """Return the list that an import goes to: the named one, else the URL list of threat and risk."""
    return import_list(list_name) if list_name else block_list(SubjectKind.URL, threat, risk)


def import_files(
    store: ServerStore,
    paths: Iterable[Path],
    *,
    who: str,
    now: float,
    list_name: str | None = None,
    threat: Threat = Threat.MALWARE,
    risk: Risk = Risk.DANGEROUS,
    fmt: str = "auto",
    replace_list: bool = False,
    insist: bool = False,
    progress: Callable[[int], None] | None = None,
) -> ImportReport:
    """Take files into the store, each a source of its own; `progress` hears how many more bytes were read.

    With `replace_list` the files become the whole of the named list, or of every list they go to where none
    is named; files without an entry for the named list are refused then. Raises ValueError for an unknown
    list, OSError for a file that cannot be read.
    """
    target = choose_list(list_name, threat, risk)
    reports = []
    with store.writing():
        before = store.sources()
        for path in paths:
            origin = Origin(
                name=path.name, kind="import", target=target, who=who, now=now, format=fmt, insist=insist
            )
            reports.append(take_in(store, file_chunks(path, progress), origin))
        if replace_list and not any(report.refused for report in reports):
            if list_name and not any(target.name in report.lists for report in reports):
                reports = [_taken_back(store, report, target) for report in reports]
            else:
                _replace_lists(store, before, reports, named=target.name if list_name else None)
    return ImportReport(tuple(reports))


def _taken_back(store: ServerStore, report: FileReport, target: ListName) -> FileReport:
    """Forget what was just taken in: the list that it should become would be left empty."""
    if report.source is not None:
        store.forget_source(report.source)
    lists = " and ".join(report.lists) or "no list"
    refusal = f"nothing for {target.name}: its entries go to {lists}, and --replace would leave it empty"
    return FileReport(name=report.name, format=report.format, refused=refusal, skipped=report.skipped)


def _replace_lists(
    store: ServerStore, before: Iterable[Source], reports: Sequence[FileReport], named: str | None
) -> None:
    """Take what is replaced away from earlier sources.

    Entries of the other kind replace those that came under the same file's name, and nobody else's.
    """
    filled = {name for report in reports for name in report.lists}
    files = {report.name for report in reports}
    for source in before:
        drop_lists(store, [source], filled if named is None or source.name in files else {named})


def file_chunks(path: Path, progress: Callable[[int], None] | None = None) -> Iterator[bytes]:
    """Read a file in pieces."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
            if progress:
                progress(len(chunk))


def drop_lists(store: ServerStore, sources: Iterable[Source], names: set[str]) -> None:
    """Take lists away from earlier sources; one that is left with none is forgotten."""
    for source in sources:
        dropped = tuple(sorted({*source.dropped, *(names & source.counts.keys())}))
        if source.counts.keys() <= set(dropped):
            store.forget_source(source.id)
        elif dropped != source.dropped:
            store.change_source(replace(source, dropped=dropped))


def take_in(store: ServerStore, chunks: Iterable[bytes], origin: Origin) -> FileReport:
    """Make a source of a feed's bytes; the caller holds the writer's lock.

    A refused feed leaves nothing behind but the report.
    """
    suffixes = load_suffixes()
    hashing = _Hashing(chunks)
    reading = read(
        hashing,
        suffixes=suffixes,
        name_hint=origin.name,
        format=origin.format,
        known_good=origin.target.role is Role.KNOWN_GOOD,
        min_confidence=origin.min_confidence,
    )
    source_id, folder = store.new_source(origin.name)
    form = origin.format
    try:
        written = _Writing(folder, origin)
        written.take(reading)
        form = reading.format.value if reading.format else form
        tally = reading.tally
        counts = written.finish(suffixes, tally.inexact)
        tally.demand_something(form, excepted=written.excepted, left=sum(counts.values()))
    except FeedRefused as refusal:
        rmtree(folder, ignore_errors=True)
        return FileReport(name=origin.name, format=form, refused=str(refusal), skipped=tuple(reading.skipped))
    except BaseException:
        rmtree(folder, ignore_errors=True)
        raise
    rejected = {cls.value: count for cls, count in tally.rejected.items()}
    if written.excepted:
        rejected[RejectClass.EXCEPTED.value] = written.excepted
    source = Source(
        id=source_id,
        name=origin.name,
        kind=origin.kind,
        list=origin.target.name,
        format=form,
        who=origin.who,
        added_at=origin.now,
        sha256=hashing.hexdigest(),
        counts=counts,
        rejected=rejected,
        families=tuple(written.families),
        expires_at=origin.expires_at,
        insist=origin.insist,
        licence=origin.licence,
        url=origin.url,
        brought=sum(counts.values()),
    )
    store.keep_source(source, folder)
    return _report(source, reading, written.excepted)


def _report(source: Source, reading: Reading, excepted: int) -> FileReport:
    tally = reading.tally
    return FileReport(
        name=source.name,
        format=source.format,
        accepted=sum(tally.accepted.values()) + tally.exceptions - excepted,
        distinct=sum(source.counts.values()),
        rejected=source.rejected,
        lists=source.counts,
        rejects=tuple(tally.rejects),
        skipped=tuple(reading.skipped),
        source=source.id,
    )


class _Hashing:
    """Passes chunks on and takes their SHA-256."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._sha256 = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._sha256.update(chunk)
            yield chunk

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()


class _Writing:
    """Writes entries as records and lines of text."""

    def __init__(self, folder: Path, origin: Origin) -> None:
        self._folder = folder
        self._origin = origin
        self._runs = RunWriter(folder)
        self._texts = (folder / "texts").open("wb")
        self._offset = 0
        self.families: dict[str, int] = {}
        self._exceptions: list[Entry] = []
        self.excepted = 0  # distinct entries that the feed's own exceptions hold back

    def take(self, reading: Reading) -> None:
        """Write every entry of a reading."""
        batch: list[Entry] = []
        with self._texts:
            for entry in reading:
                lasts = entry.expires is None and entry.valid_from is None
                if not lasts and not self._is_in_force(entry):
                    reading.tally.take_back(entry, RejectClass.INACTIVE)
                elif entry.exception:
                    self._exceptions.append(entry)
                else:
                    batch.append(entry)
                    if len(batch) >= BATCH_ENTRIES:
                        self._write(batch)
                        batch.clear()
            self._write(batch)

    def _is_in_force(self, entry: Entry) -> bool:
        is_over = entry.expires is not None and entry.expires <= self._origin.now
        return not is_over and not (entry.valid_from is not None and entry.valid_from > self._origin.now)

    def _write(self, entries: Iterable[Entry]) -> None:
        today = int(self._origin.now // DAY_S)
        records: list[bytes] = []
        lines: list[bytes] = []
        offset = self._offset
        for full_hash, text, kind, _, _, family_name, first_seen, _, _, _ in entries:
            place, number, digest = offset, KIND_URL, 0
            if kind is EntryKind.HOST:
                line = f"{text}/\n".encode()
            elif kind is EntryKind.URL:
                line = f"{text}\n".encode()
            else:
                number, digest = KIND_FILE, _FILE_DIGESTS[kind]
                line = f"{DIGESTS[digest]}:{text}\n".encode() if digest else b""
                place = offset if digest else NO_TEXT
            lines.append(line)
            offset += len(line)
            family = self._family(family_name) if family_name else 0
            day = min(int(first_seen // DAY_S), today) if first_seen and first_seen > 0 else 0
            records.append(_RECORD.pack(full_hash, place, family, day, today, number, digest))
        self._offset = offset
        self._runs.add(b"".join(records))
        self._texts.write(b"".join(lines))

    def _family(self, name: str) -> int:
        number = self.families.get(name)
        if number is None:
            if len(self.families) >= MAX_FAMILIES:
                return 0
            number = self.families[name] = len(self.families) + 1
        return number

    def finish(self, suffixes: Suffixes, inexact: InexactExceptions) -> dict[str, int]:
        """Sort and merge; returns the distinct entries by list."""
        path = self._folder / "records"
        self._runs.finish(path)
        if (self._exceptions or len(inexact)) and path.stat().st_size:
            self._except(path, suffixes, inexact)
        kinds = np.bincount(open_run(path)["kind"], minlength=2) if path.stat().st_size else (0, 0)
        counts = {}
        for number, kind in ((KIND_URL, SubjectKind.URL), (KIND_FILE, SubjectKind.FILE)):
            if kinds[number]:
                counts[list_of(self._origin.target, kind).name] = int(kinds[number])
        return counts

    def _except(self, path: Path, suffixes: Suffixes, inexact: InexactExceptions) -> None:
        """Take out what the feed's own exceptions allow, and everything that covers one."""
        exceptions = Exceptions()
        exact: list[bytes] = []
        for entry in self._exceptions:
            exact.append(entry.hash)
            if entry.kind not in _FILE_DIGESTS:
                exceptions.add(entry)
        for url in inexact.covered:
            exact += url_subject(url, suffixes).hashes
        records = open_run(path)
        gone = np.isin(keys(records), sorted_keys(exact))
        for limited in (exceptions.limited(self._lines()), inexact.limited(self._lines)):
            offsets = np.fromiter(limited, dtype=np.uint64)
            gone |= np.isin(records["text"], offsets) & (records["kind"] == KIND_URL)
        self.excepted = int(gone.sum())
        with replacing(path, synced=False) as file:
            write_rows(file, records[~gone])

    def _lines(self) -> Iterator[bytes]:
        with (self._folder / "texts").open("rb") as file:
            yield from file
