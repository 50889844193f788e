"""The end of the log, by which the workers know of each other what matters to all of them."""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from secondlook.core.event import Event
from secondlook.ground.errors import LedgerError

logger = logging.getLogger(__name__)


class Tail(Protocol):
    """Some kinds of events at the end of the log, as a worker reads them."""

    async def recent(self, since: float) -> tuple[list[Event], str]:
        """Events since then (Unix seconds), oldest first, and where the log goes on."""

    async def after(self, cursor: str) -> tuple[list[Event], str]:
        """What of these was written after a cursor, and the next cursor."""

    def record(self, event: Event) -> None:
        """Write an event, some time soon."""


class Follower:
    """Hands on every event since a moment (`since`, Unix seconds), and all that follow, while it runs."""

    def __init__(
        self, tail: Tail, since: Callable[[], float], take: Callable[[Event], None], *, every_s: float
    ) -> None:
        self._tail = tail
        self._since = since
        self._take = take
        self._every_s = every_s
        self._cursor: str | None = None
        self._unreadable = False
        self._turn = asyncio.Lock()
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look again and again."""
        self._running = asyncio.get_running_loop().create_task(self._run(), name="the end of the log")

    async def look(self) -> None:
        """Hand on what has come by now."""
        async with self._turn:
            try:
                cursor = self._cursor
                events, self._cursor = await (
                    self._tail.recent(self._since()) if cursor is None else self._tail.after(cursor)
                )
                self._unreadable = False
                for event in events:
                    self._take(event)
            except LedgerError as error:
                if not self._unreadable:  # it may be away for long
                    logger.warning("the log cannot be read just now: %s", error)
                self._unreadable = True
            except Exception:
                logger.exception("the log cannot be read just now")

    async def aclose(self) -> None:
        """Look no more."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(self._every_s)
