"""The one thread of a process that writes the ledger: group commit over a queue of jobs.

```
 flag(), add_rule() …  ──► jobs ───┐
                                   ├─► one transaction ─► commit ─► futures resolved
 record() ──► pending events ──────┘
```

A *job* is a function of a connection whose caller waits for the commit. Everything that waits when
the thread is free goes into one transaction, so the cost of a synchronous commit is shared. When a
transaction fails for a reason that lies in one job (not in the engine), it is rolled back and its
jobs run again one by one; where it got into another proxy's way, all of it runs again. Events may be
late: they wait up to `LINGER_S` for company, and when the engine cannot take them they stay in memory
up to a bound, past which new ones are dropped, counted and reported.
"""

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from secondlook.core.event import Event, FlagEntry
from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine.database import Place, explain
from secondlook.ledger.engine.faults import FileReplacedError, StillAwayError, is_collision, is_engine_trouble
from secondlook.ledger.engine.wakeup import Slot, Waiting, answer

logger = logging.getLogger(__name__)

LINGER_S: Final = 0.1  # an event waits for others at most so long
GROUP_JOBS: Final = 512  # jobs in one transaction
GROUP_EVENTS: Final = 250  # events in one transaction: a flag that comes meanwhile waits for its end
EVENTS_BESIDE: Final = 100  # events in a transaction that somebody waits for
STEADY_S: Final = 10.0  # writing must go well so long before trouble is reported to be over
_RETRY_S: Final = (0.25, 0.5, 1.0, 2.0, 5.0)
_COLLISIONS: Final = 3  # with transactions of other proxies, before that is trouble

type Work[T] = Callable[[sa.Connection], T]
type Flag = tuple[Event, FlagEntry]


@dataclass(frozen=True, slots=True)
class Amendment:
    """Detail to be filled in at an event recorded earlier."""

    event_id: str
    detail: str | None
    extra: Mapping[str, object] | None


type Line = Event | Amendment


class _Job[T]:
    """A function to run in a transaction, and whoever waits for its result."""

    __slots__ = ("durable", "future", "work")

    def __init__(self, work: Work[T], *, durable: bool) -> None:
        self.work = work
        self.durable = durable
        self.future: Future[T] = Future()


class Writer:
    """Owner of the writing connection; every method may be called from any thread.

    `store` and `store_flags` write inside a transaction; `replaced` is asked after a commit whether it went
    into a file which was set aside meanwhile; `ended` hears of each transaction whether it was committed;
    `report` takes sentences about trouble, `recovered` hears what it was and how long (s) it lasted. With
    `synced` what is waited for is on the disk when SQLite answers; without, the system writes it in its time.

    `away` is why the engine could not be reached when the ledger was opened: then everything begins as after
    a failure, and the first transaction is preceded by `prepare`, which raises LedgerError while it is away.
    """

    def __init__(
        self,
        engine: sa.Engine,
        place: Place,
        store: Callable[[sa.Connection, list[Line]], None],
        store_flags: Callable[[sa.Connection, list[Flag]], None],
        replaced: Callable[[], bool],
        ended: Callable[[bool], None],
        *,
        limit: int,
        report: Callable[[str], None],
        synced: bool = True,
        recovered: Callable[[str, float], None] = lambda _why, _lasted_s: None,
        prepare: Callable[[], None] | None = None,
        away: LedgerError | None = None,
    ) -> None:
        self._engine = engine
        self._place = place
        self._store = store
        self._store_flags = store_flags
        self._replaced = replaced
        self._ended = ended
        self._limit = limit
        self._synced = synced
        self._report = report
        self._recovered = recovered
        self._prepare = prepare if away is not None else None
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._events: deque[Line] = deque()
        self._flags: Waiting[Flag] = Waiting()
        self._stopping = False
        # who hands something over is through before the next one or a stop: none finds the other half done
        self._handing_over = threading.Lock()
        self._slow = False
        self._reported_reason: str | None = None
        self._first_failed_at = self._failed_at = 0.0
        self._failures = 0
        self._dropped_since_report = 0
        self.dropped = 0
        self.last_error: LedgerError | None = None
        if away is not None:
            self._note_trouble(away)
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    @property
    def failing(self) -> bool:
        """Whether the last transaction failed: flags then go to the journal without waiting here."""
        return self._failures > 0 or self._slow

    @property
    def waiting(self) -> int:
        """Events not written yet."""
        return len(self._events)

    def submit[T](self, work: Work[T], *, durable: bool = True) -> Future[T]:
        """Queue a job; its future resolves after the commit, or fails (LedgerError, or the job's own)."""
        job = _Job(work, durable=durable)
        with self._handing_over:
            if not self._stopping:
                self._jobs.put(job)
                return job.future
        job.future.set_exception(self._closed())
        return job.future

    def flag(self, event: Event, entry: FlagEntry) -> Slot[Flag]:
        """Queue a flag (on an event loop); all that wait are written together."""
        with self._handing_over:
            slot = self._flags.put((event, entry))
            self._jobs.put(None)
            if self._stopping:
                slot.abandoned = True
                answer([slot], self._closed())
        return slot

    def record(self, event: Line) -> bool:
        """Queue an event or what is to be added to one; False when it is dropped: the bound, or the end."""
        with self._handing_over:
            if len(self._events) >= self._limit or self._stopping:
                self.dropped += 1
                self._dropped_since_report += 1
                return False
            self._events.append(event)
            if len(self._events) == 1:
                self._jobs.put(None)
        return True

    def give_up(self, slot: Slot[Flag]) -> None:
        """Wait for a flag no longer; until something commits again, others need not wait here at all."""
        slot.abandoned = True
        self._slow = True

    def close(self, timeout_s: float = 10.0) -> None:
        """Write what waits, then stop the thread."""
        with self._handing_over:
            self._stopping = True
            self._jobs.put(None)
        self._thread.join(timeout_s)

    def _closed(self) -> LedgerError:
        return LedgerError(f"ledger {self._place} is closed")

    def _run(self) -> None:
        while True:
            self._round()
            stopping = self._stopping  # first: nothing comes any more, once it is set
            idle = self._jobs.empty() and not self._flags
            if stopping and idle and (not self._events or self._failures):
                break
        if lost := len(self._events):
            self.dropped += lost
            self._report(f"{lost} events are lost with this stop: they could not be written")
        self._engine.dispose()
        closed = self._closed()
        answer(self._flags.take(1 << 30), closed)
        while not self._jobs.empty():
            job = self._jobs.get_nowait()
            if job is not None and job.future.set_running_or_notify_cancel():
                job.future.set_exception(closed)

    def _round(self) -> None:
        """Take what waits and commit it; whatever happens, who waits is answered and the thread goes on."""
        jobs = self._gather()
        flags = self._flags.take(GROUP_JOBS)
        most = EVENTS_BESIDE if jobs or flags else GROUP_EVENTS
        events = [self._events.popleft() for _ in range(min(len(self._events), most))]
        try:
            if jobs or flags or events:
                self._commit(jobs, flags, events)
            self._report_drops()
            self._report_steady()
        except Exception as error:
            logger.exception("the ledger's writer failed inside; it goes on")
            reason = LedgerError(f"ledger {self._place}: internal error: {error}")
            answer(flags, reason)
            for job in jobs:
                if not job.future.done():
                    job.future.set_exception(reason)

    def _patience(self) -> float | None:
        """How long to wait for a job; None: as long as it takes."""
        if self._stopping:
            return 0.0
        if not self._events:
            return self._steady_in()
        if self._failures:
            return _RETRY_S[min(self._failures, len(_RETRY_S)) - 1]
        return 0.0 if len(self._events) >= GROUP_EVENTS else LINGER_S

    def _gather(self) -> list[_Job[Any]]:
        """Wait for something to do; take all the jobs there are."""
        wait_s = self._patience()
        jobs: list[_Job[Any]] = []
        give_up_at = None if wait_s is None else time.monotonic() + wait_s
        while len(jobs) < GROUP_JOBS:
            try:
                if jobs or self._flags:
                    token = self._jobs.get_nowait()
                elif give_up_at is None:
                    token = self._jobs.get()
                else:
                    token = self._jobs.get(timeout=max(give_up_at - time.monotonic(), 0.0))
            except queue.Empty:
                break
            if token is not None:
                if token.future.set_running_or_notify_cancel():
                    jobs.append(token)
            elif not self._flags:
                linger_until = time.monotonic() + (0.0 if self._stopping else LINGER_S)
                give_up_at = linger_until if give_up_at is None else min(give_up_at, linger_until)
        return jobs

    def _commit(self, jobs: list[_Job[Any]], flags: list[Slot[Flag]], events: list[Line]) -> None:
        try:
            results = self._attempt(jobs, flags, events)
        except Exception as error:  # noqa: BLE001  (each kind is dealt with below)
            self._ended(False)
            if is_engine_trouble(error) or len(jobs) + len(flags) + len(events) == 1:
                self._failed(jobs, flags, events, error)
            else:
                self._one_by_one(jobs, flags, events)
            return
        self._succeeded()
        try:
            self._ended(True)
        finally:  # it is committed, whatever befalls who hears of it
            answer(flags)
            for job, result in zip(jobs, results, strict=True):
                job.future.set_result(result)

    def _attempt(self, jobs: list[_Job[Any]], flags: list[Slot[Flag]], events: list[Line]) -> list[Any]:
        """Commit; where another proxy's transaction was let go first, try again."""
        for _ in range(_COLLISIONS):
            try:
                return self._transact(jobs, flags, events)
            except sa.exc.OperationalError as error:
                if not is_collision(error):
                    raise
                self._ended(False)
        return self._transact(jobs, flags, events)

    def _transact(self, jobs: list[_Job[Any]], flags: list[Slot[Flag]], events: list[Line]) -> list[Any]:
        if self._prepare is not None:
            try:
                self._prepare()
            except LedgerError as error:
                raise StillAwayError(str(error)) from error
            self._prepare = None
        durable = bool(flags) or any(job.durable for job in jobs)
        with self._engine.connect() as connection:
            if self._place.sqlite:
                # An event may be lost with the power; what is waited for may be where the settings say so.
                raw: Any = connection.connection.dbapi_connection
                raw.execute(f"PRAGMA synchronous={'full' if durable and self._synced else 'normal'}")
            with connection.begin():
                if not durable and not self._place.sqlite:
                    connection.exec_driver_sql("SET LOCAL synchronous_commit TO off")
                results = [job.work(connection) for job in jobs]
                if flags:
                    self._store_flags(connection, [slot.value for slot in flags])
                if events:
                    self._store(connection, events)
        if self._replaced():
            raise FileReplacedError(f"ledger {self._place}: the file was replaced by another process")
        return results

    def _one_by_one(self, jobs: list[_Job[Any]], flags: list[Slot[Flag]], events: list[Line]) -> None:
        """Find what fails by itself; the others must not suffer."""
        for job in jobs:
            self._commit([job], [], [])
        for part in _halves(flags):
            self._commit([], part, [])
        for lines in _halves(events):
            self._commit([], [], lines)

    def _failed(
        self,
        jobs: list[_Job[Any]],
        flags: list[Slot[Flag]],
        events: list[Line],
        error: Exception,
    ) -> None:
        if is_engine_trouble(error):
            reason: Exception = self._note_trouble(error)
            self._events.extendleft(reversed(events))
        else:
            reason = error
            for event in events:
                self.dropped += 1
                kind = event.kind if isinstance(event, Event) else "detail"
                self._report(f"an event of kind {kind} could not be written: {error}")
        answer(flags, reason if isinstance(reason, LedgerError) else LedgerError(f"ledger: {reason}"))
        for job in jobs:
            job.future.set_exception(reason)

    def _note_trouble(self, error: Exception) -> LedgerError:
        reason = explain(error, self._place)
        if self._reported_reason is None:
            self._first_failed_at = time.monotonic()
        if str(reason) != self._reported_reason:
            self._reported_reason = str(reason)
            self._report(f"cannot write: {reason}")
        self._failed_at = time.monotonic()
        self._failures += 1
        self.last_error = reason
        self._engine.dispose()
        return reason

    def _succeeded(self) -> None:
        self._failures = 0
        self._slow = False
        self.last_error = None

    def _steady_in(self) -> float | None:
        """Seconds until reported trouble is reported to be over; None: there is none, or it lasts."""
        if self._reported_reason is None or self._failures:
            return None
        return max(self._failed_at + STEADY_S - time.monotonic(), 0.0)

    def _report_steady(self) -> None:
        # On a disk that is just about full writing works and fails in turn: that is one trouble.
        if self._steady_in() == 0.0 and self._reported_reason is not None:
            reason, self._reported_reason = self._reported_reason, None
            self._report("writing again")
            self._recovered(reason, self._failed_at - self._first_failed_at)

    def _report_drops(self) -> None:
        if self._dropped_since_report and not self._failures:
            count, self._dropped_since_report = self._dropped_since_report, 0
            self._report(f"{count} events were dropped: more came than could be written")


def _halves[T](values: list[T]) -> list[list[T]]:
    half = len(values) // 2
    return [part for part in (values[:half], values[half:]) if part]
