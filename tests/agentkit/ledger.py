"""A ledger in memory that fits every port of `agent.ports`; what is committed survives `crash`."""

import dataclasses
from collections.abc import Sequence

from secondlook.core.event import ConfirmedEntry, Event, FlagEntry, QuarantineRecord, QueueEntry
from secondlook.core.rule import Pause, Rule
from secondlook.errors import LedgerError

FIRST_LOOK_S = 60.0


class FakeLedger:
    """State `full`: nothing commits; `journal_full`: flags find no place either."""

    def __init__(self) -> None:
        self.full = False
        self.journal_full = False
        self.events: list[Event] = []
        self.journal: list[tuple[Event, FlagEntry]] = []
        self.queue: dict[bytes, QueueEntry] = {}
        self.leases: dict[bytes, float] = {}
        self.confirmed_set: dict[bytes, ConfirmedEntry] = {}
        self.history: dict[bytes, tuple[FlagEntry, set]] = {}
        self.unsaved: dict[bytes, tuple[FlagEntry, set]] = {}
        self.rule_list: list[Rule] = []
        self.pause_list: list[Pause] = []
        self.records: dict[str, QuarantineRecord] = {}
        self.amended: dict[str, tuple] = {}
        self.dropped = 0
        self._version = 0
        self._number = 0

    # FlagStore
    def record(self, event: Event) -> None:
        if self.full:
            self.dropped += 1
        else:
            self.events.append(event)

    def amend(self, event_id, *, detail, extra=None) -> None:
        self.amended[event_id] = (detail, extra)

    async def flag(self, event: Event, entry: FlagEntry) -> None:
        if not self.full:
            self.replay()
            self._flag(event, entry)
        elif not self.journal_full:
            self.journal.append((event, entry))
        else:
            raise LedgerError("neither ledger nor journal took the flag")

    def replay(self) -> None:
        if not self.full:
            for event, entry in self.journal:
                self._flag(event, entry)
            self.journal.clear()

    def _flag(self, event: Event, entry: FlagEntry) -> None:
        self.events.append(event)
        old = self.queue.get(entry.identity)
        if old is None:
            self._number += 1
            self.queue[entry.identity] = QueueEntry(
                id=f"q{self._number}",
                identity=entry.identity,
                kind=entry.kind,
                cls=entry.cls,
                hashes=entry.hashes,
                url=entry.url,
                host=entry.host,
                sha256=entry.sha256,
                filename=entry.filename,
                size=entry.size,
                clients=(entry.client,) if entry.client else (),
                count=1,
                first_seen=entry.time,
                last_seen=entry.time,
                attempts=0,
                next_attempt=entry.time + FIRST_LOOK_S,
                reason=entry.reason,
                labels=entry.labels,
            )
        else:
            clients = tuple(sorted({*old.clients, *([entry.client] if entry.client else [])}))
            self.queue[entry.identity] = dataclasses.replace(
                old, count=old.count + 1, clients=clients, last_seen=entry.time
            )

    # Queue
    def _check(self) -> None:
        if self.full:
            raise LedgerError("database or disk is full")

    async def take_due(self, now, *, limit, lease_s, everything=False) -> list[QueueEntry]:
        self._check()
        self.replay()
        found = []
        for entry in sorted(self.queue.values(), key=lambda entry: entry.first_seen):
            lease = self.leases.get(entry.identity, 0.0)
            if now < lease <= now + 3600:
                continue
            if everything or entry.next_attempt <= now or entry.next_attempt > now + 7200:
                found.append(entry)
                self.leases[entry.identity] = now + lease_s
                if len(found) == limit:
                    break
        return found

    def _close(self, queue_id: str) -> None:
        for identity, entry in list(self.queue.items()):
            if entry.id == queue_id:
                del self.queue[identity]
                self.leases.pop(identity, None)

    async def close_entries(self, closings) -> None:
        self._check()
        for entry, event in closings:
            if self.queue.get(entry.identity) and self.queue[entry.identity].id == entry.id:
                self._close(entry.id)
                self.events.append(event)

    async def postpone(self, entries, next_attempt, reason) -> None:
        self._check()
        for entry, at in zip(entries, next_attempt, strict=True):
            current = self.queue.get(entry.identity)
            if current is not None and current.id == entry.id:
                self.queue[entry.identity] = dataclasses.replace(
                    current, attempts=current.attempts + 1, next_attempt=at, reason=reason
                )
                self.leases.pop(entry.identity, None)

    async def confirm(self, entry, event, *, queue_id=None) -> None:
        await self.confirm_many([(entry, event, queue_id)])

    async def confirm_many(self, findings) -> None:
        self._check()
        for entry, event, queue_id in findings:
            old = self.confirmed_set.get(entry.identity)
            confirmed_at = old.confirmed_at if old is not None else entry.confirmed_at
            self.confirmed_set[entry.identity] = dataclasses.replace(entry, confirmed_at=confirmed_at)
            if event is not None:
                self.events.append(event)
            if queue_id is not None:
                self._close(queue_id)
        self._version += 1

    async def withdraw(self, identity, event) -> None:
        self._check()
        if self.confirmed_set.pop(identity, None) is not None:
            self.events.append(event)
            self._version += 1

    async def extend(self, identities, expires_at) -> None:
        self._check()
        for identity in identities:
            if identity in self.confirmed_set:
                self.confirmed_set[identity] = dataclasses.replace(
                    self.confirmed_set[identity], expires_at=expires_at
                )
        self._version += 1

    async def confirmed_due(self, now, *, limit, everything=False) -> list[ConfirmedEntry]:
        self._check()
        due = [
            entry
            for entry in self.confirmed_set.values()
            if everything or (entry.expires_at is not None and entry.expires_at <= now)
        ]
        return sorted(due, key=lambda entry: entry.expires_at or 0.0)[:limit]

    async def overdue(self, now, *, older_than, limit) -> list[QueueEntry]:
        self._check()
        return [entry for entry in self.queue.values() if entry.first_seen < older_than][:limit]

    async def visits(self, identity) -> list[Event]:
        return [
            event
            for event in self.events
            if event.identity == identity and event.kind in ("flagged", "check")
        ]

    # History
    def remember(self, identity, hashes, kind, event) -> None:
        entry = FlagEntry(
            identity=identity,
            kind=kind,
            cls=event.cls,
            hashes=tuple(hashes),
            url=event.url,
            host=event.host,
            client=event.client,
            time=event.time,
            reason="",
            sha256=event.sha256,
            filename=event.filename,
            size=event.size,
        )
        self.unsaved[identity] = (entry, set())

    def save_history(self) -> None:
        self.history.update(self.unsaved)
        self.unsaved.clear()

    async def remembered(self, *, since, batch=10_000):
        self._check()
        entries = [entry for entry, _ in {**self.history, **self.unsaved}.values() if entry.time >= since]
        return [entries[at : at + batch] for at in range(0, len(entries), batch)]

    # Operator
    def version(self) -> int:
        return self._version

    def changed(self) -> None:
        self._version += 1

    def rules(self) -> Sequence[Rule]:
        return tuple(self.rule_list)

    def pauses(self) -> Sequence[Pause]:
        return tuple(self.pause_list)

    def confirmed(self) -> Sequence[ConfirmedEntry]:
        return tuple(self.confirmed_set.values())

    # QuarantineIndex
    async def keep_record(self, record) -> None:
        self._check()
        self.records[record.id] = record

    async def quarantined(self, record_id):
        return self.records.get(record_id)

    async def quarantine_records(self, *, states=None):
        return [record for record in self.records.values() if states is None or record.state in states]

    async def add_operator_rule(self, rule) -> None:
        self._check()
        self.rule_list.append(rule)
        self._version += 1

    def crash(self) -> None:
        """The process dies: what was only in memory is gone."""
        self.unsaved.clear()
