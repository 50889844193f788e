"""The queue as the second look takes from it, and as people see it."""

from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from secondlook.core.event import Event, QueueEntry
from secondlook.ledger.engine.store import Store
from secondlook.ledger.log.recorder import Recorder
from secondlook.ledger.queue import flagged


class RecheckQueue:
    """Entries of the queue (port `Queue` of `agent`); what is not `async` blocks its thread."""

    def __init__(self, store: Store, recorder: Recorder) -> None:
        self._store = store
        self._recorder = recorder

    async def take_due(
        self,
        now: float,
        *,
        limit: int,
        lease_s: float,
        everything: bool = False,
        older_than: float | None = None,
    ) -> list[QueueEntry]:
        """Lease due entries, oldest first; leased ones are passed over.

        `everything`: due or not; `older_than`: those first seen before it (Unix seconds), due or not.
        """
        return await self._store.commit(
            lambda connection: flagged.take_due(
                connection, now, limit=limit, lease_s=lease_s, everything=everything, older_than=older_than
            )
        )

    async def renew(self, entries: Sequence[str], until: float) -> None:
        """Make the leases of entries (by id) last until then."""
        await self._store.commit(lambda connection: flagged.renew(connection, entries, until))

    async def close(self, closings: Sequence[tuple[QueueEntry, Event]]) -> None:
        """End entries, each with its event, in one transaction; one that another ended is passed over."""

        def work(connection: sa.Connection) -> None:
            gone = flagged.remove(connection, [entry.id for entry, _ in closings])
            self._recorder.write(connection, (event for entry, event in closings if entry.id in gone))

        await self._store.commit(work)

    async def postpone(
        self, entries: Sequence[QueueEntry], next_attempt: Sequence[float], reason: str
    ) -> None:
        """Count an attempt that decided nothing, and end the leases."""
        await self._store.commit(
            lambda connection: flagged.postpone(connection, entries, next_attempt, reason)
        )

    def page(self, *, after: tuple[float, str] | None = None, limit: int = 1_000) -> list[QueueEntry]:
        """A page of the queue, oldest first; `after` is (first_seen, id) of the last entry seen."""
        return self._store.read(lambda connection: flagged.listing(connection, after=after, limit=limit))

    def walk(self) -> Iterator[QueueEntry]:
        """All entries of the queue, oldest first, in bounded memory."""
        last: tuple[float, str] | None = None
        while page := self.page(after=last):
            yield from page
            last = page[-1].first_seen, page[-1].id

    def find(self, entry_id: str) -> QueueEntry | None:
        """One entry by its id."""
        return self._store.read(lambda connection: flagged.show(connection, entry_id))

    def count(self) -> tuple[int, float | None, float | None]:
        """Number of entries, the oldest `first_seen`, the earliest next attempt."""
        return self._store.read(flagged.count)
