"""A ledger that is open: its place, its writer, its readers, its journal.

```
                    ┌─ Writer ── one thread, group commit ──► SQLite │ PostgreSQL
 flag ── deadline ──┤                                            ▲
                    └─ Journal ── fsync ── replayed later ───────┘
```
"""

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import sqlalchemy as sa

from secondlook.core.event import Event, EventKind, FlagEntry
from secondlook.core.verdict import Stage
from secondlook.ground.clock import Clock, SystemClock
from secondlook.ground.errors import LedgerError
from secondlook.ground.ulid import make_id
from secondlook.ledger.engine.database import Place, explain, find_place, make_engine
from secondlook.ledger.engine.journal import Journal
from secondlook.ledger.engine.migration import migrate
from secondlook.ledger.engine.salvage import open_or_repair
from secondlook.ledger.engine.writer import Amendment, Work, Writer
from secondlook.ledger.last_known import LastKnown
from secondlook.ledger.log import append
from secondlook.ledger.log.counting import SLOT_S, Admission, Counted, add_counts, asked, counted
from secondlook.ledger.log.privacy import Discretion, Privacy
from secondlook.ledger.options import LedgerOptions
from secondlook.ledger.queue import flagged
from secondlook.ledger.queue.journal_record import flag_record, read_flag
from secondlook.ledger.snapshots import Watch

_LOG = logging.getLogger(__name__)
_READERS: Final = 4
_REPLAY_CHUNK: Final = 500
JOURNAL_DEADLINE_S: Final = 2.0  # the last resort: past it the request is refused


class OpenLedger:
    """What every side of the ledger builds on; made by `Ledger.open`."""

    def __init__(
        self,
        place: Place,
        journal: Journal | None,
        options: LedgerOptions,
        clock: Clock,
        report: Callable[[str], None] | None,
        away: LedgerError | None = None,
    ) -> None:
        self.place = place
        self.options = options
        self.clock = clock
        self.journal = journal
        self.discretion = Discretion(options.privacy, options.ignored_hosts)
        self.report = report or _LOG.warning
        self.readers = make_engine(place, readers=_READERS, checkpoint=options.keeper)
        known = None if options.known is None or place.sqlite else LastKnown(options.known, place)
        self.watch = Watch(self.readers, place, known, keep=options.keeper, away=away)
        self._pool = ThreadPoolExecutor(_READERS, thread_name_prefix="ledger")
        self._counts: Counter[Counted] = Counter()
        self._admission = Admission()
        self._hits: Counter[str] = Counter()
        self._counts_lock = threading.Lock()
        self._written: Counter[str] = Counter()  # events by kind, in the writer's present transaction
        self.journaled = 0
        self.journal_full = False  # as far as is known; meant only while the ledger cannot be written
        self._file = _file_number(place)
        self.writer = Writer(
            make_engine(place, checkpoint=options.keeper, max_pages=options.max_pages),
            place,
            self._store,
            self._flags,
            self._replaced,
            self._ended,
            limit=options.events_in_memory,
            report=self.report,
            recovered=self._recovered,
            prepare=partial(migrate, place),
            away=away,
        )

    @classmethod
    def open(
        cls,
        location: str | Path,
        options: LedgerOptions | None = None,
        *,
        journal: Path | None = None,
        clock: Clock | None = None,
        report: Callable[[str], None] | None = None,
    ) -> Self:
        """Open or create the ledger at a path or URL, bring its schema up to date and replay the journal.

        `journal` is where flags go that the ledger cannot take (default: `flags.journal` beside a SQLite
        file; None with PostgreSQL means no journal). `report` takes sentences about trouble. Raises
        LedgerError (unreachable, damaged, newer than this program) and ConfigError (bad address). A database
        that is away is opened all the same where `options.known` holds what it said last: until it answers,
        flags go to the journal, events wait, and readings of anything else raise LedgerError.
        """
        options = options or LedgerOptions()
        clock = clock or SystemClock()
        place = find_place(location)
        if journal is None and place.path is not None:
            journal = place.path.with_name("flags.journal")
        opened = None if journal is None else Journal(journal, size_bytes=options.journal_bytes)
        try:
            away, notice = None, None
            try:
                notice = open_or_repair(place, repair=options.repair or options.keeper, now=clock.now())
            except LedgerError as error:
                if not _may_begin_without(place, options, error):
                    raise
                away = error
            ledger = cls(place, opened, options, clock, report, away)
        except BaseException:
            if opened is not None:
                opened.close()
            raise
        if notice is not None:
            ledger.report(notice)
            ledger.record(
                Event(id=make_id(clock.now()), kind=EventKind.ERROR, time=clock.now(), detail=notice)
            )
        ledger.start()
        return ledger

    def start(self) -> None:
        """Begin the work in the background, where a subclass has some."""

    def close(self) -> None:
        """Write what waits and close everything."""
        self.watch.close()
        self.writer.close()
        self._pool.shutdown(wait=True)
        self.readers.dispose()
        if self.journal is not None:
            self.journal.close()

    def _recovered(self, reason: str, lasted_s: float) -> None:
        """Write down that the ledger takes events again; one process of a family does."""
        if not self.options.keeper:
            return
        now = self.clock.now()
        detail = f"the ledger could not be written for {lasted_s:.0f} s, and is written again: {reason}"
        self.record(Event(id=make_id(now), kind=EventKind.ERROR, time=now, detail=detail))

    def _replaced(self) -> bool:
        """Notice that a damaged file was set aside by another process, and turn to the new one."""
        present = _file_number(self.place)
        if present is None or present == self._file:
            return False
        self._file = present
        self.readers.dispose()
        self.watch.reopen()
        return True

    # -- transactions and readings for the other sides -----------------------------------------

    async def run[T](self, function: Callable[..., T], *args: Any, **named: Any) -> T:
        """Run a blocking method of this ledger off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: function(*args, **named))

    async def commit[T](self, work: Work[T], *, durable: bool = True) -> T:
        """Run a function of a connection in the writer's next transaction; raises LedgerError."""
        return await asyncio.wrap_future(self.writer.submit(work, durable=durable))

    def commit_now[T](self, work: Work[T]) -> T:
        """As `commit`, blocking the calling thread."""
        return self.writer.submit(work).result()

    def read[T](self, work: Work[T]) -> T:
        """Run a function of a reading connection; raises LedgerError."""

        def reading() -> T:
            with self.readers.connect() as connection:
                return work(connection)

        return self.guard(reading)

    def guard[T](self, function: Callable[[], T]) -> T:
        """Run a function that reads; an error of the engine becomes LedgerError."""
        try:
            return function()
        except sa.exc.DBAPIError as error:
            raise explain(error, self.place) from error

    # -- events ---------------------------------------------------------------------------------

    def record(self, event: Event) -> None:
        """Queue an event for writing; never blocks, never raises; drops are counted and reported."""
        event = self._named(event)
        if event.kind is EventKind.CHECK and not self.options.log_allowed:
            kept = None
        else:
            kept = self.discretion.event(event)
        if event.rule is not None and event.stage == Stage.RULES:
            self.count_hit(event.rule)
        if kept is None:
            self.tally(
                event.kind,
                event.decision,
                event.stage,
                client=event.client,
                host=event.host,
                server=event.server,
                elapsed_ms=event.elapsed_ms,
                at=event.time,
            )
        else:
            self.writer.record(kept)

    def tally(
        self,
        kind: EventKind,
        decision: str | None,
        stage: str | None,
        *,
        client: str | None = None,
        host: str | None = None,
        server: str | None = None,
        elapsed_ms: float | None = None,
        at: float | None = None,
    ) -> None:
        """Count a check of which no event is kept; microseconds, never blocks.

        Whether its client counts depends on `host`: of an ignored one nobody is to know who asked.
        """
        slot = int((self.clock.now() if at is None else at) // SLOT_S)
        known = client if client and self.discretion.level_of(host) < Privacy.COUNTS else ""
        stage = stage or ""
        one = Counted(slot, str(kind), decision or "", stage, known, *asked(stage, server, elapsed_ms))
        with self._counts_lock:
            self._counts[one] += 1

    def count_hit(self, rule_id: str) -> None:
        """Count a hit of an operator rule whose check is not recorded; never blocks."""
        with self._counts_lock:
            self._hits[rule_id] += 1

    def amend(self, event_id: str, *, detail: str | None, extra: Mapping[str, object] | None = None) -> None:
        """Fill in the detail of an event recorded earlier; never blocks, never raises."""
        if self.discretion.level >= Privacy.HOSTS:
            return
        self.writer.record(Amendment(event_id, detail, extra))

    def _named(self, event: Event) -> Event:
        return event if event.id else replace(event, id=make_id(event.time))

    def _store(self, connection: sa.Connection, batch: Sequence[Event | Amendment]) -> None:
        """Write events inside a transaction of the writer, with what is counted."""
        self._insert(connection, list({one.id: one for one in batch if isinstance(one, Event)}.values()))
        for one in batch:
            if isinstance(one, Amendment):
                append.amend(connection, one.event_id, one.detail, one.extra)

    def _insert(self, connection: sa.Connection, batch: list[Event]) -> set[str]:
        """Insert events with distinct ids and count those that are new; return their ids."""
        fresh = append.insert_events(connection, batch)
        counts = Counter(counted(event) for event in batch if event.id in fresh)
        add_counts(connection, counts, self._admission)
        for one, count in counts.items():
            self._written[one.kind] += count
        return fresh

    def _ended(self, committed: bool) -> None:
        """Report what a transaction wrote, once it is certain: one that failed is tried again in parts."""
        written, self._written = self._written, Counter()
        if committed and self.options.counted is not None:
            for kind, count in written.items():
                self.options.counted(kind, count)

    def flush_counts(self) -> None:
        """Write the counts kept in memory; they go back there when it fails."""
        with self._counts_lock:
            counts, self._counts = self._counts, Counter()
            hits, self._hits = self._hits, Counter()
        if not counts and not hits:
            return

        def work(connection: sa.Connection) -> None:
            add_counts(connection, counts, self._admission)
            append.add_hits(connection, hits)

        future = self.writer.submit(work, durable=False)

        def give_back(done: Future[None]) -> None:
            if done.exception() is not None:
                with self._counts_lock:
                    self._counts.update(counts)
                    self._hits.update(hits)

        future.add_done_callback(give_back)

    # -- flags ----------------------------------------------------------------------------------

    async def flag(self, event: Event, entry: FlagEntry) -> None:
        """Commit event and queue entry (ledger, else journal) before returning; else raise LedgerError."""
        kept = self.discretion.event(self._named(event))
        assert kept is not None  # of a flag at least the hashes are kept
        entry = self.discretion.flag(entry)
        reason: Exception | None = self.writer.last_error
        if not self.writer.failing:
            slot = self.writer.flag(kept, entry)
            try:
                async with asyncio.timeout(self.options.deadline_s):
                    await slot.answer
            except TimeoutError:
                self.writer.give_up(slot)
                reason = LedgerError(f"ledger {self.place}: no commit within {self.options.deadline_s:g} s")
            except LedgerError as error:
                reason = error
            else:
                return
        await self._flag_in_journal(kept, entry, reason or LedgerError(f"ledger {self.place}: too slow"))

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
            self.journal_full = True
            raise LedgerError(f"{reason}; {error}") from error
        self.journaled += 1

    def _flags(self, connection: sa.Connection, batch: Sequence[tuple[Event, FlagEntry]]) -> None:
        """Write flags; one whose event is there already was written before and does not count again."""
        once = {event.id: (event, entry) for event, entry in batch}
        fresh = self._insert(connection, [event for event, _ in once.values()])
        flags = [entry for event, entry in once.values() if event.id in fresh]
        flagged.add_flags(connection, flags, first_look_s=self.options.first_look_s)

    def replay_journal(self) -> int:
        """Bring the journal into the ledger; return the number of flags, 0 when another process does it."""
        if self.journal is None or not self.journal.waiting():
            return 0

        def take(records: list[dict[str, Any]]) -> None:
            flags = [read_flag(one) for one in records]
            for at in range(0, len(flags), _REPLAY_CHUNK):
                chunk = flags[at : at + _REPLAY_CHUNK]
                self.writer.submit(partial(self._flags, batch=chunk)).result()

        count = self.journal.replay(take)
        if count:
            self.report(f"{count} flags came back from the journal")
        return count


def _may_begin_without(place: Place, options: LedgerOptions, error: LedgerError) -> bool:
    """Return whether a database gave no access, and what it said last is kept here."""
    return (
        not place.sqlite
        and isinstance(error.__cause__, sa.exc.OperationalError)
        and options.known is not None
        and LastKnown(options.known, place).read() is not None
    )


def _file_number(place: Place) -> tuple[int, int] | None:
    """Return device and inode of a SQLite ledger; None for another engine or a file that is not there."""
    if place.path is None:
        return None
    try:
        found = place.path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
