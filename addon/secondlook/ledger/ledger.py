"""The ledger: everything that happened, everything that waits, everything the operator decided.

`Ledger.open(path or URL, options)` gives one object for all rooms. It fulfils the ports of `agent`
(`FlagStore`, `Queue`, `History`, `Operator`, `QuarantineIndex`); commands and the review page read through
it as well. Blocking methods are plain; an event loop calls them by `await ledger.run(method, …)`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

from secondlook.core.event import Event, EventKind, QueueEntry
from secondlook.core.tls_exception import KINDS, PASSTHROUGH, Lasting, Passage, passages
from secondlook.ground.clock import Clock
from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine.database import Place
from secondlook.ledger.engine.journal import Journal
from secondlook.ledger.log import figures, overview, shape
from secondlook.ledger.log.figures import ClientCount, Course
from secondlook.ledger.log.filter import EventFilter
from secondlook.ledger.log.overview import HourCount
from secondlook.ledger.log.reading import LogReader, Page
from secondlook.ledger.log.tail import LogTail
from secondlook.ledger.operator import rule_table
from secondlook.ledger.options import LedgerOptions
from secondlook.ledger.queue import flagged
from secondlook.ledger.side.operating import OperatorLedger
from secondlook.ledger.side.recheck import RecheckLedger
from secondlook.ledger.upkeep.housekeeping import Upkeep

__all__ = ["EventFilter", "Ledger", "LedgerOptions", "Page"]

_FOLLOW_S = 0.25
_PASSAGES = 1_000
_ALL = EventFilter()


class Ledger(RecheckLedger, OperatorLedger):
    """An open ledger; see the module's text."""

    def __init__(
        self,
        place: Place,
        journal: Journal | None,
        options: LedgerOptions,
        clock: Clock,
        report: Callable[[str], None] | None,
        away: LedgerError | None = None,
    ) -> None:
        super().__init__(place, journal, options, clock, report, away)
        self._history = {}
        self._log = LogReader(self.readers)
        self._tail = LogTail(self.readers)
        self._upkeep = Upkeep(self, self.flush_history)

    def start(self) -> None:
        """Listen for changes and begin housekeeping."""
        if self.options.background:
            self.watch.listen()
            self._upkeep.start()

    def close(self) -> None:
        """Write what waits (events, counts, history) and close."""
        self._upkeep.stop()
        self.flush_counts()
        self.flush_history()
        super().close()

    # -- the log --------------------------------------------------------------------------------

    def events(
        self,
        wanted: EventFilter = _ALL,
        *,
        after: str | None = None,
        limit: int = 100,
        newest_first: bool = True,
    ) -> Page:
        """One page of the log; `after` is the cursor of the page before, or an event's id."""
        return self.guard(lambda: self._log.page(wanted, after=after, limit=limit, newest_first=newest_first))

    def passages(self, lasting: Lasting) -> list[Passage]:
        """TLS that is passed through now, by what was learned and what clients let pass for themselves."""
        now = self.clock.now()
        wanted = EventFilter(kind=tuple(KINDS), stage=PASSTHROUGH, since=now - lasting.longest_s)
        return passages(self.events(wanted, limit=_PASSAGES).events, lasting, now)

    def event(self, event_id: str) -> Event | None:
        """One event by its id."""
        return self.guard(lambda: self._log.show(event_id))

    def export(self, wanted: EventFilter = _ALL, *, newest_first: bool = False) -> Iterator[Event]:
        """All matching events, oldest first, in bounded memory."""
        walk = self._log.walk(wanted, newest_first=newest_first)
        while (event := self.guard(lambda: next(walk, None))) is not None:
            yield event

    def export_everything(self) -> Iterator[dict[str, object]]:
        """All that the ledger holds, as JSON values that name what they are, in bounded memory."""
        for rule in self.list_rules():
            yield {"record": "rule", **shape.rule_json(rule)}
        for pause in self.read(rule_table.read_pauses):
            yield {"record": "pause", **shape.pause_json(pause)}
        for entry in self.queue_walk():
            yield {"record": "queue", **shape.queue_json(entry)}
        for subject in self.confirmed():
            yield {"record": "confirmed", **shape.confirmed_json(subject)}
        for record in self.quarantine_list():
            yield {"record": "quarantine", **shape.quarantine_json(record)}
        for remembered in self.history_walk():
            yield {"record": "history", **shape.history_json(remembered)}
        for event in self.export():
            yield {"record": "event", **shape.event_json(event)}

    def log_end(self) -> str:
        """The cursor of a tail that begins now."""
        return self.guard(self._tail.end)

    def tail(self, wanted: EventFilter = _ALL, *, after: str, limit: int = 1_000) -> tuple[list[Event], str]:
        """Events written after a cursor or an event id, in the order of writing, and the next cursor."""
        return self.guard(lambda: self._tail.after(wanted, after, limit))

    async def follow(self, wanted: EventFilter = _ALL, *, after: str | None = None) -> AsyncIterator[Event]:
        """Yield events as they are written, from now or from a cursor or event id on, for ever."""
        cursor = await self.run(self.log_end) if after is None else after
        while True:
            found, cursor = await self.run(self.tail, wanted, after=cursor)
            for event in found:
                yield event
            if not found:
                await asyncio.sleep(_FOLLOW_S)

    # -- the queue, as people see it ------------------------------------------------------------

    def queue_entries(self, *, after: QueueEntry | None = None, limit: int = 1_000) -> list[QueueEntry]:
        """A page of the queue, oldest first; `after` is the last entry of the page before."""
        place = None if after is None else (after.first_seen, after.id)
        return self.read(lambda connection: flagged.listing(connection, after=place, limit=limit))

    def queue_walk(self) -> Iterator[QueueEntry]:
        """All entries of the queue, oldest first, in bounded memory."""
        last: QueueEntry | None = None
        while page := self.queue_entries(after=last):
            yield from page
            last = page[-1]

    def queue_entry(self, entry_id: str) -> QueueEntry | None:
        """One entry by its id."""
        return self.read(lambda connection: flagged.show(connection, entry_id))

    def queue_count(self) -> tuple[int, float | None, float | None]:
        """Number of entries, the oldest `first_seen`, the earliest next attempt."""
        return self.read(flagged.count)

    # -- counts ---------------------------------------------------------------------------------

    def hourly(self, since: float, until: float) -> list[HourCount]:
        """What was checked, blocked and flagged in each hour from `since` to `until`, empty hours too."""
        return self.read(lambda connection: overview.hourly(connection, since, until))

    def totals(self, since: float, until: float) -> dict[tuple[EventKind, str | None, str | None], int]:
        """Counts by kind, decision and stage over whole hours."""
        return self.read(lambda connection: overview.totals(connection, since, until))

    def course(self, step: int, since: float, client: str | None = None) -> list[Course]:
        """Checks of everybody or of one client by stretches of `step` seconds (`counting.STEPS`)."""
        return self.read(lambda connection: figures.course(connection, step, since, client))

    def top(
        self, of: str, step: int, since: float, *, client: str | None = None, limit: int = 10
    ) -> list[tuple[str, int]]:
        """Hosts, lists or threats with most refused checks, of everybody or of one client."""
        return self.read(
            lambda connection: figures.top(connection, of, step, since, client=client, limit=limit)
        )

    def latency(self, step: int, since: float) -> dict[str, dict[str, int]]:
        """How many questions to each server ended within which bound (ms)."""
        return self.read(lambda connection: figures.latency(connection, step, since))

    def clients(
        self, step: int, since: float, *, only: str | None = None, limit: int = 10
    ) -> list[ClientCount]:
        """Clients with most checks first, or one of them."""
        return self.read(lambda connection: figures.clients(connection, step, since, only=only, limit=limit))

    # -- care -----------------------------------------------------------------------------------

    def erase_client(self, client: str) -> int:
        """Delete everything that names a client, for good; return how many events went."""
        return self._upkeep.erase_client(client)

    def sweep(self) -> int:
        """Delete what is past its retention now (the keeper does it by itself); return how many rows went."""
        return self._upkeep.sweep()

    def check(self) -> list[str]:
        """Look for damage in the whole ledger; sentences, none when all is well."""
        return self._upkeep.check()

    def checkpoint(self) -> None:
        """Bring SQLite's WAL into the file (the keeper does it by itself)."""
        self._upkeep.checkpoint(whole=True)

    @property
    def dropped(self) -> int:
        """Events lost because memory for waiting ones was full."""
        return self.writer.dropped

    @property
    def trouble(self) -> str | None:
        """Why nothing can be written just now, in words; None when all is well."""
        if self.writer.last_error is None:
            return None
        if not self.takes_flags:
            return f"{self.writer.last_error}; the flags journal takes no more either"
        return f"{self.writer.last_error}; flags go to the journal, and the rules read last stay in force"

    @property
    def takes_flags(self) -> bool:
        """Whether a flag could be stored now: in the ledger, or in the journal."""
        return not self.writer.failing or (self.journal is not None and not self.journal_full)
