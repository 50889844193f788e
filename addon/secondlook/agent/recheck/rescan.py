"""Files are looked into again: those that were flagged for want of an engine, and those let through before.

```
flagged, and servers have nothing against it ─► engines found what? ─┬─ bad ───────────► confirmed
                                                                    ├─ all: nothing ──► cleared
                                                                    └─ not all have looked
     (before it was flagged, by other signatures: is no look)           │
     found in a download folder ─► they look now ─► as above ◄──────────┤
     not found, or an engine is away ─► flagged still ◄─────────────────┘

bad: blocked by the policy. What is milder, listed or found, counts once everybody has looked.

another version of an engine ─► files of the history that are found ─► bad ─► late verdict
```

One file at a time, with rests: traffic and the second look of everything else go first. Only bytes with the
SHA-256 of what was let through are looked into, from a descriptor that stays open.
"""

import asyncio
import json
import logging
import os
from collections.abc import Mapping, Sequence
from itertools import batched
from pathlib import Path

from secondlook.agent import metrics
from secondlook.agent.actions.enforcement import Enforcement
from secondlook.agent.actions.file_search import FileIndex, index_files
from secondlook.agent.check.content import SCAN
from secondlook.agent.check.evidence import from_scan, is_listed, scan_steps, unverifiable
from secondlook.agent.ports import FileScanner, History
from secondlook.core.event import ConfirmedEntry, FlagEntry, QueueEntry
from secondlook.core.scan import EngineReport, fault_of, worst
from secondlook.core.subject import FileSubject, SubjectKind
from secondlook.core.verdict import Evidence, SubjectClass
from secondlook.ground.clock import Clock
from secondlook.ground.files import write_whole
from secondlook.ground.json_text import read_json
from secondlook.ground.lanes import FILES, STATE

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 30.0  # whether an engine has another version
MOST_AT_ONCE = 200  # files of one pass over the queue; the others wait for the next
_RECALLED_AT_ONCE = 500
_TRIES = 3  # of one pass over the history in which engines could not look into all that was found
_REST = 1.0  # after a file of the history, in times that it took


class Rescan:
    """Has files looked into again; they may lie in `folders`, `mark` notes what has seen the history."""

    def __init__(
        self,
        scanner: FileScanner,
        history: History,
        enforcement: Enforcement,
        clock: Clock,
        *,
        folders: Sequence[Path],
        mark: Path,
        history_s: float,
    ) -> None:
        self._scanner = scanner
        self._history = history
        self._enforcement = enforcement
        self._clock = clock
        self._folders = folders
        self._mark = mark
        self._history_s = history_s
        self._not_looked = 0  # files of the last pass over the history

    async def complete(self, entries: Sequence[QueueEntry], evidences: Sequence[Evidence]) -> list[Evidence]:
        """Put what engines report beside what servers report about flagged files."""
        completed = list(evidences)
        if not self._scanner.wanted:
            return completed
        index: FileIndex | None = None
        versions: Mapping[str, str] | None = None
        looked = 0
        for number, (entry, evidence) in enumerate(zip(entries, evidences, strict=True)):
            if entry.kind is not SubjectKind.FILE or self._settles(evidence):
                continue
            if versions is None:
                versions = await self._scanner.versions()
            known = _counting(await self._scanner.recall(entry.identity), versions, entry)
            reports: Sequence[EngineReport] = list(known.values())
            missing = [engine for engine in self._scanner.wanted if engine not in known]
            if missing and not self._settles(self._found(entry.identity, reports)):
                if looked >= MOST_AT_ONCE:
                    completed[number] = _open(evidence, "it waits for its turn")
                    continue
                looked += 1
                if index is None:
                    index = await FILES.run(index_files, self._folders)
                found = await self._scan_found(index, entry.identity, entry.size)
                if found is None:
                    names = " and ".join(missing)
                    completed[number] = _open(
                        evidence, f"{names} could not look, and it is in no download folder"
                    )
                    continue
                reports = found
            completed[number] = self._judged(entry.identity, evidence, reports)
        return completed

    async def still_found(self, entry: ConfirmedEntry) -> bool | None:
        """Return whether the engine that confirmed a file still finds something; None: it gave no answer."""
        known = (await self._scanner.recall(entry.identity)).get(entry.source or "")
        return None if known is None else bool(known.detections)

    async def run(self) -> None:
        """Look into the history again with each new version, until cancelled."""
        if not self._scanner.wanted or self._history_s <= 0:
            return
        tries: dict[str, int] = {}
        while True:
            try:
                versions = await self._wanted_versions()
                if versions and versions != await STATE.run(self._scanned_with):
                    await self.look_back()
                    tried = json.dumps(dict(versions))
                    tries = {tried: tries.get(tried, 0) + 1}
                    if not self._not_looked or tries[tried] >= _TRIES:
                        await STATE.run(self._note, versions)
            except Exception:
                metrics.INTERNAL_ERRORS.inc()
                logger.exception("looking into files again failed; tried again later")
            await asyncio.sleep(LOOK_EVERY_S)

    async def look_back(self) -> int:
        """Look into every file of the history that is found. Return how many late verdicts that gave."""
        index = await FILES.run(index_files, self._folders)
        count = self._not_looked = 0
        if not index.paths:
            return 0
        async for batch in self._history.remembered(since=self._clock.now() - self._history_s):
            files = [entry.identity for entry in batch if entry.kind is SubjectKind.FILE]
            for part in batched(files, _RECALLED_AT_ONCE):
                for entry in await self._history.recall(part):
                    count += await self._look_back_at(index, entry)
        return count

    async def _look_back_at(self, index: FileIndex, entry: FlagEntry) -> bool:
        if entry.size not in index.paths or entry.cls is not SubjectClass.DOWNLOAD:
            return False
        started = self._clock.monotonic()
        reports = await self._scan_found(index, entry.identity, entry.size)
        await asyncio.sleep((self._clock.monotonic() - started) * _REST)
        if reports is None:
            return False
        evidence = self._found(entry.identity, reports)
        if not self._settles(evidence) and self._fault(reports) is not None:
            self._not_looked += 1
            return False
        if evidence is None:
            return False
        return (await self._enforcement.late({entry.identity: evidence})).found > 0

    async def _scan_found(
        self, index: FileIndex, digest: bytes, size: int | None
    ) -> Sequence[EngineReport] | None:
        """Have a file looked into, if it is found; else None."""
        candidate = await FILES.run(index.find, digest, size)
        if candidate is None:
            return None
        try:
            with os.fdopen(os.dup(candidate.fd), "rb") as file:
                return await self._scanner.scan(file, digest)
        finally:
            candidate.close()

    def _judged(self, digest: bytes, evidence: Evidence, reports: Sequence[EngineReport]) -> Evidence:
        """Join the findings of servers and engines as a check does (`check/content.py`)."""
        found = self._found(digest, reports)
        if found is not None and self._settles(found):
            return found
        fault = self._fault(reports)
        if fault is not None:
            return _open(evidence, fault)
        if found is None or evidence.unverifiable is not None or is_listed(evidence):
            return evidence
        return found

    def _settles(self, evidence: Evidence | None) -> bool:
        """Return whether a finding is blocked: what is only reported ends no wait for who has not looked."""
        return evidence is not None and is_listed(evidence) and self._enforcement.blocks(evidence)

    def _fault(self, reports: Sequence[EngineReport]) -> str | None:
        """Return which engines that are set gave no answer, and why."""
        return fault_of(report for report in reports if report.engine in self._scanner.wanted)

    def _found(self, digest: bytes, reports: Sequence[EngineReport]) -> Evidence | None:
        found = worst(reports)
        if found is None:
            return None
        now = self._clock.now()
        return from_scan(*found, FileSubject((digest,)), scan_steps(reports, now), now)

    async def _wanted_versions(self) -> Mapping[str, str]:
        """Return the versions of all engines that are set; nothing while one of them is away."""
        versions = await self._scanner.versions()
        wanted = {engine: versions[engine] for engine in self._scanner.wanted if engine in versions}
        return wanted if len(wanted) == len(self._scanner.wanted) else {}

    def _scanned_with(self) -> object:
        try:
            return read_json(self._mark.read_bytes())
        except (OSError, ValueError):
            return None

    def _note(self, versions: Mapping[str, str]) -> None:
        self._mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(self._mark, json.dumps(dict(versions)).encode())


def _counting(
    known: Mapping[str, EngineReport], versions: Mapping[str, str], entry: QueueEntry
) -> Mapping[str, EngineReport]:
    """Keep of what engines reported before what counts for a flagged file.

    That they found something counts for ever; that they found nothing only if their signatures are those of
    today, or it was reported since the file was flagged: then somebody had no answer.
    """
    return {
        engine: report
        for engine, report in known.items()
        if report.detections
        or report.version == versions.get(engine)
        or (report.kept_at is not None and report.kept_at > entry.last_seen)
    }


def _open(evidence: Evidence, why: str) -> Evidence:
    """Leave open what an engine left open, with what servers left open."""
    reason = f"{SCAN}{why}"
    if evidence.unverifiable is not None:
        reason = f"{evidence.unverifiable}; {reason}"
    return unverifiable(reason, ())
