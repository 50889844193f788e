"""The ledger's own fake (held to the same contract suite as the real one), with short names for asserts."""

from dataclasses import dataclass

from ledgerkit.fake import FakeLedger as ContractLedger
from secondlook.core.rules.rule import Pause, Rule


@dataclass  # without slots: tests replace methods
class FakeLedger(ContractLedger):
    """What these tests look at."""

    @property
    def events(self):
        return self.log + self.pending

    @property
    def confirmed_set(self):
        return self._confirmed

    @property
    def waiting(self):
        return {identity: row.entry for identity, row in self.queue.items()}

    @property
    def leased(self):
        return [row for row in self.queue.values() if row.lease_until > self.clock.now()]

    @property
    def records(self):
        return self._records

    @property
    def rule_list(self) -> list[Rule]:
        return list(self._rules.values())

    def put_pause(self, pause: Pause) -> None:
        self._pauses[pause.id] = pause
        self._version += 1

    def changed(self) -> None:
        self._version += 1
