"""The service process: `python -m secondlook.run.service PLAN PIPE INDEX`, started by the supervisor.

```
embedded server ◄── feeds            ledger: keeper of WAL, journal and retention
      │ generation                      │
      ▼                                 ▼
   updater ──► STATE/pattern        second look ──► actions, notices
                                    review page
```

Traffic never waits for it: workers share its files and ask its server over loopback.
"""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine

from secondlook.agent.pattern_files import read_stamp
from secondlook.agent.recheck import Rechecker
from secondlook.agent.updater import Updater
from secondlook.core.pattern import Pattern
from secondlook.errors import ConfigError, LedgerError, PatternError
from secondlook.run.feeding import make_embedded
from secondlook.run.listening import inherited
from secondlook.run.opening import open_ledger
from secondlook.run.outlets import make_outlets
from secondlook.run.parts import Parts
from secondlook.run.process import Process, begin, cannot_start
from secondlook.run.reviewing import Program, ReviewServer
from secondlook.run.second_look import make_notifier, make_quarantine, make_rechecker
from secondlook.run.updates import make_updater
from secondlook.run.viewing import make_watcher

logger = logging.getLogger(__name__)

HEARTBEAT_S = 5.0
FIRST_UPDATE_S = 10.0


async def serve(process: Process) -> None:
    """Run every part until told to stop, then end them in reverse order."""
    settings, plan = process.settings, process.plan
    stop = process.stop_event()
    async with contextlib.AsyncExitStack() as stack:
        ledger = open_ledger(settings, keeper=True)
        stack.push_async_callback(asyncio.to_thread, ledger.close)
        parts = Parts.build(settings, ledger, heartbeat_s=HEARTBEAT_S)
        stack.push_async_callback(parts.gatekeeper.aclose)
        await parts.lookup.start()
        stack.push_async_callback(parts.lookup.aclose)
        tasks = Tasks()
        stack.push_async_callback(tasks.aclose)

        updaters: list[Updater] = []  # there is none yet when the server starts

        def announce(_number: int) -> None:
            for updater in updaters:
                updater.announce()

        embedded = make_embedded(process, parts, on_generation=announce)
        if embedded is not None:
            await embedded.start(inherited(plan.sockets["server"][0]))
            stack.push_async_callback(embedded.stop)
            await parts.lookup.set_local(plan.server)
        updater = make_updater(parts)
        updaters.append(updater)

        notifier = make_notifier(settings, parts)
        quarantine = make_quarantine(settings, parts)
        rechecker = make_rechecker(settings, parts, notifier, quarantine)
        watcher = make_watcher(parts, on_pattern=lambda pattern: _taken_up(process, rechecker, pattern))
        await first_generation(updater)
        await watcher.refresh()
        await quarantine.settle()

        tasks.start("watcher", watcher.run())
        tasks.start("updater", updater.run())
        tasks.start("second look", rechecker.run())
        if notifier is not None:
            tasks.start("notices", notifier.run())
        outlets = make_outlets(settings.log, settings.upstream_proxy, ledger, settings.state)
        if outlets is not None:
            tasks.start("events out", outlets.run())
        if plan.sockets.get("review"):
            program = Program(
                parts,
                proxy=plan.proxy,
                updater=updater,
                rechecker=rechecker,
                quarantine=quarantine,
                embedded=embedded,
            )
            review = ReviewServer(
                settings,
                parts,
                program,
                inherited(plan.sockets["review"][0]),
                renewed=lambda token: process.say(token=token),
            )
            process.say(token=review.doorkeeper.token)
            tasks.start("review page", review.run())
        process.say(ready=True)
        await stop.wait()


async def first_generation(updater: Updater) -> None:
    """Where there is no pattern yet, wait for the first one, but not for ever."""
    with contextlib.suppress(PatternError):
        if read_stamp(updater.folder) is not None:
            return
    try:
        async with asyncio.timeout(FIRST_UPDATE_S):
            for outcome in await updater.update_now():
                if outcome.error is not None:
                    logger.warning("no lists from %s yet: %s", outcome.server, outcome.error)
    except TimeoutError:
        logger.warning("the first lists take long; traffic is checked by asking until they are here")


def _taken_up(process: Process, rechecker: Rechecker, pattern: Pattern) -> None:
    entries = sum(table.count for _, table in pattern.lists)
    told = f"{len(pattern.lists)} lists, {entries:,} entries, generation {pattern.generation}"
    process.say(pattern=pattern.generation or None, pattern_told=told if pattern.generation else None)
    rechecker.trigger("new lists are in place", renew_all=True)


class Tasks:
    """Background tasks that should never end by themselves; one that does is told loudly."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, name: str, work: Coroutine[None, None, None]) -> None:
        """Run `work` until `aclose`."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def aclose(self) -> None:
        """Cancel all and wait for their end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s stopped working", task.get_name(), exc_info=error)


def main() -> None:
    """Run as a child of the supervisor."""
    process = begin("service")
    try:
        asyncio.run(serve(process))
    except (ConfigError, LedgerError) as error:
        cannot_start(error)


if __name__ == "__main__":
    main()
