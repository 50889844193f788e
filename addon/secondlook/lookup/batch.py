"""Prefixes of concurrent checks, gathered into few requests; one flight for each prefix.

A *flight* is one prefix on its way: first pending in a lane, then part of a query that is running.
A *ticket* is one check waiting for its prefixes. A check that needs a prefix which is already on its
way joins that flight, so no two checks of one process ask for the same prefix at the same time.

```
lane idle                     new prefixes leave at once (gathered over one turn of the event loop)
lane busy                     they wait for the window (≤ 2 ms), or until the lane is idle, or for 1000
lane full (`limit` queries)   they wait for a query to end
```

Pages and downloads have a lane each: what waits in one does not hold up the other. A prefix pending
in both leaves with whichever lane comes first.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from secondlook.core.answer import MOST_PREFIXES, Attempt, PrefixAnswer
from secondlook.ground.tasks import Tasks
from secondlook.lookup.pace import Share

WINDOW_S: Final = 0.002
REPORT_S: Final = 0.005  # a query ends so long before who waits for it: what was tried can still be reported


@dataclass(frozen=True, slots=True)
class QueryOutcome:
    """What became of one query: answers for all its prefixes, or an error."""

    answers: dict[bytes, PrefixAnswer]
    attempts: tuple[Attempt, ...]
    error: str | None = None


type Query = Callable[[Sequence[bytes], Share, float], Awaitable[QueryOutcome]]


@dataclass(slots=True, eq=False)
class _Ticket:
    future: asyncio.Future[None]
    waiting: int = 0
    joined: bool = False
    answers: dict[bytes, PrefixAnswer] = field(default_factory=dict)
    outcomes: list[QueryOutcome] = field(default_factory=list)  # of the queries that it took part in
    error: str | None = None

    def settle(self, prefix: bytes, answer: PrefixAnswer | None, outcome: QueryOutcome) -> None:
        if not any(outcome is known for known in self.outcomes):
            self.outcomes.append(outcome)
        if answer is not None:
            self.answers[prefix] = answer
        else:
            self.error = outcome.error or "no answer"
        self.waiting -= 1
        if not self.waiting and not self.future.done():
            self.future.set_result(None)


@dataclass(slots=True, eq=False)
class _Flight:
    tickets: list[_Ticket]
    deadline: float
    sent: bool = False


class _Lane:
    __slots__ = ("due", "limit", "pending", "running", "share", "timer")

    def __init__(self, share: Share, limit: int) -> None:
        self.share = share
        self.limit = limit
        self.pending: dict[bytes, _Flight] = {}
        self.running = 0
        self.timer: asyncio.TimerHandle | None = None
        self.due = False  # leaves with the next turn of the loop


class Batcher:
    """Gathers the prefixes of one tier; `query(prefixes, share, deadline)` sends a batch and never raises."""

    def __init__(self, query: Query, limits: dict[Share, int], *, window_s: float = WINDOW_S) -> None:
        self._query = query
        self._window_s = window_s
        self._lanes = {share: _Lane(share, limits[share]) for share in Share}
        self._flights: dict[bytes, _Flight] = {}
        self._tasks = Tasks()

    async def ask(self, prefixes: Iterable[bytes], share: Share, deadline: float) -> QueryOutcome:
        """Wait for an answer to each prefix, at most until `deadline` (the loop's monotonic seconds)."""
        wanted = list(dict.fromkeys(prefixes))
        ticket = await self._wait(wanted, share, deadline)
        loop = asyncio.get_running_loop()
        missing = [prefix for prefix in wanted if prefix not in ticket.answers]
        if missing and ticket.joined and loop.time() < deadline:
            # It failed with a query that others had begun earlier; this check has time of its own left.
            again = await self._wait(missing, share, deadline)
            again.answers.update(ticket.answers)
            again.outcomes[:0] = ticket.outcomes
            ticket = again
            missing = [prefix for prefix in wanted if prefix not in ticket.answers]
        attempts = tuple(attempt for outcome in ticket.outcomes for attempt in outcome.attempts)
        return QueryOutcome(ticket.answers, attempts, (ticket.error or "timeout") if missing else None)

    async def aclose(self) -> None:
        """Give up everything that is on its way."""
        for lane in self._lanes.values():
            if lane.timer is not None:
                lane.timer.cancel()
        await self._tasks.aclose()

    async def _wait(self, prefixes: list[bytes], share: Share, deadline: float) -> _Ticket:
        loop = asyncio.get_running_loop()
        ticket = _Ticket(loop.create_future())
        lane = self._lanes[share]
        added = False
        for prefix in prefixes:
            flight = self._flights.get(prefix)
            if flight is None:
                flight = self._flights[prefix] = _Flight([], deadline)
            elif flight.sent:
                ticket.joined = True
            flight.tickets.append(ticket)
            flight.deadline = max(flight.deadline, deadline)
            ticket.waiting += 1
            if not flight.sent and lane.pending.get(prefix) is not flight:
                lane.pending[prefix] = flight
                added = True
        if added:
            self._schedule(lane)
        if not ticket.waiting:
            return ticket
        alarm = loop.call_at(deadline, _give_up, ticket.future)
        try:
            await ticket.future
        finally:
            alarm.cancel()
        return ticket

    def _schedule(self, lane: _Lane) -> None:
        if lane.due or lane.running >= lane.limit:
            return
        loop = asyncio.get_running_loop()
        if lane.running == 0 or len(lane.pending) >= MOST_PREFIXES:
            lane.due = True
            loop.call_soon(self._dispatch, lane)
        elif lane.timer is None:
            lane.timer = loop.call_later(self._window_s, self._dispatch, lane)

    def _dispatch(self, lane: _Lane) -> None:
        lane.due = False
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
        while lane.pending and lane.running < lane.limit:
            batch: dict[bytes, _Flight] = {}
            while lane.pending and len(batch) < MOST_PREFIXES:
                prefix = next(iter(lane.pending))
                flight = lane.pending.pop(prefix)
                if flight.sent:  # left with the other lane
                    continue
                if all(ticket.future.done() for ticket in flight.tickets):  # nobody waits any more
                    self._flights.pop(prefix, None)
                    flight.sent = True
                    continue
                flight.sent = True
                batch[prefix] = flight
            if batch:
                lane.running += 1
                self._tasks.start("a query", self._run(lane, batch))

    async def _run(self, lane: _Lane, batch: dict[bytes, _Flight]) -> None:
        outcome = QueryOutcome({}, (), "stopped")
        try:
            deadline = max(flight.deadline for flight in batch.values()) - REPORT_S
            outcome = await self._query(list(batch), lane.share, deadline)
        finally:
            lane.running -= 1
            for prefix, flight in batch.items():
                del self._flights[prefix]
                answer = outcome.answers.get(prefix)
                for ticket in flight.tickets:
                    ticket.settle(prefix, answer, outcome)
            if lane.pending:
                self._schedule(lane)


def _give_up(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
