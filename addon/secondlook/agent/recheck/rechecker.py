"""The second look: what was let through unverified is asked about again, until it is known.

```
start ────────────┐
circuit closes ───┤                  ┌─ listed ────► confirmed (in force, actions, event, entry closed)
new generation ───┼─► pass over the ─┼─ not listed ► cleared (event, entry closed)
`queue verify` ───┤   queue, oldest  ├─ no answer ─► postponed (1 min, doubling to 1 h, jittered)
schedule: due ────┘   first, leased  └─ too old ───► a last look, then expired (event, entry closed)
```

The same pass renews the confirmed set: entries past their expiry, and all of them at a new generation,
are asked about again; what is no longer listed is withdrawn. Everything works on hashes; nothing here
ever raises into its loop, and a ledger that fails stops a pass, not the rechecker.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import batched

from secondlook.agent import metrics
from secondlook.agent.actions.enforcement import Enforcement
from secondlook.agent.check.evidence import is_listed
from secondlook.agent.check.record import closing_event
from secondlook.agent.ports import Queue
from secondlook.agent.recheck.batch_check import PAUSE_EVERY, BatchCheck
from secondlook.agent.recheck.renewal import Renewal
from secondlook.config.query import RecheckSettings
from secondlook.core.asking.schedule import Backoff
from secondlook.core.event import Event, EventKind, QueueEntry
from secondlook.core.verdict import Evidence
from secondlook.ground.clock import Clock, SettledTime
from secondlook.ground.errors import LedgerError
from secondlook.ground.tasks import woken

logger = logging.getLogger(__name__)

_BATCH_ENTRIES = 1000
_MOST_POSTPONED = 50_000  # kept leased until a pass ends, so that it does not meet them twice
_RENEWALS = 3  # of a lease in the time that it lasts
_SCHEDULE_S = 5.0  # how often due entries are looked for
_SET_BACK_S = 1.0  # a wall clock that runs behind by more was set back


@dataclass(frozen=True, slots=True)
class PassReport:
    """What one pass did, in subjects."""

    confirmed: int = 0
    cleared: int = 0
    unverifiable: int = 0
    expired: int = 0
    withdrawn: int = 0
    error: str | None = None

    def plus(self, other: "PassReport") -> "PassReport":
        """Add up two reports."""
        return PassReport(
            self.confirmed + other.confirmed,
            self.cleared + other.cleared,
            self.unverifiable + other.unverifiable,
            self.expired + other.expired,
            self.withdrawn + other.withdrawn,
            self.error or other.error,
        )


type Completing = Callable[[Sequence[QueueEntry], Sequence[Evidence]], Awaitable[list[Evidence]]]


class Rechecker:
    """Takes the second look; one loop a process, several processes share the queue by leases.

    `random` gives fresh values in [0, 1). `trigger` may be called from any callback on the loop; `complete`
    puts what engines find beside what servers answer (`recheck.rescan`); `on_cleared` gets every entry that
    was cleared (`recheck.content_check`).
    """

    def __init__(
        self,
        batch_check: BatchCheck,
        queue: Queue,
        enforcement: Enforcement,
        renewal: Renewal,
        clock: Clock,
        settings: RecheckSettings,
        *,
        random: Callable[[], float],
        complete: Completing | None = None,
        on_cleared: Callable[[QueueEntry], None] | None = None,
    ) -> None:
        self._batch_check = batch_check
        self._queue = queue
        self._enforcement = enforcement
        self._renewal = renewal
        self._clock = clock
        self._settled = SettledTime(clock)  # no flag is given up because a clock jumped
        self._random = random
        self._backoff = Backoff(first_s=settings.first, cap_s=settings.longest)
        self._settings = settings
        self._complete = complete
        self._on_cleared = on_cleared
        self._wake = asyncio.Event()
        self._everything = False
        self._renew_all = False
        self._pass = asyncio.Lock()

    def trigger(self, reason: str, *, renew_all: bool = False) -> None:
        """Look at everything soon; `renew_all` (a new generation) at the whole confirmed set too."""
        logger.info("second look: %s", reason)
        self._everything = True
        self._renew_all = self._renew_all or renew_all
        self._wake.set()

    async def run(self) -> None:
        """Look again and again until cancelled."""
        self._batch_check.lookup.on_recovery(lambda name: self.trigger(f"{name} answers again"))
        self.trigger("the program starts", renew_all=True)
        # what a killed rechecker had leased is free again after this
        next_full = self._clock.monotonic() + self._settings.lease + 1.0
        drift_s = self._clock.now() - self._clock.monotonic()
        while True:
            await woken(self._wake, _SCHEDULE_S)
            self._wake.clear()
            everything, self._everything = self._everything, False
            renew_all, self._renew_all = self._renew_all, False
            monotonic = self._clock.monotonic()
            drift_before_s, drift_s = drift_s, self._clock.now() - monotonic
            if monotonic >= next_full:
                everything, next_full = True, monotonic + self._settings.longest
            if drift_s < drift_before_s - _SET_BACK_S:
                # a clock that was set back leaves entries due too far ahead, and leases too long
                everything, renew_all, next_full = True, True, monotonic + 2 * self._settings.lease + 1.0
            report = await self.look(everything=everything, renew_all=renew_all)
            if report.error is not None:
                self._everything = self._everything or everything
                self._renew_all = self._renew_all or renew_all

    async def look(self, *, everything: bool = True, renew_all: bool = False) -> PassReport:
        """Take one pass over the queue and the confirmed set. Never raise (but for cancellation)."""
        async with self._pass:
            report = PassReport()
            try:
                withdrawn = await self._renewal.renew(everything=renew_all, forced=everything)
                report = replace(report, withdrawn=withdrawn)
                report = report.plus(await self._pass_over(everything=everything))
                report = report.plus(await self._expire())
            except LedgerError as error:
                logger.warning("the second look stops for now: %s", error)
                return replace(report, error=str(error))
            except Exception as error:
                metrics.INTERNAL_ERRORS.inc()
                logger.exception("the second look failed inside")
                return replace(report, error=f"internal error: {error}")
            return report

    async def _pass_over(self, *, everything: bool) -> PassReport:
        report = PassReport()
        later: list[tuple[QueueEntry, str]] = []
        try:
            while True:
                entries = await self._queue.take_due(
                    self._clock.now(),
                    limit=_BATCH_ENTRIES,
                    lease_s=self._settings.lease,
                    everything=everything,
                )
                if not entries:
                    return report
                known = {entry.id for entry, _ in later}
                fresh = [entry for entry in entries if entry.id not in known]
                if not fresh:
                    return report
                async with self._holding([*known, *(entry.id for entry in fresh)]):
                    done, unanswered = await self._batch(fresh)
                report = report.plus(done)
                later += unanswered
                # nobody answers at all: the rest would fare no better
                if len(unanswered) == len(fresh) or len(later) >= _MOST_POSTPONED:
                    return report
        finally:
            await self._postpone(later)

    @contextlib.asynccontextmanager
    async def _holding(self, entries: Sequence[str]) -> AsyncIterator[None]:
        """Keep other recheckers off entries (by id) however long the work takes."""
        renewing = asyncio.create_task(self._renew_leases(entries))
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    async def _renew_leases(self, entries: Sequence[str]) -> None:
        while True:
            await asyncio.sleep(self._settings.lease / _RENEWALS)
            try:
                for part in batched(entries, _BATCH_ENTRIES):
                    await self._queue.renew(part, self._clock.now() + self._settings.lease)
            except LedgerError as error:
                logger.warning("a lease of the second look was not renewed: %s", error)
            except Exception:
                metrics.INTERNAL_ERRORS.inc()
                logger.exception("renewing a lease of the second look failed inside")

    async def _batch(self, entries: Sequence[QueueEntry]) -> tuple[PassReport, list[tuple[QueueEntry, str]]]:
        evidences = await self._batch_check.check(entries)
        if self._complete is not None:
            evidences = await self._complete(entries, evidences)
        listed: list[tuple[QueueEntry, Evidence]] = []
        closings: list[tuple[QueueEntry, Event]] = []
        later: list[tuple[QueueEntry, str]] = []
        now = self._clock.now()
        for number, (entry, evidence) in enumerate(zip(entries, evidences, strict=True)):
            if number % PAUSE_EVERY == PAUSE_EVERY - 1:
                await asyncio.sleep(0)  # traffic in the same process gets its turn
            if is_listed(evidence):
                listed.append((entry, evidence))
            elif evidence.unverifiable is not None:
                later.append((entry, evidence.unverifiable))
            else:
                closings.append((entry, _ending(EventKind.CLEARED, entry, now, evidence=evidence)))
        if listed:
            await self._enforcement.confirm(listed)
        if closings:
            await self._queue.close(closings)
            if self._on_cleared is not None:
                for entry, _ in closings:
                    self._on_cleared(entry)
        metrics.RECHECKED.labels("confirmed").inc(len(listed))
        metrics.RECHECKED.labels("cleared").inc(len(closings))
        metrics.RECHECKED.labels("unverifiable").inc(len(later))
        return PassReport(len(listed), len(closings), len(later)), later

    async def _postpone(self, later: Sequence[tuple[QueueEntry, str]]) -> None:
        by_reason: dict[str, list[QueueEntry]] = {}
        for entry, reason in later:
            by_reason.setdefault(reason, []).append(entry)
        now = self._clock.now()
        for reason, entries in by_reason.items():
            times = [now + self._backoff.delay_s(entry.attempts + 1, self._random()) for entry in entries]
            await self._queue.postpone(entries, times, reason)

    async def _expire(self) -> PassReport:
        """Take a last look at what nobody could answer for too long, then end it, always with an event."""
        report = PassReport()
        while True:
            entries = await self._queue.take_due(
                self._clock.now(),
                limit=_BATCH_ENTRIES,
                lease_s=self._settings.lease,
                older_than=self._settled.now() - self._settings.expire_after,
            )
            if not entries:
                return report
            async with self._holding([entry.id for entry in entries]):
                done, unanswered = await self._batch(entries)
            now = self._clock.now()
            closings = [
                (entry, _ending(EventKind.EXPIRED, entry, now, detail=f"no server could answer: {reason}"))
                for entry, reason in unanswered
            ]
            await self._queue.close(closings)
            report = report.plus(replace(done, unverifiable=0, expired=len(unanswered)))


def _ending(
    kind: EventKind,
    entry: QueueEntry,
    now: float,
    *,
    evidence: Evidence | None = None,
    detail: str | None = None,
) -> Event:
    """Make the event that ends a flagged entry, with who asked for it and how often."""
    extra = {"clients": list(entry.clients), "count": entry.count}
    return closing_event(kind, entry, time=now, evidence=evidence, detail=detail, extra=extra)
