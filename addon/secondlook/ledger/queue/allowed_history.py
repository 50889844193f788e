"""What was let through, for late verdicts: hashes of allowed subjects, and the visits that the log holds."""

from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Final

import sqlalchemy as sa

from secondlook.core.event import Event, FlagEntry, Remembered
from secondlook.core.sighting import stricter, united
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import SubjectClass
from secondlook.ledger.engine.codec import row_event
from secondlook.ledger.engine.store import Store
from secondlook.ledger.engine.tables import events
from secondlook.ledger.log.privacy import Discretion, Privacy, without_query
from secondlook.ledger.queue import history

_VISITS: Final = 10_000

type _Visit = tuple[Sequence[bytes], SubjectKind, Event, bool]


class AllowedHistory:
    """Remembers allowed subjects in memory until they are written in batches (port `History` of `agent`)."""

    def __init__(self, store: Store, discretion: Discretion) -> None:
        self._store = store
        self._discretion = discretion
        self._most = store.options.history_in_memory
        self._unwritten: dict[bytes, _Visit] = {}
        self.forgotten = 0

    def remember(
        self,
        identity: bytes,
        hashes: Sequence[bytes],
        kind: SubjectKind,
        event: Event,
        *,
        yields: bool = False,
    ) -> None:
        """Note an allowed subject in memory; written in batches. One that `yields` keeps the last client."""
        if identity not in self._unwritten and len(self._unwritten) >= self._most:
            self.forgotten += 1
            return
        known = self._unwritten.get(identity)
        visit = hashes, kind, event, yields
        self._unwritten[identity] = visit if known is None else _joined(known, visit)

    def flush(self) -> Future[None] | None:
        """Hand what is remembered in memory to the writer; None when there is nothing."""
        batch, self._unwritten = self._unwritten, {}
        if not batch:
            return None
        rows = [
            (identity, hashes, kind, self._kept(event), yields)
            for identity, (hashes, kind, event, yields) in batch.items()
        ]
        future = self._store.writer.submit(lambda connection: history.put(connection, rows), durable=False)

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

    def _kept(self, event: Event) -> Event:
        """Apply privacy to what is remembered: at level 3, and of ignored hosts, hashes alone."""
        match self._discretion.level_of(event.host):
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
        await self._store.run(self._write)
        last = b""
        while found := await self._store.run(
            self._store.read, partial(history.outline, since=since, after=last, size=batch)
        ):
            yield found
            last = found[-1].identity

    async def recall(self, identities: Sequence[bytes]) -> list[FlagEntry]:
        """Return what is remembered of these subjects; of some it may be nothing any more."""
        return await self._store.run(self._store.read, partial(history.recall, identities=identities))

    async def take(
        self, identities: Sequence[bytes], now: float, *, lease_s: float
    ) -> list[tuple[FlagEntry, bool]]:
        """Lease what is remembered of subjects; each with whether a lease of it ended by itself before."""
        work = partial(history.take, identities=identities, now=now, lease_s=lease_s)
        return await self._store.commit(work)

    async def reported(self, entries: Sequence[FlagEntry]) -> set[bytes]:
        """Return, by identity, whose visit an event of the log has reported already."""
        return await self._store.run(self._store.read, partial(history.reported, entries=entries))

    async def forget(self, entries: Sequence[FlagEntry]) -> None:
        """Forget visits that were dealt with; a later one of the same subject stays."""
        if entries:
            await self._store.commit(partial(history.forget, entries=entries))

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


def _joined(earlier: _Visit, later: _Visit) -> _Visit:
    """Return the later visit of a subject, asked about with all that both knew."""
    known, _, before, before_yields = earlier
    hashes, kind, event, yields = later
    if kind is SubjectKind.FILE:  # those of a URL follow from it
        hashes = united(known, hashes)
    cls = stricter(kind, before.cls or SubjectClass.PAGE, event.cls or SubjectClass.PAGE)
    event = replace(event, cls=cls)
    if yields:
        kept = ("client", *(history.WHERE if before.client is not None else ()))
        event = replace(event, **{name: getattr(before, name) for name in kept})
    return hashes, kind, event, yields and before_yields
