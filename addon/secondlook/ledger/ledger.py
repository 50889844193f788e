"""The ledger: everything that happened, everything that waits, everything the operator decided.

`Ledger.open(path or URL, options)` opens one store and puts its parts together. Whoever needs one part is
given that part; the parts fulfil the ports of `agent`. Blocking methods are plain; an event loop calls them
by `await ledger.run(method, …)`.

```
Ledger ─┬─ recorder · counts ──────── log ──┐
        ├─ events · statistics ────── log   │
        ├─ flags · queue ──────────── queue ├──► Store ──► SQLite │ PostgreSQL
        ├─ confirmed · history ────── queue │
        ├─ rules · pauses · quarantine  operator
        ├─ shared_keys ───────────── operator
        ├─ snapshots                        │
        └─ upkeep ────────────────────────── ┘
```
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import sqlalchemy as sa

from secondlook.core.event import Event, EventKind
from secondlook.ground.clock import Clock, SystemClock
from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine.database import Place, find_place
from secondlook.ledger.engine.journal import Journal
from secondlook.ledger.engine.migration import look
from secondlook.ledger.engine.salvage import open_or_repair
from secondlook.ledger.engine.store import Store
from secondlook.ledger.log.append import Appender
from secondlook.ledger.log.counts import Counts
from secondlook.ledger.log.event_log import EventLog
from secondlook.ledger.log.filter import EventFilter
from secondlook.ledger.log.privacy import Discretion
from secondlook.ledger.log.reading import Page
from secondlook.ledger.log.recorder import Recorder
from secondlook.ledger.log.statistics import Statistics
from secondlook.ledger.operator.pauses import Pauses
from secondlook.ledger.operator.quarantine_index import QuarantineIndex
from secondlook.ledger.operator.rule_store import RuleStore
from secondlook.ledger.operator.shared_keys import SharedKeys
from secondlook.ledger.options import LedgerOptions
from secondlook.ledger.queue.allowed_history import AllowedHistory
from secondlook.ledger.queue.confirmed_set import ConfirmedSet
from secondlook.ledger.queue.flag_store import FlagRows, FlagStore
from secondlook.ledger.queue.recheck_queue import RecheckQueue
from secondlook.ledger.snapshots import Snapshots
from secondlook.ledger.upkeep.housekeeping import Upkeep

if TYPE_CHECKING:
    from secondlook.ledger.last_known import LastKnown

__all__ = ["EventFilter", "Ledger", "LedgerOptions", "Page"]

_LOG = logging.getLogger(__name__)


class Ledger:
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
        discretion = Discretion(options.privacy, options.ignored_hosts)
        appender = Appender(options.counted, options.proxy)
        rows = FlagRows(appender, options.first_look_s)
        self.store = Store(
            place,
            options,
            clock,
            report or _LOG.warning,
            write_events=appender.write,
            write_flags=rows.write,
            ended=appender.ended,
            recovered=self._recovered,
            away=away,
        )
        self.counts = Counts(self.store, discretion, appender.admission)
        appender.count_later = self.counts.add
        self.recorder = Recorder(self.store, discretion, self.counts, appender)
        self.events = EventLog(self.store)
        self.statistics = Statistics(self.store)
        self.flags = FlagStore(self.store, discretion, self.recorder, rows, journal)
        self.queue = RecheckQueue(self.store, self.recorder)
        self.confirmed = ConfirmedSet(self.store, discretion, self.recorder)
        self.history = AllowedHistory(self.store, discretion)
        self.rules = RuleStore(self.store, self.recorder, self.counts)
        self.pauses = Pauses(self.store, self.recorder)
        self.quarantine = QuarantineIndex(self.store)
        self.shared_keys = SharedKeys(self.store)
        self.snapshots = Snapshots(self.store, _last_known(place, options))
        self.upkeep = Upkeep(self.store, self.counts, self.flags, self.history)

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
        that is away is opened all the same where `options.known` holds what was read last: until it answers,
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
            ledger.store.report(notice)
            ledger._record_trouble(notice)
        if options.background:
            ledger.store.changes.listen()
            ledger.upkeep.start()
        return ledger

    @staticmethod
    def look(location: str, options: LedgerOptions) -> None:
        """Raise LedgerError where a process that starts could not open a ledger; changes nothing."""
        place = find_place(location)
        try:
            look(place)
        except LedgerError as error:
            if not _may_begin_without(place, options, error):
                raise

    def close(self) -> None:
        """Write what waits (events, counts, history) and close."""
        self.upkeep.stop()
        self.counts.flush()
        self.history.flush()
        self.store.close()
        if self.flags.journal is not None:
            self.flags.journal.close()

    def _record_trouble(self, detail: str) -> None:
        self.recorder.record(Event(id="", kind=EventKind.ERROR, time=self.store.clock.now(), detail=detail))

    def _recovered(self, reason: str, lasted_s: float) -> None:
        """Write down that the ledger takes events again; one process of a family does."""
        if self.store.options.keeper:
            self._record_trouble(
                f"the ledger could not be written for {lasted_s:.0f} s, and is written again: {reason}"
            )

    async def run[T](self, function: Callable[..., T], *args: Any, **named: Any) -> T:
        """Run a blocking method of a part off the event loop."""
        return await self.store.run(function, *args, **named)

    @property
    def trouble(self) -> str | None:
        """Why nothing can be written just now, in words; None when all is well."""
        error = self.store.writer.last_error
        if error is None:
            return None
        if not self.flags.takes_flags:
            return f"{error}; the flags journal takes no more either"
        return f"{error}; flags go to the journal, and the rules read last stay in force"


def _last_known(place: Place, options: LedgerOptions) -> "LastKnown | None":
    """Return the copy of a ledger that may be away; a file of SQLite is there or is not."""
    if options.known is None or place.sqlite:
        return None
    from secondlook.ledger.last_known import LastKnown  # noqa: PLC0415 - makes tables of its own

    return LastKnown(options.known, place)


def _may_begin_without(place: Place, options: LedgerOptions, error: LedgerError) -> bool:
    """Return whether a database gave no access, and what was read of it last is kept here."""
    known = _last_known(place, options)
    return (
        known is not None
        and isinstance(error.__cause__, sa.exc.OperationalError)
        and known.read() is not None
    )
