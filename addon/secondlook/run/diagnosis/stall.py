"""The stall watch: how late the event loop of a process comes round, and what held it.

```
the loop comes round every TICK_S ──► its lateness (metric) ──► over STALL_S: reported, with the place
a thread looks every TICK_S ─────────► the loop is overdue ───► notes where the loop's thread stands
```

A process that nobody let run (a busy machine, a stopped process) is distinguished from one that was held by
its own work: it has used no processor time meanwhile.
"""

import asyncio
import collections
import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

from secondlook.agent import metrics
from secondlook.core.event import Event, EventKind
from secondlook.ground.clock import Clock
from secondlook.ledger.log.recorder import Recorder

logger = logging.getLogger(__name__)

TICK_S = 0.25
STALL_S = 1.0
QUIET_S = 60.0  # between two events of one process: what comes meanwhile is counted
OURS = "secondlook."
NOT_RUN = "the process did not get the processor"


@dataclass(frozen=True, slots=True)
class Stall:
    """One time that the loop did not come round: for how long, and where its thread stood."""

    lateness_s: float
    place: str


class StallWatch:
    """Measures the lateness of the loop it runs on and reports each stall."""

    def __init__(
        self,
        report: Callable[[Stall], None],
        *,
        tick_s: float = TICK_S,
        stall_s: float = STALL_S,
        processor_s: Callable[[], float] = time.process_time,
    ) -> None:
        self._report = report
        self._processor_s = processor_s
        self._tick_s = tick_s
        self._stall_s = stall_s
        self.places: collections.Counter[str] = collections.Counter()  # where the loop stood while overdue
        self._due = time.monotonic() + tick_s
        self._loop_thread = threading.get_ident()
        self._ended = threading.Event()

    async def run(self) -> None:
        """Watch until cancelled."""
        looker = threading.Thread(target=self._look, name="stall watch", daemon=True)
        used = self._processor_s()
        self._due = time.monotonic() + self._tick_s
        looker.start()
        try:
            while True:
                await asyncio.sleep(self._due - time.monotonic())
                lateness_s = max(0.0, time.monotonic() - self._due)
                metrics.LOOP_LATENESS.observe(lateness_s)
                used, before = self._processor_s(), used
                self._due = time.monotonic() + self._tick_s
                if lateness_s >= self._stall_s:
                    self._report(Stall(lateness_s, self._place(busy=used - before > lateness_s / 2)))
                self.places.clear()
        finally:
            self._ended.set()

    def _place(self, *, busy: bool) -> str:
        if not self.places:
            return "nobody saw where" if busy else NOT_RUN
        place, _ = self.places.most_common(1)[0]
        return place if busy else f"{place}, or {NOT_RUN}"

    def _look(self) -> None:
        while not self._ended.wait(self._tick_s):
            if time.monotonic() - self._due > self._stall_s / 2:
                frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - public but for its name
                if frame is not None:
                    self.places[place_of(frame)] += 1


def place_of(frame: FrameType) -> str:
    """Name where a thread stands and, where that is not ours, the function of ours that called it."""
    here = _name(frame)
    at: FrameType | None = frame
    while at is not None and not _module(at).startswith(OURS):
        at = at.f_back
    return here if at is None or at is frame else f"{here}, called by {_name(at)}"


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "?"))


def _name(frame: FrameType) -> str:
    return f"{_module(frame)}.{frame.f_code.co_qualname} (line {frame.f_lineno})"


class StallReporter:
    """Writes stalls into the program's own log and into the ledger, at most one a minute."""

    def __init__(self, recorder: Recorder, clock: Clock, process: str) -> None:
        self._recorder = recorder
        self._clock = clock
        self._process = process
        self._quiet_until = float("-inf")
        self._unreported = 0

    def __call__(self, stall: Stall) -> None:
        """Report one stall."""
        if self._clock.monotonic() < self._quiet_until:
            self._unreported += 1
            return
        self._quiet_until = self._clock.monotonic() + QUIET_S
        before, self._unreported = self._unreported, 0
        detail = f"the event loop stood still for {stall.lateness_s:.1f} s: {stall.place}"
        if before:
            detail += f"; {before} more since the last report"
        logger.warning("%s", detail)
        extra: dict[str, object] = {"process": self._process}
        now = self._clock.now()
        self._recorder.record(Event(id="", kind=EventKind.ERROR, time=now, detail=detail, extra=extra))


async def watch_stalls(recorder: Recorder, clock: Clock, process: str) -> None:
    """Watch the running loop until cancelled; `process` names it in the events."""
    await StallWatch(StallReporter(recorder, clock, process)).run()
