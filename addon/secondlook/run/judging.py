"""What is around the front of every process that judges traffic: a worker's proxy, a gate worker's listeners.

```
ledger, parts, saved answers ─► view kept in step ─► servers ─► first lists ─► the front serves ─► stop
```
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from secondlook.agent.check.watch import Watcher
from secondlook.agent.metrics import count_events
from secondlook.core.lists.pattern import Pattern
from secondlook.ground.errors import LedgerError
from secondlook.ground.lanes import STATE
from secondlook.ground.tasks import Tasks
from secondlook.ledger.ledger import Ledger
from secondlook.run.assembly.check.ledger_opening import open_ledger
from secondlook.run.assembly.check.parts import Parts, load_cache, save_cache
from secondlook.run.assembly.check.viewing import make_watcher
from secondlook.run.assembly.monitoring.ready import why_not_ready
from secondlook.run.diagnosis.stall import watch_stalls
from secondlook.run.process import Process

MENDING_S = 15.0
FIRST_PATTERN_S = 10.0  # for the embedded server's first lists, on a fresh state folder


@dataclass(slots=True)
class Judging:
    """The parts of a process that judges, started; `stop` is set by SIGTERM."""

    process: Process
    parts: Parts
    watcher: Watcher
    stop: asyncio.Event
    tasks: Tasks

    def not_ready(self) -> str | None:
        """Return what keeps this process from protecting, in words."""
        return why_not_ready(self.parts, self.watcher)

    def ready(self) -> None:
        """Report that traffic is served, and watch over the event loop from now on."""
        self.process.report_ready()
        parts = self.parts
        watch = partial(watch_stalls, parts.ledger.recorder, parts.clock, self.process.name)
        self.tasks.keep("stall watch", watch)


@contextlib.asynccontextmanager
async def judging(process: Process, answers: Path) -> AsyncIterator[Judging]:
    """Start what traffic is judged by, and end it after the front; `answers` is the file of saved answers.

    Raises LedgerError.
    """
    settings, plan = process.settings, process.plan
    stop = process.stop_event()
    ledger = await _open_ledger(process)
    parts = Parts.build(settings, ledger, worker=process.name)
    load_cache(parts.cache, answers, now=time.time(), stale_for_s=settings.cache.stale_for)

    listed = asyncio.Event()

    def taken_up(pattern: Pattern) -> None:
        process.report(pattern=pattern.generation or None)
        if pattern.generation:
            listed.set()

    watcher = make_watcher(parts, on_pattern=taken_up)
    await watcher.refresh()
    tasks = Tasks()
    tasks.keep("watcher", watcher.run)
    await parts.lookup.start()
    if plan.server is not None:
        await parts.lookup.set_local(plan.server)
        # it publishes its first lists in a moment: who comes now waits for them
        waits = [asyncio.create_task(event.wait()) for event in (listed, stop)]
        await asyncio.wait(waits, timeout=FIRST_PATTERN_S, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
    tasks.keep("saving of answers", partial(_save_again, parts, answers))
    yield Judging(process, parts, watcher, stop, tasks)
    await tasks.aclose()
    await parts.gatekeeper.aclose()
    await parts.lookup.aclose()
    save_cache(parts.cache.dump(), answers)
    await STATE.run(ledger.close)


async def _open_ledger(process: Process) -> Ledger:
    """Open the ledger; a damaged one is mended by the service, which starts too. Raises LedgerError."""
    end = time.monotonic() + MENDING_S
    while True:
        try:
            return await STATE.run(open_ledger, process.settings, counted=count_events)
        except LedgerError:
            if time.monotonic() >= end:
                raise
        await asyncio.sleep(0.2)


async def _save_again(parts: Parts, answers: Path) -> None:
    """Save the answers every few minutes, off the event loop."""
    while True:
        await asyncio.sleep(parts.settings.cache.save_every)
        data = parts.cache.dump()
        await STATE.run(save_cache, data, answers)
