"""Flags, queue, confirmed set and history of the ledger in memory."""

import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from secondlook.core.event import (
    ConfirmedEntry,
    Event,
    EventKind,
    FlagEntry,
    QueueEntry,
    Remembered,
)
from secondlook.core.sighting import stricter, united
from secondlook.ground.errors import LedgerError

if TYPE_CHECKING:
    from ledgerkit.fake import FakeLedger


_FIRST_LOOK_S = 60.0


_LET_THROUGH = {
    EventKind.CHECK,
    EventKind.FLAGGED,
    EventKind.WOULD_BLOCK,
    EventKind.PAUSED,
}


@dataclass(slots=True)
class _Row:
    entry: QueueEntry
    lease_until: float = 0.0


class Flags:
    def __init__(self, ledger: "FakeLedger") -> None:
        self._ledger = ledger
        self.journal: list[tuple[Event, FlagEntry]] = []

    async def flag(self, event: Event, entry: FlagEntry) -> None:
        event = self._ledger.named(event)
        if not self._ledger.full:
            self.write(event, entry)
        elif self._ledger.journal_full:
            raise LedgerError("ledger: the disk is full; flags journal: full")
        else:
            self.journal.append((event, entry))

    def write(self, event: Event, entry: FlagEntry) -> None:
        self._ledger.log.append(event)
        self._ledger.queue.put(entry)


class Queue:
    def __init__(self, ledger: "FakeLedger") -> None:
        self._ledger = ledger
        self.rows: dict[bytes, _Row] = {}

    def put(self, entry: FlagEntry) -> None:
        row = self.rows.get(entry.identity)
        clients = () if entry.client is None else (entry.client,)
        if row is None:
            self.rows[entry.identity] = _Row(
                QueueEntry(
                    id=self._ledger.new_id("Q"),
                    identity=entry.identity,
                    kind=entry.kind,
                    cls=entry.cls,
                    hashes=entry.hashes,
                    url=entry.url,
                    host=entry.host,
                    sha256=entry.sha256,
                    filename=entry.filename,
                    size=entry.size,
                    clients=clients,
                    count=1,
                    first_seen=entry.time,
                    last_seen=entry.time,
                    attempts=0,
                    next_attempt=entry.time + _FIRST_LOOK_S,
                    reason=entry.reason,
                    labels=entry.labels,
                )
            )
            return
        known = row.entry
        cls = stricter(entry.kind, known.cls, entry.cls)
        hashes = united(known.hashes, entry.hashes)
        if cls is not known.cls or hashes != known.hashes:
            labels = dict(zip(entry.hashes, entry.labels, strict=False))
            labels |= dict(zip(known.hashes, known.labels, strict=False))
            row.lease_until = 0.0
            known = replace(
                known,
                id=self._ledger.new_id("Q"),
                cls=cls,
                hashes=hashes,
                labels=tuple(labels.get(each, "sha256") for each in hashes) if labels else (),
            )
        row.entry = replace(
            known,
            count=known.count + 1,
            clients=tuple(sorted({*known.clients, *clients})),
            first_seen=min(known.first_seen, entry.time),
            last_seen=max(known.last_seen, entry.time),
            reason=entry.reason,
        )

    async def take_due(
        self,
        now: float,
        *,
        limit: int,
        lease_s: float,
        everything: bool = False,
        older_than: float | None = None,
    ) -> list[QueueEntry]:
        self._ledger.writable()
        due = [
            row
            for row in self.rows.values()
            if not now < row.lease_until <= now + 2 * lease_s
            and (older_than is None or row.entry.first_seen < older_than)
            and (everything or older_than is not None or not now < row.entry.next_attempt <= now + 7200.0)
        ]
        due.sort(key=lambda row: row.entry.first_seen)
        for row in due[:limit]:
            row.lease_until = now + lease_s
        return [row.entry for row in due[:limit]]

    async def close(self, closings: Sequence[tuple[QueueEntry, Event]]) -> None:
        self._ledger.writable()
        for entry, event in closings:
            if self.end(entry.id):
                self._ledger.log.append(self._ledger.named(event))

    def end(self, entry_id: str | None) -> bool:
        for identity, row in self.rows.items():
            if row.entry.id == entry_id:
                del self.rows[identity]
                return True
        return False

    async def postpone(
        self, entries: Sequence[QueueEntry], next_attempt: Sequence[float], reason: str
    ) -> None:
        self._ledger.writable()
        for entry, at in zip(entries, next_attempt, strict=True):
            row = self.rows.get(entry.identity)
            if row is not None and row.entry.id == entry.id:
                attempts = row.entry.attempts + 1
                row.entry = replace(row.entry, attempts=attempts, next_attempt=at, reason=reason)
                row.lease_until = 0.0

    async def renew(self, entries: Sequence[str], until: float) -> None:
        self._ledger.writable()
        for row in self.rows.values():
            if row.entry.id in entries and row.lease_until:
                row.lease_until = until


class Confirmed:
    def __init__(self, ledger: "FakeLedger") -> None:
        self._ledger = ledger
        self.entries: dict[bytes, ConfirmedEntry] = {}

    async def add_many(self, findings: Sequence[tuple[ConfirmedEntry, Event | None, str | None]]) -> None:
        ledger = self._ledger
        ledger.writable()
        for entry, event, queue_id in findings:
            known = self.entries.get(entry.identity)
            ended = ledger.queue.end(queue_id)
            closed = event is not None and ledger.queue.rows.pop(entry.identity, None) is not None
            self.entries[entry.identity] = entry if known is None else _renewed(known, entry)
            if event is not None and (known is None or ended or closed):
                ledger.log.append(ledger.named(event))
        ledger.snapshots.number += 1

    async def add_late(self, findings: Sequence[tuple[ConfirmedEntry, Event | None]]) -> None:
        ledger = self._ledger
        ledger.writable()
        for entry, event in findings:
            self.entries.setdefault(entry.identity, entry)
            if event is not None:
                ledger.queue.rows.pop(entry.identity, None)
                ledger.log.append(ledger.named(event))
        ledger.snapshots.number += 1

    async def withdraw(self, identity: bytes, event: Event) -> None:
        self._ledger.writable()
        self._ledger.snapshots.number += 1
        if self.entries.pop(identity, None) is not None:
            self._ledger.log.append(self._ledger.named(event))

    async def extend(self, identities: Sequence[bytes], expires_at: float) -> None:
        self._ledger.writable()
        for identity in identities:
            if identity in self.entries:
                self.entries[identity] = replace(self.entries[identity], expires_at=expires_at)
        self._ledger.snapshots.number += 1

    async def due(self, now: float, *, limit: int, everything: bool = False) -> list[ConfirmedEntry]:
        due = [
            entry
            for entry in self.entries.values()
            if everything or (entry.expires_at is not None and entry.expires_at <= now)
        ]
        due.sort(key=lambda entry: (entry.expires_at or 0.0, entry.identity))
        return due[:limit]


def _renewed(known: ConfirmedEntry, entry: ConfirmedEntry) -> ConfirmedEntry:
    cls = known.cls and entry.cls and stricter(entry.kind, known.cls, entry.cls)
    return replace(entry, confirmed_at=known.confirmed_at, cls=cls or known.cls or entry.cls)


class History:
    def __init__(self, ledger: "FakeLedger") -> None:
        self._ledger = ledger
        self.written: dict[bytes, FlagEntry] = {}
        self.recent: dict[bytes, FlagEntry] = {}
        self.leases: dict[bytes, float] = {}

    def remember(self, entry: FlagEntry, *, yields: bool = False) -> None:
        known = self.recent.get(entry.identity) or self.written.get(entry.identity)
        if known is not None:
            stays = yields and known.client is not None
            place = known if stays else entry
            entry = replace(
                entry,
                cls=stricter(entry.kind, known.cls, entry.cls),
                hashes=united(known.hashes, entry.hashes),
                url=place.url,
                host=place.host,
                client=known.client if yields else entry.client,
                filename=place.filename,
            )
        self.recent[entry.identity] = replace(entry, reason="allowed earlier", labels=())

    async def recall(self, identities: Sequence[bytes]) -> list[FlagEntry]:
        both = self.written | self.recent
        return [both[identity] for identity in identities if identity in both]

    async def remembered(self, *, since: float, batch: int = 5_000) -> AsyncIterator[list[Remembered]]:
        both = self.written | self.recent
        found = sorted(
            (entry for entry in both.values() if entry.time >= since),
            key=lambda entry: entry.identity,
        )
        for part in itertools.batched(found, batch):
            yield [Remembered(entry.identity, entry.kind, entry.hashes) for entry in part]

    async def take(
        self, identities: Sequence[bytes], now: float, *, lease_s: float
    ) -> list[tuple[FlagEntry, bool]]:
        self._ledger.writable()
        taken = []
        for entry in await self.recall(identities):
            until, row = self.leases.get(entry.identity), self._ledger.queue.rows.get(entry.identity)
            rechecked = row is not None and now < row.lease_until <= now + 2 * lease_s
            if not rechecked and (until is None or not now < until <= now + 2 * lease_s):
                self.leases[entry.identity] = now + lease_s
                taken.append((entry, until is not None))
        return taken

    async def reported(self, entries: Sequence[FlagEntry]) -> set[bytes]:
        return {
            entry.identity
            for entry in entries
            for event in self._ledger.log
            if event.kind in (EventKind.CONFIRMED, EventKind.LATE_VERDICT)
            and event.identity == entry.identity
            and event.time >= entry.time
            and _names(event, entry.client)
        }

    async def forget(self, entries: Sequence[FlagEntry]) -> None:
        self._ledger.writable()
        for entry in entries:
            self.leases.pop(entry.identity, None)
            for rows in (self.written, self.recent):
                kept = rows.get(entry.identity)
                if kept is not None and kept.time <= entry.time:
                    del rows[entry.identity]

    async def visits(self, identity: bytes) -> list[Event]:
        return [
            event
            for event in self._ledger.log
            if event.identity == identity and event.kind in _LET_THROUGH and event.decision != "block"
        ]


def _names(event: Event, client: str | None) -> bool:
    clients = (event.extra or {}).get("clients")
    named = clients if isinstance(clients, list) else [event.client]
    return client is None or event.client == client or client in named or named == [None]
