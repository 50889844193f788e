"""The log: pages of it, one event, what is new, and all of it."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from secondlook.core.event import Event
from secondlook.ledger.ledger import EventFilter, Ledger
from secondlook.ledger.log.shape import event_json
from secondlook.review.program import Json

FOLLOW_S = 0.25  # between two looks at the end of the log
FOLLOW_BATCH = 200
FOLLOW_QUIET_S = 15.0


@dataclass(frozen=True, slots=True)
class LogPage:
    """One page of the log, newest first, and the cursors of its neighbours."""

    events: list[Json]
    older: str | None
    newer: str | None


def _beside(cursor: str, step: int) -> str:
    """Return the place beside a cursor's: turning back from an empty page begins with that event itself."""
    return f"s{int(cursor[1:]) + step}" if cursor.startswith("s") else cursor


class LogOperations:
    """Reads the log."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def page(
        self,
        wanted: EventFilter,
        *,
        after: str | None = None,
        before: str | None = None,
        limit: int,
        oldest_first: bool = False,
    ) -> LogPage:
        """Return one page, its newest event first.

        A reader goes back in time, or with `oldest_first` forward; `after` is the place to go on from,
        `before` the place to turn back from; with neither it is the first page.
        """
        forward = oldest_first if before is None else not oldest_first
        place = after if before is None else before
        found = await self._ledger.run(
            self._ledger.events.page, wanted, after=place, limit=limit, newest_first=not forward
        )
        events = list(reversed(found.events)) if forward else list(found.events)
        beyond = found.cursor if found.more else None
        if place is None:
            behind = None
        elif events:
            behind = events[0 if not forward else -1].id
        else:
            behind = place if before is not None else _beside(place, 1 if forward else -1)
        newer, older = (beyond, behind) if forward else (behind, beyond)
        return LogPage([event_json(event) for event in events], older, newer)

    async def find(self, event_id: str) -> Json | None:
        """Return one event; its explanation is under `extra`."""
        event = await self._ledger.run(self._ledger.events.find, event_id)
        return None if event is None else event_json(event)

    async def end(self) -> str:
        """Return the place in the log where what is written from now on begins."""
        return await self._ledger.run(self._ledger.events.end)

    async def follow(
        self, wanted: EventFilter, after: str | None = None
    ) -> AsyncIterator[tuple[list[Json], str]]:
        """Yield new events in batches as they are written, each with the place to go on from.

        Begins at `after`, or now; an empty batch now and then shows that the connection lives.
        """
        cursor = after if after is not None else await self.end()
        quiet_since = time.monotonic()
        while True:
            found, cursor = await self._ledger.run(
                self._ledger.events.tail, wanted, after=cursor, limit=FOLLOW_BATCH
            )
            if found or time.monotonic() - quiet_since > FOLLOW_QUIET_S:
                quiet_since = time.monotonic()
                yield [event_json(event) for event in found], cursor
            if not found:
                await asyncio.sleep(FOLLOW_S)

    async def tail(self, wanted: EventFilter, after: str | None) -> tuple[list[Json], str]:
        """Return events written after a cursor (None: now), and where to go on."""
        if after is None:
            return [], await self.end()
        found, cursor = await self._ledger.run(
            self._ledger.events.tail, wanted, after=after, limit=FOLLOW_BATCH
        )
        return [event_json(event) for event in found], cursor

    def export(self, wanted: EventFilter) -> Iterator[Event]:
        """Yield all matching events, oldest first, in bounded memory; blocks."""
        return self._ledger.events.export(wanted)
