"""A ledger in memory that passes the same contract suite as the real one, for other rooms' tests.

`full` makes writes to the ledger fail: flags then go to the journal; `journal_full` makes that fail as
well. `crash()` loses what a killed process would lose: events and history not written yet.
`settle()` is the passing of a moment: pending events are written and the journal is replayed.
"""

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from ledgerkit.fake_operator import Pauses, Quarantine, Rules, Snapshots
from ledgerkit.fake_queue import Confirmed, Flags, History, Queue
from secondlook.core.event import (
    Event,
    EventKind,
)
from secondlook.ground.clock import Clock
from secondlook.ground.errors import LedgerError


class FakeLedger:
    """Parts over dictionaries; the same behaviour as those of `Ledger` behind the ports of `agent`."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.full = False
        self.journal_full = False
        self.log: list[Event] = []
        self.pending: list[Event] = []
        self._ids = itertools.count()
        self.recorder = _Recorder(self)
        self.counts = _Counts()
        self.flags = Flags(self)
        self.queue = Queue(self)
        self.confirmed = Confirmed(self)
        self.history = History(self)
        self.rules = Rules(self)
        self.pauses = Pauses(self)
        self.quarantine = Quarantine(self)
        self.snapshots = Snapshots(self)

    @property
    def settled(self) -> bool:
        """Whether a moment's passing changes nothing."""
        return self.full or not (self.pending or self.history.recent or self.flags.journal)

    def settle(self) -> None:
        if self.settled:
            return
        known = {event.id for event in self.log} if self.pending else set()
        self.log.extend(event for event in self.pending if event.id not in known)
        self.pending.clear()
        self.history.written |= self.history.recent
        self.history.recent.clear()
        waiting, self.flags.journal = self.flags.journal, []
        for event, entry in waiting:
            if event.id not in {known_event.id for known_event in self.log}:
                self.flags.write(event, entry)

    def crash(self) -> None:
        self.pending.clear()
        self.history.recent.clear()

    def named(self, event: Event) -> Event:
        return event if event.id else replace(event, id=self.new_id())

    def new_id(self, letter: str = "") -> str:
        return letter + f"{next(self._ids):026d}"[len(letter) :]

    def writable(self) -> None:
        if self.full:
            raise LedgerError("ledger: the disk is full")


class _Recorder:
    def __init__(self, ledger: FakeLedger) -> None:
        self._ledger = ledger

    def record(self, event: Event) -> None:
        self._ledger.pending.append(self._ledger.named(event))

    def amend(self, event_id: str, *, detail: str | None, extra: Mapping[str, object] | None = None) -> None:
        for events in (self._ledger.log, self._ledger.pending):
            for at, event in enumerate(events):
                if event.id == event_id:
                    more = (event.extra or {}) | dict(extra or {})
                    events[at] = replace(event, detail=detail, extra=more or None)


class _Counts:
    def __init__(self) -> None:
        self.tallies: Counter[tuple[str, str | None, str | None]] = Counter()
        self.hits: Counter[str] = Counter()

    def tally(self, kind: EventKind, decision: str | None, stage: str | None, **_more: object) -> None:
        self.tallies[kind, decision, stage] += 1

    def count_hit(self, rule_id: str) -> None:
        self.hits[rule_id] += 1
