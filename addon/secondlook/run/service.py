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

from secondlook.errors import ConfigError, LedgerError
from secondlook.run.opening import open_ledger
from secondlook.run.parts import Parts
from secondlook.run.process import Process, begin, cannot_start
from secondlook.run.second_look import make_notifier, make_rechecker
from secondlook.run.viewing import make_watcher

logger = logging.getLogger(__name__)

HEARTBEAT_S = 5.0


async def serve(process: Process) -> None:
    """Run every part until told to stop, then end them in reverse order."""
    settings, plan = process.settings, process.plan
    stop = process.stop_event()
    async with contextlib.AsyncExitStack() as stack:
        ledger = open_ledger(settings, keeper=True)
        stack.push_async_callback(asyncio.to_thread, ledger.close)
        parts = Parts.build(settings, ledger, heartbeat_s=HEARTBEAT_S)
        stack.push_async_callback(parts.gatekeeper.aclose)
        notifier = make_notifier(settings, parts)
        rechecker = make_rechecker(settings, parts, notifier)
        watcher = make_watcher(
            parts, on_pattern=lambda _: rechecker.trigger("new lists are in place", renew_all=True)
        )
        await watcher.refresh()
        await parts.lookup.start()
        stack.push_async_callback(parts.lookup.aclose)
        if plan.server is not None:
            await parts.lookup.set_local(plan.server)
        tasks = Tasks()
        stack.push_async_callback(tasks.aclose)
        tasks.start("watcher", watcher.run())
        tasks.start("second look", rechecker.run())
        if notifier is not None:
            tasks.start("notices", notifier.run())
        process.say(ready=True)
        await stop.wait()


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
