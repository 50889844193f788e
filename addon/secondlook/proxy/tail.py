"""The end of the log, by which the workers know of each other what matters to all of them."""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from secondlook.core.event import Event

logger = logging.getLogger(__name__)


class Tail(Protocol):
    """Some kinds of events at the end of the log, as a worker reads them."""

    async def recent(self, since: float) -> tuple[list[Event], str]:
        """Events since then (Unix seconds), oldest first, and where the log goes on."""
        ...

    async def after(self, cursor: str) -> tuple[list[Event], str]:
        """What of these was written after a cursor, and the next cursor."""
        ...

    def record(self, event: Event) -> None:
        """Write an event, some time soon."""
        ...


async def follow(
    tail: Tail, since: Callable[[], float], take: Callable[[Event], None], *, every_s: float
) -> None:
    """Hand on every event since a moment, and all that follow, until cancelled."""
    cursor: str | None = None
    while True:
        try:
            events, cursor = await (tail.recent(since()) if cursor is None else tail.after(cursor))
            for event in events:
                take(event)
        except Exception:
            logger.exception("the log cannot be read just now")
        await asyncio.sleep(every_s)
