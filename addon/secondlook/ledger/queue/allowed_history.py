"""What was let through, for late verdicts: hashes of allowed subjects, and the visits that the log holds."""

from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from itertools import batched
from typing import Any, Final

import sqlalchemy as sa

from secondlook.core.event import Event, EventKind, FlagEntry, Remembered
from secondlook.core.sighting import stricter, united
from secondlook.core.subject import SubjectKind
from secondlook.ground.json_text import read_json
from secondlook.ledger.engine.codec import row_event, row_history, split_hashes
from secondlook.ledger.engine.store import Store
from secondlook.ledger.engine.tables import events, flagged
from secondlook.ledger.engine.tables import history as table
from secondlook.ledger.log.privacy import Discretion
from secondlook.ledger.queue import history
from secondlook.ledger.queue.flagged import is_leased

_CHUNK: Final = 500
_REPORTS: Final = (str(EventKind.CONFIRMED), str(EventKind.LATE_VERDICT))
_VISITS: Final = 10_000

type _Visit = tuple[FlagEntry, bool]  # and whether it leaves an earlier client in place


class AllowedHistory:
    """Remembers allowed subjects in memory until they are written in batches (port `History` of `agent`)."""

    def __init__(self, store: Store, discretion: Discretion) -> None:
        self._store = store
        self._discretion = discretion
        self._most = store.options.history_in_memory
        self._unwritten: dict[bytes, _Visit] = {}

    def remember(self, entry: FlagEntry, *, yields: bool = False) -> None:
        """Note an allowed subject in memory; written in batches. One that `yields` keeps the last client."""
        known = self._unwritten.get(entry.identity)
        if known is None and len(self._unwritten) >= self._most:
            return
        visit = entry, yields
        self._unwritten[entry.identity] = visit if known is None else _joined(known, visit)

    def flush(self) -> Future[None] | None:
        """Hand what is remembered in memory to the writer; None when there is nothing."""
        batch, self._unwritten = self._unwritten, {}
        if not batch:
            return None
        visits = [(self._discretion.flag(entry), yields) for entry, yields in batch.values()]
        future = self._store.writer.submit(lambda connection: history.put(connection, visits), durable=False)

        def give_back(done: Future[None]) -> None:
            if not done.cancelled() and done.exception() is not None:
                for identity, visit in batch.items():
                    later = self._unwritten.get(identity)
                    if later is not None:
                        self._unwritten[identity] = _joined(visit, later)
                    elif len(self._unwritten) < self._most:
                        self._unwritten[identity] = visit

        future.add_done_callback(give_back)
        return future

    async def remembered(self, *, since: float, batch: int = 5_000) -> AsyncIterator[list[Remembered]]:
        """Yield all subjects remembered since then, by identity, a batch in memory at a time."""
        await self._store.run(self._write)
        last = b""
        while found := await self._store.run(self._outline, since, last, batch):
            yield found
            last = found[-1].identity

    def _outline(self, since: float, after: bytes, size: int) -> list[Remembered]:
        """Some of what was remembered since then, as little as can be of each; `after`: the last one seen.

        In the order in which the table lies on the disk: by time each would be sought for by itself.
        """
        columns = table.c
        query = (
            sa.select(columns.identity, columns.kind, columns.hashes)
            .where(columns.identity > after, columns.time >= since)
            .order_by(columns.identity)
            .limit(size)
        )
        return [
            Remembered(identity, SubjectKind(kind), split_hashes(hashes))
            for identity, kind, hashes in self._store.rows(query)
        ]

    async def recall(self, identities: Sequence[bytes]) -> list[FlagEntry]:
        """Return what is remembered of these subjects; of some it may be nothing any more."""

        def work(connection: sa.Connection) -> list[FlagEntry]:
            found: list[FlagEntry] = []
            for part in batched(identities, _CHUNK):
                rows = connection.execute(sa.select(table).where(table.c.identity.in_(part))).mappings()
                found.extend(row_history(row) for row in rows)
            return found

        return await self._store.run(self._store.read, work)

    async def take(
        self, identities: Sequence[bytes], now: float, *, lease_s: float
    ) -> list[tuple[FlagEntry, bool]]:
        """Lease what is remembered of subjects; each with whether a lease of it ended by itself before.

        What a rechecker holds in the queue is left to it: its action comes before its event.
        """
        rechecked = sa.exists().where(
            flagged.c.identity == table.c.identity, is_leased(flagged.c.lease_until, now, lease_s)
        )
        free = ~sa.or_(rechecked, is_leased(table.c.lease_until, now, lease_s))

        def work(connection: sa.Connection) -> list[tuple[FlagEntry, bool]]:
            taken: list[tuple[FlagEntry, bool]] = []
            for part in batched(sorted(identities), _CHUNK):
                query = sa.select(table).where(table.c.identity.in_(part), free).order_by(table.c.identity)
                query = query.with_for_update(skip_locked=True)  # not on SQLite: one writes at a time
                rows = connection.execute(query).mappings().all()
                taken.extend((row_history(row), row["lease_until"] is not None) for row in rows)
                connection.execute(
                    sa.update(table)
                    .where(table.c.identity.in_([row["identity"] for row in rows]))
                    .values(lease_until=now + lease_s)
                )
            return taken

        return await self._store.commit(work)

    async def reported(self, entries: Sequence[FlagEntry]) -> set[bytes]:
        """Return, by identity, whose visit a later event that names the client has reported."""

        def work(connection: sa.Connection) -> set[bytes]:
            found: set[bytes] = set()
            for part in batched(entries, _CHUNK):
                visits = {entry.identity: entry for entry in part}
                query = sa.select(events.c.identity, events.c.time, events.c.client, events.c.extra).where(
                    events.c.kind.in_(_REPORTS),
                    sa.literal_column("events.kind != 'check'"),  # as the index on kinds says it
                    events.c.identity.in_(list(visits)),
                    events.c.time >= min(entry.time for entry in part),
                )
                for identity, time, client, extra in connection.execute(query):
                    visit = visits[bytes(identity)]
                    if time >= visit.time and _names(visit.client, client, extra):
                        found.add(visit.identity)
            return found

        return await self._store.run(self._store.read, work)

    async def forget(self, entries: Sequence[FlagEntry]) -> None:
        """Forget visits that were dealt with; a later one of the same subject stays."""
        ordered = sorted(entries, key=lambda entry: entry.identity)
        rows = [{"subject": entry.identity, "visit": entry.time} for entry in ordered]
        if not rows:
            return
        subject, dealt_with = (
            table.c.identity == sa.bindparam("subject"),
            table.c.time <= sa.bindparam("visit"),
        )

        def work(connection: sa.Connection) -> None:
            connection.execute(sa.delete(table).where(subject, dealt_with), rows)
            connection.execute(sa.update(table).where(subject).values(lease_until=None), rows)

        await self._store.commit(work)

    def _write(self) -> None:
        future = self.flush()
        if future is not None:
            future.result()

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

        return await self._store.run(self._store.read, work)


def _names(wanted: str | None, client: str | None, extra: str | None) -> bool:
    """Return whether an event names a client; where privacy keeps no names, any stands for all."""
    if wanted is None or client == wanted:
        return True
    values = read_json(extra) if extra else None
    clients = values.get("clients") if isinstance(values, dict) else None
    return wanted in clients if isinstance(clients, list) else client is None


def _joined(earlier: _Visit, later: _Visit) -> _Visit:
    """Return the later visit of a subject, asked about with all that both knew."""
    (before, before_yields), (entry, yields) = earlier, later
    changed: dict[str, Any] = {"cls": stricter(entry.kind, before.cls, entry.cls)}
    if entry.kind is SubjectKind.FILE:  # those of a URL follow from it
        changed["hashes"] = united(before.hashes, entry.hashes)
    if yields:
        kept = ("client", *(history.WHERE if before.client is not None else ()))
        changed |= {name: getattr(before, name) for name in kept}
    return replace(entry, **changed), yields and before_yields
