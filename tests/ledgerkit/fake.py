"""A ledger in memory that passes the same contract suite as the real one, for other rooms' tests.

`full` makes writes to the ledger fail: flags then go to the journal; `journal_full` makes that fail as
well. `crash()` loses what a killed process would lose: events and history not written yet.
`settle()` is the passing of a moment: pending events are written and the journal is replayed.
"""

import itertools
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from secondlook.core.event import (
    ConfirmedEntry,
    Event,
    EventKind,
    FlagEntry,
    QuarantineRecord,
    QueueEntry,
    Remembered,
)
from secondlook.core.rules.rule import Pause, Rule
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import SubjectClass
from secondlook.ground.clock import Clock
from secondlook.ground.errors import LedgerError

_FIRST_LOOK_S = 60.0
_LET_THROUGH = {
    EventKind.CHECK,
    EventKind.FLAGGED,
    EventKind.OVERRIDDEN,
    EventKind.WOULD_BLOCK,
    EventKind.PAUSED,
}


@dataclass(slots=True)
class _Row:
    entry: QueueEntry
    lease_until: float = 0.0


@dataclass(slots=True)
class FakeLedger:
    """Everything in dictionaries; the same behaviour as `Ledger` behind the ports of `agent`."""

    clock: Clock
    full: bool = False
    journal_full: bool = False
    log: list[Event] = field(default_factory=list)
    pending: list[Event] = field(default_factory=list)
    tallies: Counter[tuple[str, str | None, str | None]] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    journal: list[tuple[Event, FlagEntry]] = field(default_factory=list)
    queue: dict[bytes, _Row] = field(default_factory=dict)
    history: dict[bytes, FlagEntry] = field(default_factory=dict)
    recent: dict[bytes, FlagEntry] = field(default_factory=dict)
    _confirmed: dict[bytes, ConfirmedEntry] = field(default_factory=dict)
    _rules: dict[str, Rule] = field(default_factory=dict)
    _pauses: dict[str, Pause] = field(default_factory=dict)
    _records: dict[str, QuarantineRecord] = field(default_factory=dict)
    _version: int = 0
    _ids: Any = field(default_factory=itertools.count)

    # -- events and flags

    def record(self, event: Event) -> None:
        self.pending.append(self._named(event))

    def amend(self, event_id: str, *, detail: str | None, extra: Mapping[str, object] | None = None) -> None:
        for events in (self.log, self.pending):
            for at, event in enumerate(events):
                if event.id == event_id:
                    more = (event.extra or {}) | dict(extra or {})
                    events[at] = replace(event, detail=detail, extra=more or None)

    def tally(self, kind: EventKind, decision: str | None, stage: str | None, **_more: object) -> None:
        self.tallies[kind, decision, stage] += 1

    def count_hit(self, rule_id: str) -> None:
        self.hits[rule_id] += 1

    def settle(self) -> None:
        if self.full:
            return
        known = {event.id for event in self.log} if self.pending else set()
        self.log.extend(event for event in self.pending if event.id not in known)
        self.pending.clear()
        self.history |= self.recent
        self.recent.clear()
        waiting, self.journal = self.journal, []
        for event, entry in waiting:
            if event.id not in {known_event.id for known_event in self.log}:
                self._flag(event, entry)

    def crash(self) -> None:
        self.pending.clear()
        self.recent.clear()

    async def flag(self, event: Event, entry: FlagEntry) -> None:
        event = self._named(event)
        if not self.full:
            self._flag(event, entry)
        elif self.journal_full:
            raise LedgerError("ledger: the disk is full; flags journal: full")
        else:
            self.journal.append((event, entry))

    def _named(self, event: Event) -> Event:
        return event if event.id else replace(event, id=f"{next(self._ids):026d}")

    def _writable(self) -> None:
        if self.full:
            raise LedgerError("ledger: the disk is full")

    def _flag(self, event: Event, entry: FlagEntry) -> None:
        self.log.append(event)
        row = self.queue.get(entry.identity)
        clients = () if entry.client is None else (entry.client,)
        if row is None:
            self.queue[entry.identity] = _Row(
                QueueEntry(
                    id=f"Q{next(self._ids):025d}",
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
        row.entry = replace(
            known,
            count=known.count + 1,
            clients=tuple(sorted({*known.clients, *clients})),
            first_seen=min(known.first_seen, entry.time),
            last_seen=max(known.last_seen, entry.time),
            reason=entry.reason,
        )

    # -- queue

    async def take_due(
        self, now: float, *, limit: int, lease_s: float, everything: bool = False
    ) -> list[QueueEntry]:
        self._writable()
        due = [
            row
            for row in self.queue.values()
            if not now < row.lease_until <= now + lease_s
            and (everything or not now < row.entry.next_attempt <= now + 7200.0)
        ]
        due.sort(key=lambda row: row.entry.first_seen)
        for row in due[:limit]:
            row.lease_until = now + lease_s
        return [row.entry for row in due[:limit]]

    async def close_entries(self, closings: Sequence[tuple[QueueEntry, Event]]) -> None:
        self._writable()
        for entry, event in closings:
            if self._end(entry.id):
                self.log.append(self._named(event))

    def _end(self, entry_id: str | None) -> bool:
        for identity, row in self.queue.items():
            if row.entry.id == entry_id:
                del self.queue[identity]
                return True
        return False

    async def postpone(
        self, entries: Sequence[QueueEntry], next_attempt: Sequence[float], reason: str
    ) -> None:
        self._writable()
        for entry, at in zip(entries, next_attempt, strict=True):
            row = self.queue.get(entry.identity)
            if row is not None and row.entry.id == entry.id:
                attempts = row.entry.attempts + 1
                row.entry = replace(row.entry, attempts=attempts, next_attempt=at, reason=reason)
                row.lease_until = 0.0

    async def confirm(
        self, entry: ConfirmedEntry, event: Event | None, *, queue_id: str | None = None
    ) -> None:
        await self.confirm_many([(entry, event, queue_id)])

    async def confirm_many(self, findings: Sequence[tuple[ConfirmedEntry, Event | None, str | None]]) -> None:
        self._writable()
        for entry, event, queue_id in findings:
            known = self._confirmed.get(entry.identity)
            ended = self._end(queue_id)
            closed = event is not None and self.queue.pop(entry.identity, None) is not None
            self._confirmed[entry.identity] = (
                entry if known is None else replace(entry, confirmed_at=known.confirmed_at)
            )
            if event is not None and (known is None or ended or closed):
                self.log.append(self._named(event))
        self._version += 1

    async def withdraw(self, identity: bytes, event: Event) -> None:
        self._writable()
        self._version += 1
        if self._confirmed.pop(identity, None) is not None:
            self.log.append(self._named(event))

    async def extend(self, identities: Sequence[bytes], expires_at: float) -> None:
        self._writable()
        for identity in identities:
            if identity in self._confirmed:
                self._confirmed[identity] = replace(self._confirmed[identity], expires_at=expires_at)
        self._version += 1

    async def confirmed_due(
        self, now: float, *, limit: int, everything: bool = False
    ) -> list[ConfirmedEntry]:
        due = [
            entry
            for entry in self._confirmed.values()
            if everything or (entry.expires_at is not None and entry.expires_at <= now)
        ]
        due.sort(key=lambda entry: (entry.expires_at or 0.0, entry.identity))
        return due[:limit]

    async def overdue(self, now: float, *, older_than: float, limit: int) -> list[QueueEntry]:
        old = [row.entry for row in self.queue.values() if row.entry.first_seen < older_than]
        return sorted(old, key=lambda entry: entry.first_seen)[:limit]

    async def visits(self, identity: bytes) -> list[Event]:
        return [
            event
            for event in self.log
            if event.identity == identity and event.kind in _LET_THROUGH and event.decision != "block"
        ]

    # -- history

    def remember(self, identity: bytes, hashes: Sequence[bytes], kind: SubjectKind, event: Event) -> None:
        self.recent[identity] = FlagEntry(
            identity=identity,
            kind=kind,
            cls=event.cls or SubjectClass.PAGE,
            hashes=tuple(hashes),
            url=event.url,
            host=event.host,
            client=event.client,
            time=event.time,
            reason="allowed earlier",
            sha256=event.sha256,
            filename=event.filename,
            size=event.size,
        )

    async def recall(self, identities: Sequence[bytes]) -> list[FlagEntry]:
        both = self.history | self.recent
        return [both[identity] for identity in identities if identity in both]

    async def remembered(self, *, since: float, batch: int = 5_000) -> AsyncIterator[list[Remembered]]:
        both = self.history | self.recent
        found = sorted(
            (entry for entry in both.values() if entry.time >= since),
            key=lambda entry: entry.identity,
        )
        for part in itertools.batched(found, batch):
            yield [Remembered(entry.identity, entry.kind, entry.hashes) for entry in part]

    # -- operator

    def version(self) -> int:
        return self._version

    def confirmed(self) -> Sequence[ConfirmedEntry]:
        return tuple(self._confirmed.values())

    def rules(self) -> Sequence[Rule]:
        return tuple(self._rules.values())

    def pauses(self) -> Sequence[Pause]:
        return tuple(self._pauses.values())

    def add_rule(self, rule: Rule, event: Event | None = None) -> Rule:
        self._writable()
        rule = rule if rule.id else replace(rule, id=f"R{next(self._ids):025d}")
        self._rules[rule.id] = rule
        if event is not None:
            self.log.append(self._named(event))
        self._version += 1
        return rule

    async def add_operator_rule(self, rule: Rule) -> None:
        self.add_rule(rule)

    def remove_rule(self, rule_id: str) -> bool:
        found = self._rules.pop(rule_id, None) is not None
        self._version += found
        return found

    def add_pause(self, minutes: float, *, client: str | None = None) -> Pause:
        now = self.clock.now()
        for pause in list(self._pauses.values()):
            if pause.client == client and pause.until > now:
                del self._pauses[pause.id]
        pause = Pause(id=f"P{next(self._ids):025d}", client=client, created=now, until=now + minutes * 60)
        self._pauses[pause.id] = pause
        self._version += 1
        return pause

    def end_pauses(self, *, client: str | None = None, everybody: bool = False) -> int:
        now, ended = self.clock.now(), 0
        for pause in list(self._pauses.values()):
            if pause.until > now and (everybody or pause.client == client):
                self._pauses[pause.id] = replace(pause, until=now)
                ended += 1
        self._version += bool(ended)
        return ended

    # -- quarantine

    async def keep_record(self, record: QuarantineRecord) -> None:
        self._writable()
        self._records[record.id] = record

    async def quarantined(self, record_id: str) -> QuarantineRecord | None:
        return self._records.get(record_id)

    async def quarantine_records(self, *, states: Sequence[str] | None = None) -> list[QuarantineRecord]:
        kept = [one for one in self._records.values() if states is None or one.state in states]
        return sorted(kept, key=lambda one: (one.moved_at, one.id))
