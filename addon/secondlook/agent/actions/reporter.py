"""Reporting findings to our own servers, so that what one agent found protects all.

```
outbox ──► first server that takes them ──► event: what became of them
   ▲                  │ none does
   └──── waits ◄──────┘ event, once for each reason
```

A server that is away, has another token, or takes no findings may do so later: what waits is bounded by the
outbox, and kept. Waits double from `FIRST_WAIT_S` up to `LONGEST_WAIT_S` while no server answers.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from secondlook.agent.actions.outbox import Outbox
from secondlook.agent.ports import EventSink
from secondlook.core.event import Event, EventKind
from secondlook.ground.clock import Clock
from secondlook.ground.errors import ServiceError
from secondlook.ground.lanes import STATE
from secondlook.ground.ulid import make_id
from secondlook.wire.finding import Outcome, Report

LOOK_S = 2.0
FIRST_WAIT_S = 5.0
LONGEST_WAIT_S = 300.0


class FindingServer(Protocol):
    """A server of ours that may take findings."""

    @property
    def name(self) -> str:
        """The name shown to people."""

    async def report(self, report: Report) -> list[tuple[Outcome, str | None]]:
        """Report; what became of each finding. Raises ServiceError when it takes none."""


class Reporter:
    """Sends what is in the outbox while `run` runs; `agent` is how this agent is called."""

    def __init__(
        self,
        outbox: Outbox,
        servers: Sequence[FindingServer],
        events: EventSink,
        clock: Clock,
        agent: str,
        *,
        look_s: float = LOOK_S,
    ) -> None:
        self._outbox = outbox
        self._servers = tuple(servers)
        self._events = events
        self._clock = clock
        self._agent = agent
        self._look_s = look_s
        self._fault: str | None = None

    async def run(self) -> None:
        """Report again and again, until cancelled."""
        wait_s = FIRST_WAIT_S
        while True:
            if await self.report_waiting():
                wait_s = FIRST_WAIT_S
                await asyncio.sleep(self._look_s)
            else:
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    async def report_waiting(self) -> bool:
        """Send what waits; False when it has to wait on, as no server takes it."""
        waiting = await STATE.run(self._outbox.waiting)
        if not waiting:
            return True
        report = Report(self._agent, tuple(waiting.values()))
        fault: str | None = None
        for server in self._servers:
            try:
                outcomes = await server.report(report)
            except ServiceError as error:
                fault = f"{server.name}: {error}"
            else:
                await STATE.run(self._outbox.drop, waiting)
                self._record(EventKind.ACTION, _summary(server.name, outcomes), server.name)
                self._fault = None
                return True
        if fault != self._fault:
            self._record(EventKind.ERROR, f"findings wait to be reported: {fault}")
        self._fault = fault
        return False

    def _record(self, kind: EventKind, detail: str, server: str | None = None) -> None:
        now = self._clock.now()
        self._events.record(Event(id=make_id(now), kind=kind, time=now, server=server, detail=detail))


def _summary(server: str, outcomes: Sequence[tuple[Outcome, str | None]]) -> str:
    counts = Counter(outcome.value for outcome, _ in outcomes)
    words = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
    reasons = sorted({reason for _, reason in outcomes if reason})
    why = f" ({'; '.join(reasons)})" if reasons else ""
    return f"{_findings(len(outcomes))} reported to {server}: {words}{why}"


def _findings(count: int) -> str:
    return "one finding" if count == 1 else f"{count} findings"
