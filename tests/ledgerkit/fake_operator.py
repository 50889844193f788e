"""What people decided, in the ledger in memory: rules, pauses, files in quarantine, and their snapshots."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from secondlook.core.event import (
    ConfirmedEntry,
    Event,
    QuarantineRecord,
)
from secondlook.core.rules.rule import Pause, Rule

if TYPE_CHECKING:
    from ledgerkit.fake import FakeLedger


class Rules:
    def __init__(self, ledger: "FakeLedger") -> None:
        self._ledger = ledger
        self.by_id: dict[str, Rule] = {}

    def add(self, rule: Rule, event: Event | None = None) -> Rule:
        ledger = self._ledger
        ledger.writable()
        rule = rule if rule.id else replace(rule, id=ledger.new_id("R"))
        self.by_id[rule.id] = rule
        if event is not None:
            ledger.log.append(ledger.named(event))
        ledger.snapshots.number += 1
        return rule

    async def add_async(self, rule: Rule) -> None:
        self.add(rule)

    def remove(self, rule_id: str) -> bool:
        found = self.by_id.pop(rule_id, None) is not None
        self._ledger.snapshots.number += found
        return found


class Pauses:
    def __init__(self, ledger: "FakeLedger") -> None:
        self._ledger = ledger
        self.by_id: dict[str, Pause] = {}

    def add(self, minutes: float, *, client: str | None = None) -> Pause:
        now = self._ledger.clock.now()
        for pause in list(self.by_id.values()):
            if pause.client == client and pause.until > now:
                del self.by_id[pause.id]
        pause = Pause(id=self._ledger.new_id("P"), client=client, created=now, until=now + minutes * 60)
        self.put(pause)
        return pause

    def put(self, pause: Pause) -> None:
        self.by_id[pause.id] = pause
        self._ledger.snapshots.number += 1

    def end(self, *, client: str | None = None, everybody: bool = False) -> int:
        now, ended = self._ledger.clock.now(), 0
        for pause in list(self.by_id.values()):
            if pause.until > now and (everybody or pause.client == client):
                self.by_id[pause.id] = replace(pause, until=now)
                ended += 1
        self._ledger.snapshots.number += bool(ended)
        return ended


class Quarantine:
    def __init__(self, ledger: "FakeLedger") -> None:
        self._ledger = ledger
        self.records: dict[str, QuarantineRecord] = {}

    async def keep(self, record: QuarantineRecord) -> None:
        self._ledger.writable()
        self.records[record.id] = record

    async def find(self, record_id: str) -> QuarantineRecord | None:
        return self.records.get(record_id)

    async def find_all(self, *, states: Sequence[str] | None = None) -> list[QuarantineRecord]:
        kept = [one for one in self.records.values() if states is None or one.state in states]
        return sorted(kept, key=lambda one: (one.moved_at, one.id))


class Snapshots:
    def __init__(self, ledger: "FakeLedger") -> None:
        self._ledger = ledger
        self.number = 0

    def version(self) -> int:
        return self.number

    def confirmed(self) -> Sequence[ConfirmedEntry]:
        return tuple(self._ledger.confirmed.entries.values())

    def rules(self) -> Sequence[Rule]:
        return tuple(self._ledger.rules.by_id.values())

    def pauses(self) -> Sequence[Pause]:
        return tuple(self._ledger.pauses.by_id.values())
