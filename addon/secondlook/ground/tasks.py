"""Work that goes on beside everything else: none of it ends without a word in the log."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

type Work = Callable[[], Coroutine[Any, Any, None]]

logger = logging.getLogger(__name__)
AGAIN_S = 60.0


async def woken(wake: asyncio.Event, within_s: float | None) -> None:
    """Wait until somebody wakes us, or until the time is over (None: it never is)."""
    with suppress(TimeoutError):
        await asyncio.wait_for(wake.wait(), within_s)


class Tasks:
    """Background tasks; one that ends by an error is logged."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[object]] = set()

    def start(self, name: str, work: Coroutine[Any, Any, object]) -> None:
        """Run `work` until it ends by itself, or until `aclose`."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def keep(self, name: str, work: Work, *, again_s: float = AGAIN_S) -> None:
        """Run `work` until `aclose`; after an error it is begun anew `again_s` later."""
        self.start(name, _again_and_again(name, work, again_s))

    async def aclose(self) -> None:
        """Cancel all and wait for their end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s stopped working", task.get_name(), exc_info=error)


async def _again_and_again(name: str, work: Work, again_s: float) -> None:
    while True:
        try:
            return await work()
        except Exception:
            logger.exception("%s stopped working; it begins anew in %g s", name, again_s)
        await asyncio.sleep(again_s)
