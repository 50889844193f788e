"""Taking a bad file out of the way: found by size and hash, moved by its own inode, kept for return.

```
search   folders, by size, then by SHA-256 of the open descriptor (O_NOFOLLOW, regular files only)
record   written as `moving` before anything is touched
move     plain   rename to a private name ─► device and inode compared ─► put back if they differ
         copied  (other file system, further hard links, or a writer) verified copy, then the name removed
settle   mode 0600, name = SHA-256, record `held`; a crash in between is settled at the next start
```

Proxies may share a ledger, never a folder: a file is dealt with only by the one that holds it.

Nothing follows a symbolic link, nothing overwrites, and what cannot be done is reported, not hidden:
docs/quarantine.md lists each case. Everything here blocks, except `Quarantine` itself.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from secondlook.agent.actions.enforcement import FileOutcome
from secondlook.agent.actions.file_move import (
    MoveError,
    delete_stored,
    discard,
    finish_move,
    put_away,
    rename_in_place,
    restore_stored,
)
from secondlook.agent.actions.file_search import Candidate, reason_of, search
from secondlook.agent.ports import QuarantineIndex, RuleStore
from secondlook.core.event import ConfirmedEntry, QuarantineRecord
from secondlook.core.rules.rule import Rule, Scope
from secondlook.ground.clock import Clock
from secondlook.ground.errors import LedgerError, SecondLookError
from secondlook.ground.lanes import FILES
from secondlook.ground.ulid import make_id

logger = logging.getLogger(__name__)

MOVING, HELD, RESTORED, DELETED, FAILED = "moving", "held", "restored", "deleted", "failed"
QUARANTINE, DELETE, RENAME, PASS = "quarantine", "delete", "rename", "pass"


class QuarantineError(SecondLookError):
    """A quarantined file cannot be restored or deleted; the message is why."""


class Quarantine:
    """Carries out `actions.file` on files in the download folders, and restores them.

    `folder` is STATE/quarantine; `action` and `fallback` are quarantine, delete, rename or pass. Without a
    `fallback` a file that cannot be taken stays where it is. `proxy` is what this one is called;
    `shared`: others keep records of their files in the same index.
    """

    def __init__(
        self,
        folder: Path,
        index: QuarantineIndex,
        rules: RuleStore,
        clock: Clock,
        *,
        folders: Sequence[Path],
        action: str = QUARANTINE,
        fallback: str | None = None,
        proxy: str | None = None,
        shared: bool = False,
    ) -> None:
        self._folder = folder
        self._index = index
        self._rules = rules
        self._clock = clock
        self._folders = tuple(folders)
        self._action = action
        self._fallback = fallback
        self._proxy = proxy
        self._shared_index = shared
        self._began = clock.now()

    async def act(self, entry: ConfirmedEntry) -> list[FileOutcome]:
        """Deal with a confirmed file wherever it is found. Never raise for what a file system does."""
        if self._action == PASS:
            return [FileOutcome(PASS, True, "nothing is done with files (actions.file: pass)")]
        if entry.sha256 is None:
            return [FileOutcome("none", False, "the file's hash is not known")]
        if not self._folders:
            return [FileOutcome("none", False, "no download folder is configured (downloads.folders)")]
        digest = bytes.fromhex(entry.sha256)
        found = await FILES.run(search, self._folders, digest, entry.size)
        if entry.hit != digest:  # what a browser saved of an encoded body, of a size that is not known
            ending = PurePath(entry.filename or "").suffix.lower()
            more = await FILES.run(search, self._folders, entry.hit, None, ending)
            found.candidates += more.candidates
        outcomes = [FileOutcome("none", False, problem) for problem in found.problems]
        for candidate in found.candidates:
            try:
                outcomes.append(await self._deal_with(candidate, entry, self._action))
            except (OSError, LedgerError) as error:
                outcomes.append(FileOutcome(self._action, False, f"{candidate.path}: stays: {error}"))
            finally:
                candidate.close()
        if not found.candidates:
            where = ", ".join(str(folder) for folder in self._folders)
            outcomes.append(FileOutcome("none", False, f"not found in {where}"))
        return outcomes

    async def settle(self) -> None:
        """Finish what a crash left half done before this began. Raise LedgerError."""
        for record in await self._index.find_all(states=(MOVING,)):
            if record.moved_at > self._began or not self._holds(record):
                continue
            detail: str | None = "interrupted before the file was moved; it stays where it was"
            try:
                there = await FILES.run(finish_move, self._folder, record)
            except (OSError, MoveError) as error:
                there, detail = False, f"interrupted: {_reason(error)}"
            state, detail = (HELD, None) if there else (FAILED, detail)
            await self._index.keep(replace(record, state=state, detail=detail))

    async def restore(self, record_id: str) -> Path:
        """Put a file back, byte for byte, and allow it from now on. Return where it lies.

        Raise QuarantineError, LedgerError.
        """
        record = await self._held(record_id)
        now = self._clock.now()
        await self._rules.add_async(
            Rule(
                id=make_id(now),
                action="allow",
                scope=Scope.SHA256,
                subject=record.sha256,
                client=None,
                reason="restored from quarantine",
                created=now,
                expires=None,
                source="quarantine",
            )
        )
        keep = await self._wanted_by_another(record)
        try:
            path = await FILES.run(restore_stored, self._folder, record, keep=keep)
        except (OSError, MoveError) as error:
            raise QuarantineError(f"cannot restore {record.path}: {error}") from error
        await self._index.keep(replace(record, state=RESTORED, detail=f"restored to {path}"))
        return path

    async def delete(self, record_id: str) -> None:
        """Delete a quarantined file for good. Raise QuarantineError, LedgerError."""
        record = await self._held(record_id)
        if not await self._wanted_by_another(record):
            try:
                await FILES.run(delete_stored, self._folder, record)
            except OSError as error:
                raise QuarantineError(f"cannot delete {record.stored_as}: {error}") from error
        await self._index.keep(replace(record, state=DELETED))

    async def _held(self, record_id: str) -> QuarantineRecord:
        record = await self._index.find(record_id)
        if record is None:
            raise QuarantineError(f"no quarantined file has the id {record_id}")
        if not self._holds(record):
            raise QuarantineError(
                f"the file {record_id} lies on the machine of the proxy {record.proxy}: do it there"
            )
        if record.state != HELD:
            raise QuarantineError(f"the file {record_id} is not in quarantine: it was {record.state}")
        return record

    def _holds(self, record: QuarantineRecord) -> bool:
        """Return whether a file lies here; with an index of its own a proxy may have been renamed since."""
        return not self._shared_index or record.proxy in {None, self._proxy}

    async def _wanted_by_another(self, record: QuarantineRecord) -> bool:
        """Return whether another held record stands for the same stored bytes."""
        held = await self._index.find_all(states=(HELD, MOVING))
        return any(
            other.stored_as == record.stored_as and other.id != record.id and self._holds(other)
            for other in held
        )

    async def _deal_with(self, candidate: Candidate, entry: ConfirmedEntry, action: str) -> FileOutcome:
        try:
            match action:
                case "quarantine":
                    return await self._quarantine(candidate, entry)
                case "delete":
                    note = await FILES.run(discard, candidate)
                    return FileOutcome(DELETE, True, _with_note(f"{candidate.path}: deleted", note))
                case "rename":
                    path = await FILES.run(rename_in_place, candidate)
                    return FileOutcome(RENAME, True, f"{candidate.path}: renamed to {path.name}")
                case _:
                    return FileOutcome(PASS, True, f"{candidate.path}: left as it is")
        except (OSError, MoveError) as error:
            if self._fallback is not None and action != self._fallback:
                logger.warning(
                    "%s of %s failed (%s), trying %s", action, candidate.path, error, self._fallback
                )
                return await self._deal_with(candidate, entry, self._fallback)
            return FileOutcome(action, False, f"{candidate.path}: stays: {_reason(error)}")

    async def _quarantine(self, candidate: Candidate, entry: ConfirmedEntry) -> FileOutcome:
        now = self._clock.now()
        sha256 = candidate.digest.hex()
        record = QuarantineRecord(
            id=make_id(now),
            state=MOVING,
            sha256=sha256,
            size=candidate.status.st_size,
            path=str(candidate.path),
            stored_as=sha256,
            mode=candidate.status.st_mode & 0o7777,
            modified_at=candidate.status.st_mtime,
            moved_at=now,
            threat=entry.threat,
            list=entry.list,
            url=entry.url,
            identity=entry.identity,
            proxy=self._proxy,
        )
        await self._index.keep(record)
        try:
            note = await FILES.run(put_away, candidate, self._folder, record)
        except (OSError, MoveError) as error:
            await self._index.keep(replace(record, state=FAILED, detail=_reason(error)))
            raise
        await self._index.keep(replace(record, state=HELD, detail=note))
        return FileOutcome(
            QUARANTINE, True, _with_note(f"{candidate.path}: put into quarantine", note), record.id
        )


def _with_note(text: str, note: str | None) -> str:
    return f"{text}; {note}" if note else text


def _reason(error: Exception) -> str:
    return reason_of(error) if isinstance(error, OSError) else str(error)
