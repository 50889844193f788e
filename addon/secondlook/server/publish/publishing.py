"""Publishing: all sources become the next generation, checked before anybody sees it.

A generation is built beside, and only takes its number and the `current` mark when
every list has its canary, nothing guarded is blocked, and no list has shrunk beyond the limit. Large
ones are built in a child process (`server.feeds.child`), so that the server goes on answering.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from secondlook.config.service import PublishSettings
from secondlook.core.digest import sha256
from secondlook.core.lists.name import ListName, Role
from secondlook.core.subject import SubjectKind
from secondlook.ground.errors import PatternError
from secondlook.ground.files import write_whole
from secondlook.server.publish.generation import (
    FORMAT,
    MANIFEST,
    SIGNATURE,
    Generation,
    PublishedList,
    digest_of,
)
from secondlook.server.publish.guard import Exceptions, guard_of, lines_of
from secondlook.server.publish.held_back import HELD_BACK, dump_held_back, held_back_now, read_held_back
from secondlook.server.publish.merge import Merge, Run, lists_for
from secondlook.server.publish.shrinking import check_shrink, switched_off, with_reduction
from secondlook.server.publish.signing import publisher_key
from secondlook.server.publish.table import map_file
from secondlook.server.store.feeds_off import lists_off
from secondlook.server.store.manual_entries import ManualEntry, manual_hash, read_manual
from secondlook.server.store.names import BASE_LISTS, derived_list, import_list
from secondlook.server.store.records import (
    KIND_FILE,
    KIND_URL,
    NO_TEXT,
    RECORD,
    Records,
    keys,
    open_run,
    sort_records,
)
from secondlook.server.store.store import HELD, ServerStore, Source, damaged_source, dump_json
from secondlook.suffix import load_suffixes
from secondlook.wire.signature import public_text, sign_list

FINDINGS = "findings"  # the source that entries made of agents' findings name


@dataclass(frozen=True, slots=True)
class PublishReport:
    """What was published: entries by list, and what the known-good guard held back (source, text)."""

    generation: int
    changed: bool
    entries: int
    lists: Mapping[str, int] = field(default_factory=dict)
    held_back: int = 0
    held_back_by: Mapping[str, int] = field(default_factory=dict)
    held_back_examples: Sequence[tuple[str, str]] = ()


def canary(target: ListName) -> bytes:
    """Return the full hash that a list always holds."""
    if target.kind is SubjectKind.FILE:
        return sha256(f"secondlook canary {target.name}".encode())
    return sha256(f"canary.{target.name}.secondlook.test/".encode())


def publish(
    store: ServerStore,
    *,
    now: float,
    settings: PublishSettings | None = None,
    accept_shrink: bool = False,
) -> PublishReport:
    """Make the next generation of everything in the store.

    Without any change the current generation stays. Raises PatternError, and leaves the current
    generation in place, when a check fails.
    """
    settings = settings or PublishSettings()
    with store.writing():
        number = store.current() or 0
        previous = Generation(store.generation_folder(number)) if number else None
        number = max([number, *store.generations()]) + 1
        folder = store.generations_folder / f".{number:06d}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            publication = _Publication(store, settings, folder, number, previous, now)
            report = publication.run(accept_shrink)
            held_back = held_back_now(
                read_held_back(store.root), report.held_back_by, iter(report.held_back_examples), now
            )
            write_whole(store.root / HELD_BACK, dump_held_back(held_back))
            return report
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class _Publication:
    """One run of publishing; see `publish`."""

    def __init__(
        self,
        store: ServerStore,
        settings: PublishSettings,
        folder: Path,
        number: int,
        previous: Generation | None,
        now: float,
    ) -> None:
        self._store = store
        self._settings = settings
        self._folder = folder
        self._number = number
        self._previous = previous
        self._now = now
        self._key = publisher_key(store.root, settings.key)
        self._suffixes = load_suffixes()
        files = (*settings.known_good, *store.guard_files())
        self._guard = guard_of(self._suffixes, tuple(lines_of(files)))
        self._manual = [entry for entry in read_manual(store) if entry.is_in_force(now)]
        self._sources = store.sources_in_force(now)
        self._gone = switched_off(
            previous,
            lists_off(store.root),
            {source.name: source.list for source in self._sources if source.kind == "feed"},
        )

    def run(self, accept_shrink: bool) -> PublishReport:
        runs = self._runs()
        guard = self._guard.root_keys
        good = [
            keys(np.asarray(run.records))
            for run in runs
            if run.lists[0] and run.lists[0].role is Role.KNOWN_GOOD
        ]
        if good:
            guard = np.sort(np.concatenate([guard, *good]))
        merge = Merge(self._folder, runs, guard)
        merge.run(Exceptions(self._manual))
        lists = self._published(merge)
        counts = {name: each.count for name, each in lists.items()}
        if self._previous is not None and not accept_shrink:
            check_shrink(self._previous, counts, self._gone, self._settings)
        examples = [(run.name, _line_at(run.texts, offset)) for run, offset in merge.held_back.examples]
        report = PublishReport(
            generation=self._number,
            changed=True,
            entries=merge.entries,
            lists=counts,
            held_back=merge.held_back.counts.total(),
            held_back_by=dict(merge.held_back.counts),
            held_back_examples=examples,
        )
        if self._unchanged(lists):
            assert self._previous is not None
            return PublishReport(**{**asdict(report), "generation": self._previous.number, "changed": False})
        self._write_manifest(lists, merge, report)
        self._check_canaries(merge)
        self._folder.rename(self._store.generation_folder(self._number))
        self._store.set_current(self._number)
        (self._store.root / HELD).unlink(missing_ok=True)
        self._store.drop_generations(self._settings.keep)
        return report

    def _runs(self) -> list[Run]:
        exceptions = Exceptions(self._manual)
        own, found = (self._manual_by_list(by_agent=by_agent) for by_agent in (False, True))
        runs = [_manual_run(target, entries) for target, entries in own.items()]
        runs += [self._finding_run(target, entries, exceptions) for target, entries in found.items()]
        runs += [_canary_run(target) for target in self._wanted_lists()]
        for source in reversed(self._sources):
            folder = self._store.source_folder(source.id)
            records, texts = _content_of(source, folder)
            target = import_list(source.list)
            guarded = not source.insist and target.role is Role.BLOCK
            runs.append(
                Run(
                    name=source.name,
                    records=records,
                    lists=lists_for(target, source.dropped),
                    families=source.families,
                    guarded=guarded,
                    excepted=exceptions.offsets(texts),
                    texts=texts,
                )
            )
            if guarded:
                runs[-1].held_back = self._guard.offsets(texts)
        return runs

    def _finding_run(self, target: ListName, entries: Sequence[ManualEntry], exceptions: Exceptions) -> Run:
        """Make a run of what agents found: guarded as a feed is, since no person here typed it."""
        lines = [f"{entry.text}\n".encode() for entry in entries]
        records = _manual_records(target, entries)
        records["text"] = [0, *accumulate(map(len, lines))][:-1]
        records["family"] = range(1, len(entries) + 1)
        texts = b"".join(lines)
        return Run(
            name=FINDINGS,
            records=sort_records(records),
            lists=_only(target),
            families=tuple(entry.reason or "" for entry in entries),
            excepted=exceptions.offsets(texts),
            held_back=self._guard.offsets(texts),
            texts=texts,
        )

    def _manual_by_list(self, *, by_agent: bool) -> dict[ListName, list[ManualEntry]]:
        by_list: dict[ListName, list[ManualEntry]] = {}
        for entry in self._manual:
            if entry.action == "list" and entry.list is not None and entry.by_agent is by_agent:
                by_list.setdefault(import_list(entry.list), []).append(entry)
        return by_list

    def _wanted_lists(self) -> list[ListName]:
        """Return every list to be published: the base ones, any with entries, any that was there before."""
        names = {*BASE_LISTS, *(name for source in self._sources for name in source.counts)}
        names |= {entry.list for entry in self._manual if entry.list}
        names |= {
            name for name in (self._previous.lists if self._previous else ()) if not name.endswith("-4b")
        }
        return [import_list(name) for name in sorted(names)]

    def _published(self, merge: Merge) -> dict[str, PublishedList]:
        """Describe and sign the lists."""
        published = {}
        for name, writer in sorted(merge.lists.items()):
            checksum = merge.checksums[name]
            before = self._previous.lists.get(name) if self._previous else None
            source = next(
                (t for t in self._wanted_lists() if derived_list(t) == writer.target), writer.target
            )
            entry = PublishedList(
                name=name,
                count=writer.count,
                checksum=checksum,
                since=before.since if before and before.checksum == checksum else self._number,
                canary=canary(source),
                complete=writer.target.role is not Role.QUERY,
                digests=tuple(sorted(writer.digests)) if writer.target.kind is SubjectKind.FILE else (),
            )
            signature = sign_list(self._key, name, entry.version, checksum)
            signed = replace(entry, signature=signature)
            published[name] = with_reduction(signed, before, self._gone, self._number, self._key)
        return published

    def _unchanged(self, lists: Mapping[str, PublishedList]) -> bool:
        if self._previous is None or lists.keys() != self._previous.lists.keys():
            return False
        if self._previous.manifest["key"] != public_text(self._key.public_key()):
            return False  # whoever pins the new one takes nothing that the old one has signed
        named = [each for each in self._previous.manifest["sources"] if each["kind"] == "feed"]
        feeds = {(each.name, each.list) for each in self._sources if each.kind == "feed"}
        if feeds != {(each["name"], each["list"]) for each in named}:
            return False  # though nothing came or went with one: it says who is in force
        if any(lists[name].checksum != before.checksum for name, before in self._previous.lists.items()):
            return False
        files = ("detail.u32", "details.bin")
        return all(
            _file_facts(self._folder / name) == self._previous.manifest["files"].get(name) for name in files
        )

    def _write_manifest(
        self, lists: Mapping[str, PublishedList], merge: Merge, report: PublishReport
    ) -> None:
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "number": self._number,
            "created_at": self._now,
            "entries": merge.entries,
            "key": public_text(self._key.public_key()),
            "lists": {name: entry.to_json() for name, entry in lists.items()},
            "files": {path.name: _file_facts(path) for path in sorted(self._folder.iterdir())},
            "sources": [
                _source_facts(source, merge.taken[len(merge.taken) - 1 - at])
                for at, source in enumerate(self._sources)
            ],
            "held_back": report.held_back,
        }
        data = dump_json(manifest)
        (self._folder / MANIFEST).write_bytes(data)
        (self._folder / SIGNATURE).write_bytes(self._key.sign(data))
        for path in self._folder.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())

    def _check_canaries(self, merge: Merge) -> None:
        """Open what was written and look: every canary blocks, nothing guarded does."""
        table = Generation(self._folder).table
        for writer in merge.lists.values():
            if writer.target.role is Role.BLOCK and not table.has(canary(writer.target)):
                raise PatternError(f"not published: {writer.target.name} does not hold its canary")
        insisted = {source.name for source in self._sources if source.insist} | {
            entry.text for entry in self._manual if entry.action == "list" and not entry.by_agent
        }
        if insisted:
            return
        for full_hash in table.held(self._guard.roots):
            text = self._guard.roots[full_hash]
            raise PatternError(f"not published: {text} is known to be good and would be blocked")


def _content_of(source: Source, folder: Path) -> tuple[Records, memoryview]:
    """Map a source's records and texts. Raises PatternError where some are missing."""
    try:
        records, texts = open_run(folder / "records"), map_file(folder / "texts")
    except (PatternError, OSError) as error:
        raise damaged_source(folder, str(error)) from error
    expected = sum(source.counts.values())
    if len(records) < expected:
        raise damaged_source(folder, f"{len(records)} of {expected} entries are left")
    if len(texts) and texts[-1] != ord("\n"):
        raise damaged_source(folder, "its texts are cut")
    return records, texts


def _line_at(texts: Any, offset: int) -> str:
    """Return the entry that stands at an offset of a source's texts."""
    end = offset + 1
    while texts[end] != ord("\n"):
        end += 1
    return bytes(texts[offset:end]).decode("utf-8", "replace")


def _manual_run(target: ListName, entries: Sequence[ManualEntry]) -> Run:
    records = sort_records(_manual_records(target, entries))
    return Run("own", records, _only(target), guarded=False, own=True)


def _manual_records(target: ListName, entries: Sequence[ManualEntry]) -> Records:
    kind = KIND_FILE if target.kind is SubjectKind.FILE else KIND_URL
    digests = {"sha1": 1, "md5": 2}
    rows = [
        (
            manual_hash(entry.scope, entry.text),
            NO_TEXT,
            0,
            int(entry.at // 86_400),
            0,
            kind,
            digests.get(entry.text.partition(":")[0], 0),
        )
        for entry in entries
    ]
    return np.array([(np.void(row[0]), *row[1:]) for row in rows], dtype=RECORD)


def _canary_run(target: ListName) -> Run:
    kind = KIND_FILE if target.kind is SubjectKind.FILE else KIND_URL
    records = np.array([(np.void(canary(target)), NO_TEXT, 0, 0, 0, kind, 0)], dtype=RECORD)
    return Run("canary", records, _only(target), guarded=False)


def _only(target: ListName) -> tuple[ListName | None, ListName | None]:
    return (None, target) if target.kind is SubjectKind.FILE else (target, None)


def _file_facts(path: Path) -> dict[str, Any]:
    return {"size": path.stat().st_size, "sha256": digest_of(path)}


def _source_facts(source: Source, counts: Mapping[str, int]) -> dict[str, Any]:
    """Return what a manifest has of a source; `counts` are the entries that went into each list."""
    return {
        "id": source.id,
        "name": source.name,
        "kind": source.kind,
        "list": source.list,
        "added_at": source.added_at,
        "counts": dict(counts),
        "licence": source.licence,
    }
