"""The ledger's own fake (held to the same contract suite as the real one), with short names for asserts."""

from ledgerkit.fake import FakeLedger as ContractLedger
from secondlook.core.rules.rule import Rule


class FakeLedger(ContractLedger):
    """What these tests look at."""

    @property
    def recorded(self):
        return self.log + self.pending

    @property
    def confirmed_set(self):
        return self.confirmed.entries

    @property
    def waiting(self):
        return {identity: row.entry for identity, row in self.queue.rows.items()}

    @property
    def leased(self):
        return [row for row in self.queue.rows.values() if row.lease_until > self.clock.now()]

    @property
    def records(self):
        return self.quarantine.records

    @property
    def rule_list(self) -> list[Rule]:
        return list(self.rules.by_id.values())

    def changed(self) -> None:
        self.snapshots.number += 1
