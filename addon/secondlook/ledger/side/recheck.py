"""The ledger as the second look sees it: queue, confirmed set, history (ports `Queue`, `History`)."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Final

import sqlalchemy as sa

from secondlook.core.event import ConfirmedEntry, Event, FlagEntry, QueueEntry, Remembered
from secondlook.core.subject import SubjectKind
from secondlook.ledger.base import OpenLedger
from secondlook.ledger.engine.codec import row_event
from secondlook.ledger.engine.tables import events
from secondlook.ledger.log.privacy import Privacy, without_query
from secondlook.ledger.queue import confirmed, flagged, history

_VISITS: Final = 10_000


class RecheckLedger(OpenLedger):
    """Queue and history over an open ledger."""

    _history: dict[bytes, tuple[Sequence[bytes], SubjectKind, Event]]
    forgotten = 0

    async def take_due(
        self, now: float, *, limit: int, lease_s: float, everything: bool = False
    ) -> list[QueueEntry]:
        """Lease due entries, oldest first (`everything`: due or not); leased ones are passed over."""
        return await self.commit(
            lambda connection: flagged.take_due(
                connection, now, limit=limit, lease_s=lease_s, everything=everything
            )
        )

    async def close_entries(self, closings: Sequence[tuple[QueueEntry, Event]]) -> None:
        """End entries, each with its event, in one transaction; one that another ended is passed over."""

        def work(connection: sa.Connection) -> None:
            gone = flagged.remove(connection, [entry.id for entry, _ in closings])
            self._store(connection, self._kept(event for entry, event in closings if entry.id in gone))

        await self.commit(work)

    async def postpone(
        self, entries: Sequence[QueueEntry], next_attempt: Sequence[float], reason: str
    ) -> None:
        """Count an attempt that decided nothing, and end the leases."""
        await self.commit(lambda connection: flagged.postpone(connection, entries, next_attempt, reason))

    async def confirm(
        self, entry: ConfirmedEntry, event: Event | None, *, queue_id: str | None = None
    ) -> None:
        """Put a subject into the confirmed set and close its queue entry, in one transaction."""
        await self.confirm_many([(entry, event, queue_id)])

    async def confirm_many(self, findings: Sequence[tuple[ConfirmedEntry, Event | None, str | None]]) -> None:
        """As `confirm`, for many.

        The event is written when the subject was not confirmed yet or an open queue entry ended. Without an
        event the subject is only put or renewed, and no other queue entry than the named one ends.
        """

        def work(connection: sa.Connection) -> None:
            fresh = confirmed.put(connection, [self.discretion.confirmed(entry) for entry, _, _ in findings])
            by_id = [queue_id for _, _, queue_id in findings if queue_id is not None]
            ended = flagged.remove(connection, by_id)
            closed = flagged.remove_identities(
                connection, [entry.identity for entry, event, _ in findings if event is not None]
            )
            fresh_events = [
                event
                for entry, event, queue_id in findings
                if event is not None
                and (entry.identity in fresh or entry.identity in closed or queue_id in ended)
            ]
            self._store(connection, self._kept(fresh_events))

        await self.commit(work)
        self.watch.stale()

    async def withdraw(self, identity: bytes, event: Event) -> None:
        """Take a subject out of the confirmed set; without effect (and event) when it is not in it."""

        def work(connection: sa.Connection) -> None:
            if confirmed.withdraw(connection, identity, event.time):
                self._store(connection, self._kept([event]))

        await self.commit(work)
        self.watch.stale()

    async def extend(self, identities: Sequence[bytes], expires_at: float) -> None:
        """Keep confirmed subjects until they are asked again at `expires_at`."""
        await self.commit(lambda connection: confirmed.extend(connection, identities, expires_at))
        self.watch.stale()

    async def confirmed_due(
        self, now: float, *, limit: int, everything: bool = False
    ) -> list[ConfirmedEntry]:
        """Confirmed subjects whose expiry has come (`everything`: all, for a new generation)."""
        return await self.run(
            self.read, lambda connection: confirmed.due(connection, now, limit=limit, everything=everything)
        )

    async def overdue(self, now: float, *, older_than: float, limit: int) -> list[QueueEntry]:  # noqa: ARG002
        """Entries first seen before `older_than` (Unix seconds)."""
        return await self.run(
            self.read, lambda connection: flagged.overdue(connection, older_than=older_than, limit=limit)
        )

    async def visits(self, identity: bytes) -> list[Event]:
        """Every let-through of a subject that the log still holds, oldest first."""

        def work(connection: sa.Connection) -> list[Event]:
            query = (
                sa.select(events)
                .where(
                    events.c.identity == identity,
                    events.c.identity.is_not(None),
                    sa.literal_column("events.decision != 'block'"),
                    events.c.kind.in_(history.LET_THROUGH),
                )
                .order_by(events.c.seq)
                .limit(_VISITS)
            )
            return [row_event(row) for row in connection.execute(query).mappings()]

        return await self.run(self.read, work)

    def _kept(self, found: Iterable[Event]) -> list[Event]:
        """Apply privacy to events of the second look (their hashes always stay)."""
        kept = (self.discretion.event(self._named(event)) for event in found)
        return [event for event in kept if event is not None]

    # -- history --------------------------------------------------------------------------------

    def remember(self, identity: bytes, hashes: Sequence[bytes], kind: SubjectKind, event: Event) -> None:
        """Note an allowed subject in memory; written in batches."""
        if identity not in self._history and len(self._history) >= self.options.history_in_memory:
            self.forgotten += 1
            return
        self._history[identity] = (hashes, kind, event)

    def flush_history(self) -> Future[None] | None:
        """Hand what is remembered in memory to the writer; None when there is nothing."""
        batch, self._history = self._history, {}
        if not batch:
            return None
        rows = [
            (identity, hashes, kind, self._remembered_event(event))
            for identity, (hashes, kind, event) in batch.items()
        ]
        future = self.writer.submit(lambda connection: history.put(connection, rows), durable=False)

        def give_back(done: Future[None]) -> None:
            if not done.cancelled() and done.exception() is not None:
                for identity, value in batch.items():
                    if len(self._history) < self.options.history_in_memory:
                        self._history.setdefault(identity, value)

        future.add_done_callback(give_back)
        return future

    def _remembered_event(self, event: Event) -> Event:
        """Apply privacy to what is remembered: at level 3, and of ignored hosts, hashes alone."""
        level = Privacy.COUNTS if self.discretion.ignored(event.host) else self.discretion.level
        match level:
            case Privacy.EVERYTHING:
                return event
            case Privacy.NO_QUERY:
                return replace(event, url=without_query(event.url))
            case Privacy.HOSTS:
                return replace(event, url=None, filename=None)
            case Privacy.COUNTS:
                return replace(event, url=None, filename=None, host=None, client=None)

    async def remembered(self, *, since: float, batch: int = 5_000) -> AsyncIterator[list[Remembered]]:
        """Yield all subjects remembered since then, by identity, a batch in memory at a time."""
        await self.run(self._write_history)
        last = b""
        while found := await self.run(
            self.read, partial(history.outline, since=since, after=last, size=batch)
        ):
            yield found
            last = found[-1].identity

    async def recall(self, identities: Sequence[bytes]) -> list[FlagEntry]:
        """Return what is remembered of these subjects; of some it may be nothing any more."""
        return await self.run(self.read, partial(history.recall, identities=identities))

    def history_walk(self) -> Iterator[FlagEntry]:
        """All remembered subjects, oldest first, in bounded memory."""
        self._write_history()
        place: tuple[float, bytes] | None = None
        while part := self.read(partial(history.page, after=place, size=1_000)):
            yield from part
            place = (part[-1].time, part[-1].identity)

    def _write_history(self) -> None:
        future = self.flush_history()
        if future is not None:
            future.result()
