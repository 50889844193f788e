"""Flags in: event and queue entry are committed, or in the journal, before the traffic goes on.

```
                    ┌─ Writer ── one thread, group commit ──► SQLite │ PostgreSQL
 flag ── deadline ──┤                                            ▲
                    └─ Journal ── fsync ── replayed later ───────┘
```
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import sqlalchemy as sa

from secondlook.core.event import Event, FlagEntry
from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine.journal import Journal, Record
from secondlook.ledger.engine.store import Store
from secondlook.ledger.engine.writer import Flag
from secondlook.ledger.log.append import Appender
from secondlook.ledger.log.privacy import Discretion
from secondlook.ledger.log.recorder import Recorder
from secondlook.ledger.queue import flagged
from secondlook.ledger.queue.journal_record import flag_record, read_flag
from secondlook.ledger.queue.unread_flags import UnreadFlags

logger = logging.getLogger(__name__)

JOURNAL_DEADLINE_S: Final = 2.0  # the last resort: past it the request is refused


class FlagRows:
    """How flags are written inside a transaction; due for the second look after `first_look_s`."""

    def __init__(self, appender: Appender, first_look_s: float) -> None:
        self._appender = appender
        self._first_look_s = first_look_s

    def write(self, connection: sa.Connection, batch: Sequence[tuple[Event, FlagEntry]]) -> None:
        """Write flags; one whose event is there already was written before and does not count again."""
        once = {event.id: (event, entry) for event, entry in batch}
        fresh = self._appender.insert(connection, {key: event for key, (event, _) in once.items()})
        flags = [entry for event, entry in once.values() if event.id in fresh]
        flagged.add_flags(connection, flags, first_look_s=self._first_look_s)


class FlagStore:
    """Takes flags (port `FlagStore` of `agent`); `journal` is None where there is no last resort."""

    def __init__(
        self,
        store: Store,
        discretion: Discretion,
        recorder: Recorder,
        rows: FlagRows,
        journal: Journal | None,
    ) -> None:
        self._store = store
        self._writer = store.writer
        self._discretion = discretion
        self._recorder = recorder
        self._rows = rows
        self.journal = journal
        self.unread = (
            None if journal is None else UnreadFlags(journal.path, most_bytes=2 * journal.size_bytes)
        )
        self._read_again = self.unread is not None and self.unread.path.exists()
        self.journaled = 0
        self._journal_full = False  # as far as is known; meant only while the ledger cannot be written

    async def flag(self, event: Event, entry: FlagEntry) -> None:
        """Commit event and queue entry (ledger, else journal) before returning; else raise LedgerError."""
        kept = self._recorder.kept(event)
        assert kept is not None  # of a flag at least the hashes are kept
        entry = self._discretion.flag(entry)
        place, deadline_s = self._store.place, self._store.options.deadline_s
        reason: Exception | None = self._writer.last_error
        if not self._writer.failing:
            slot = self._writer.flag(kept, entry)
            try:
                async with asyncio.timeout(deadline_s):
                    await slot.answer
            except TimeoutError:
                self._writer.give_up(slot)
                reason = LedgerError(f"ledger {place}: no commit within {deadline_s:g} s")
            except LedgerError as error:
                reason = error
            else:
                return
        await self._flag_in_journal(kept, entry, reason or LedgerError(f"ledger {place}: too slow"))

    async def _flag_in_journal(self, event: Event, entry: FlagEntry, reason: Exception) -> None:
        if self.journal is None:
            raise LedgerError(str(reason)) from reason
        slot = self.journal.submit(lambda: flag_record(event, entry))
        try:
            async with asyncio.timeout(JOURNAL_DEADLINE_S):
                await slot.answer
        except TimeoutError as error:
            slot.abandoned = True
            raise LedgerError(f"{reason}; flags journal: the disk did not answer in time") from error
        except LedgerError as error:
            self._journal_full = True
            raise LedgerError(f"{reason}; {error}") from error
        self.journaled += 1

    @property
    def takes_flags(self) -> bool:
        """Whether a flag could be stored now: in the ledger, or in the journal."""
        return not self._writer.failing or (self.journal is not None and not self._journal_full)

    def look_for_room(self) -> None:
        """Note whether the journal has room, while the ledger cannot be written."""
        self._journal_full = self.journal is not None and not self.journal.has_room()

    def replay(self, *, whole: bool = False) -> int:
        """Bring the journal into the ledger; return the number of flags, 0 when another process does it.

        What can be neither read nor stored is put aside for a program that can, as far as there is room, and
        read once more at the next start. `whole`: as far as the disk has room; raises LedgerError where
        another process is at it still.
        """
        if self.journal is None or self.unread is None:
            return 0
        count = 0
        if self._read_again:
            with self.journal.replaying() as alone:
                if alone:
                    count = self._replay_unread(self.unread)
                    self._read_again = False
        if self.journal.waiting():
            count += self._replay_journal(self.journal, self.unread, bounded=not whole)
        if whole and (self._read_again or self.journal.waiting()):
            raise LedgerError("another process reads flags of the journal; try again")
        if count:
            self._store.report(f"{count} flags came back from the journal")
        return count

    def _replay_unread(self, unread: UnreadFlags) -> int:
        """Bring in what waited for another program; what the disk refuses keeps nothing back."""
        try:
            waiting = unread.read()
        except LedgerError as error:
            self._store.report(f"{error}; what waits there is read at the next start")
            return 0
        left = self._take(waiting)
        try:
            unread.replace(left)
        except LedgerError as error:
            self._store.report(f"{error}; what was read waits there still, and comes in once")
        return len(waiting) - len(left)

    def _replay_journal(self, journal: Journal, unread: UnreadFlags, *, bounded: bool) -> int:
        strange = 0

        def take(records: list[Record]) -> None:
            nonlocal strange
            left = self._take(records)
            strange += len(left)
            unread.add(left, bounded=bounded)

        count = journal.replay(take) - strange
        if strange:
            self._store.report(
                f"{strange} flags of the journal are strange to this version of the program: they wait "
                f"in {unread.path.name} for one that can read them"
            )
        return count

    def _take(self, records: Sequence[Record]) -> list[Record]:
        """Bring records into the ledger; return those that can be neither read nor stored."""
        flags: list[tuple[Record, Flag]] = []
        left: list[Record] = []
        for record in records:
            try:
                flags.append((record, read_flag(record)))
            except LedgerError:
                left.append(record)
        return left + self._store_as_can_be(flags)

    def _store_as_can_be(self, flags: Sequence[tuple[Record, Flag]]) -> list[Record]:
        """Write flags; return the records of those that fail by themselves."""
        if not flags:
            return []
        try:
            self._writer.submit(partial(self._rows.write, batch=[flag for _, flag in flags])).result()
        except (LedgerError, sa.exc.ProgrammingError):
            raise  # the engine's trouble, or its tables'
        except Exception as error:  # noqa: BLE001  (any that an engine has for a value)
            if len(flags) == 1:
                logger.warning("a flag of the journal cannot be stored: %s", error)
                return [flags[0][0]]
            half = len(flags) // 2
            return self._store_as_can_be(flags[:half]) + self._store_as_can_be(flags[half:])
        return []

    def forget_unread(self, *, before: float) -> None:
        """Let go what waits for another program since longer; another time, while somebody else reads it."""
        if self.journal is None or self.unread is None or not self.unread.path.exists():
            return
        with self.journal.replaying() as alone:
            if alone:
                self.unread.forget(before=before)

    def rewrite_unread(self, change: Callable[[Record], Record]) -> None:
        """Change every record that waits for another program."""
        if self.journal is None or self.unread is None or not self.unread.path.exists():
            return
        with self.journal.replaying() as alone:
            if not alone:
                raise LedgerError("another process reads flags of the journal; try again")
            self.unread.replace([change(record) for record in self.unread.read()])
