"""The queue as the second look takes from it, and as people see it."""

from collections.abc import Iterator, Sequence
from itertools import batched
from typing import Any, Final

import sqlalchemy as sa

from secondlook.core.event import Event, QueueEntry
from secondlook.ledger.engine.codec import clean, row_queue
from secondlook.ledger.engine.store import Store
from secondlook.ledger.engine.tables import flagged, flagged_clients
from secondlook.ledger.log.recorder import Recorder
from secondlook.ledger.queue.flagged import LONGEST_WAIT_S, count, is_leased, remove

_CHUNK: Final = 500
_CLIENTS_SHOWN: Final = 1000


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

        What lies further ahead than anybody ever writes was written before the clock was set back. Where our
        clock is ahead of the database's, nothing is older than by that.
        """
        attempt = flagged.c.next_attempt
        free = sa.not_(is_leased(flagged.c.lease_until, now, lease_s))
        due = free
        if older_than is not None:
            ahead_s = await self._store.run(self._store.clock_ahead_s) or 0.0
            due = sa.and_(free, flagged.c.first_seen < older_than - max(0.0, ahead_s))
        elif not everything:
            due = sa.and_(free, sa.or_(attempt <= now, attempt > now + LONGEST_WAIT_S))
        chosen = sa.select(flagged.c.id).where(due).order_by(flagged.c.first_seen).limit(limit)
        chosen = chosen.with_for_update(skip_locked=True)  # of no meaning on SQLite: one writes at a time
        statement = (
            sa.update(flagged)
            .where(flagged.c.id.in_(sa.select(chosen.cte("chosen").c.id)))
            .values(lease_until=now + lease_s)
            .returning(*flagged.c)
        )

        def work(connection: sa.Connection) -> list[QueueEntry]:
            rows = connection.execute(statement).mappings().all()
            return _with_clients(connection, sorted(rows, key=lambda row: (row["first_seen"], row["id"])))

        return await self._store.commit(work)

    async def renew(self, entries: Sequence[str], until: float) -> None:
        """Make the leases of entries (by id) last until then; one whose lease was given back stays free."""

        def work(connection: sa.Connection) -> None:
            for chunk in batched(sorted(entries), _CHUNK):
                leased = sa.and_(flagged.c.id.in_(chunk), flagged.c.lease_until.is_not(None))
                connection.execute(sa.update(flagged).where(leased).values(lease_until=until))

        await self._store.commit(work)

    async def close(self, closings: Sequence[tuple[QueueEntry, Event]]) -> None:
        """End entries, each with its event, in one transaction; one that another ended is passed over."""

        def work(connection: sa.Connection) -> None:
            gone = remove(connection, [entry.id for entry, _ in closings])
            self._recorder.write(connection, (event for entry, event in closings if entry.id in gone))

        await self._store.commit(work)

    async def postpone(
        self, entries: Sequence[QueueEntry], next_attempt: Sequence[float], reason: str
    ) -> None:
        """Count an attempt that decided nothing, and end the leases."""
        if not entries:
            return
        statement = (
            sa.update(flagged)
            .where(flagged.c.id == sa.bindparam("entry"))
            .values(
                attempts=flagged.c.attempts + 1,
                next_attempt=sa.bindparam("at"),
                reason=clean(reason),
                lease_until=None,
            )
        )
        ordered = sorted((entry.id, at) for entry, at in zip(entries, next_attempt, strict=True))
        rows = [{"entry": entry, "at": at} for entry, at in ordered]
        await self._store.commit(lambda connection: connection.execute(statement, rows))

    def page(self, *, after: tuple[float, str] | None = None, limit: int = 1_000) -> list[QueueEntry]:
        """A page of the queue, oldest first; `after` is (first_seen, id) of the last entry seen."""
        query = sa.select(flagged).order_by(flagged.c.first_seen, flagged.c.id).limit(limit)
        if after is not None:
            at, entry = after
            query = query.where(
                sa.or_(
                    flagged.c.first_seen > at,
                    sa.and_(flagged.c.first_seen == at, flagged.c.id > entry),
                )
            )
        return self._found(query)

    def walk(self) -> Iterator[QueueEntry]:
        """All entries of the queue, oldest first, in bounded memory."""
        last: tuple[float, str] | None = None
        while page := self.page(after=last):
            yield from page
            last = page[-1].first_seen, page[-1].id

    def find(self, entry_id: str) -> QueueEntry | None:
        """One entry by its id."""
        return next(iter(self._found(sa.select(flagged).where(flagged.c.id == entry_id))), None)

    def count(self) -> tuple[int, float | None, float | None]:
        """Number of entries, the oldest `first_seen`, the earliest next attempt."""
        return self._store.read(count)

    def _found(self, query: sa.Select[Any]) -> list[QueueEntry]:
        return self._store.read(
            lambda connection: _with_clients(connection, connection.execute(query).mappings().all())
        )


def _with_clients(connection: sa.Connection, rows: Sequence[Any]) -> list[QueueEntry]:
    clients: dict[bytes, list[str]] = {}
    for chunk in batched([row["identity"] for row in rows], _CHUNK):
        found = connection.execute(
            sa.select(flagged_clients)
            .where(flagged_clients.c.identity.in_(chunk))
            .order_by(flagged_clients.c.client)
        )
        for identity, client in found:
            shown = clients.setdefault(bytes(identity), [])
            if len(shown) < _CLIENTS_SHOWN:
                shown.append(client)
    return [row_queue(row, clients.get(bytes(row["identity"]), ())) for row in rows]
