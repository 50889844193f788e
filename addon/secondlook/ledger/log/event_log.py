"""The event log as it is read: pages, exports, and what is written from now on."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any, Final

import sqlalchemy as sa

from secondlook.core.event import Event
from secondlook.core.tls_exception import KINDS, PASSTHROUGH, Lasting, Passage, passages
from secondlook.ledger.engine.codec import row_event
from secondlook.ledger.engine.store import Store
from secondlook.ledger.engine.tables import events
from secondlook.ledger.log.filter import EventFilter
from secondlook.ledger.log.reading import LogReader, Page
from secondlook.ledger.log.tail import LogTail

_FOLLOW_S: Final = 0.25
_WRITTEN_LATE_S: Final = 2.0  # by so much an event may be written after its time
_PASSAGES: Final = 1_000
_STEP: Final = 1_000  # events that an export has in memory …
_STEP_S: Final = 5.0  # … and how long it looks for so many
_ALL: Final = EventFilter()


class EventLog:
    """Reads the log; what is not `async` blocks its thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._reader = LogReader(store.readers)
        self._tail = LogTail(store.readers)

    async def run[T](self, function: Callable[..., T], *args: Any, **named: Any) -> T:
        """Run a blocking method of this log off the event loop."""
        return await self._store.run(function, *args, **named)

    def page(
        self,
        wanted: EventFilter = _ALL,
        *,
        after: str | None = None,
        limit: int = 100,
        newest_first: bool = True,
    ) -> Page:
        """One page of the log; `after` is the cursor of the page before, or an event's id."""
        return self._store.guard(
            lambda: self._reader.page(wanted, after=after, limit=limit, newest_first=newest_first)
        )

    def find(self, event_id: str) -> Event | None:
        """One event by its id."""
        query = sa.select(events).where(events.c.id == event_id)
        row = self._store.read(lambda connection: connection.execute(query).mappings().one_or_none())
        return None if row is None else row_event(row)

    def export(
        self, wanted: EventFilter = _ALL, *, newest_first: bool = False, upto: str | None = None
    ) -> Iterator[Event]:
        """All matching events, oldest first; `upto` a cursor: none that follow it.

        A page of them is in memory at a time, each read in a transaction of its own.
        """
        read = partial(self._reader.page, wanted, limit=_STEP, newest_first=newest_first, upto=upto)
        cursor, more = None, True
        while more:
            page = self._store.guard(partial(read, after=cursor, budget_s=_STEP_S))
            yield from page.events
            cursor, more = page.cursor, page.more

    def passages(self, lasting: Lasting) -> list[Passage]:
        """TLS that is passed through now, by what was learned and what clients let pass for themselves."""
        now = self._store.clock.now()
        wanted = EventFilter(kind=tuple(KINDS), stage=PASSTHROUGH, since=now - lasting.longest_s)
        return passages(self.page(wanted, limit=_PASSAGES).events, lasting, now)

    def end(self) -> str:
        """The cursor of a tail that begins now."""
        return self._store.guard(self._tail.end)

    def tail(self, wanted: EventFilter = _ALL, *, after: str, limit: int = 1_000) -> tuple[list[Event], str]:
        """Events written after a cursor or an event id, in the order of writing, and the next cursor."""
        return self._store.guard(lambda: self._tail.after(wanted, after, limit))

    async def follow(self, wanted: EventFilter = _ALL, *, after: str | None = None) -> AsyncIterator[Event]:
        """Yield events as they are written, from now or from a cursor or event id on.

        Goes on for ever, or to the end of the times that are wanted.
        """
        cursor = await self.run(self.end) if after is None else after
        over = False
        while not over:
            over = wanted.until is not None and self._store.clock.now() > wanted.until + _WRITTEN_LATE_S
            found, cursor = await self.run(self.tail, wanted, after=cursor)
            for event in found:
                yield event
            if found:
                over = False
            elif not over:
                await asyncio.sleep(_FOLLOW_S)
