"""Rules of the operator: added, removed, listed with their hits. `Ledger.snapshots` holds them in memory."""

from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa

from secondlook.core.event import Event
from secondlook.core.rules.rule import Rule
from secondlook.ground.ulid import make_id
from secondlook.ledger.engine.store import Store
from secondlook.ledger.log.counts import Counts
from secondlook.ledger.log.recorder import Recorder
from secondlook.ledger.operator import rule_table
from secondlook.ledger.operator.rule_table import Placed


class RuleStore:
    """Changes rules; what is not `async` blocks its thread for a commit."""

    def __init__(self, store: Store, recorder: Recorder, counts: Counts) -> None:
        self._store = store
        self._recorder = recorder
        self._counts = counts

    def all(self) -> tuple[Rule, ...]:
        """All rules with their present number of hits (snapshots may hold an older number)."""
        self._counts.flush()
        self._store.commit_now(lambda _: None)
        return self._store.read(rule_table.read_rules)

    def add(self, rule: Rule, event: Event | None = None) -> Rule:
        """Commit a rule (an empty id is filled in), with the event about it; return the rule."""
        rule = rule if rule.id else replace(rule, id=make_id(rule.created))

        def work(connection: sa.Connection) -> None:
            rule_table.put_rule(connection, rule)
            if event is not None:
                self._recorder.write(connection, [event])

        self._store.change_now(work)
        return rule

    async def add_async(self, rule: Rule) -> None:
        """As `add`, on an event loop (port `RuleStore` of `agent`)."""
        await self._store.run(self.add, rule)

    def add_many(self, added: Sequence[Rule]) -> tuple[Rule, ...]:
        """Commit rules, all or none; one that is there already stays one, with its id and its hits."""
        return tuple(placed.rule for placed in self.place(added))

    def place(self, added: Sequence[Rule]) -> tuple[Placed, ...]:
        """As `add_many`; return with each rule the one in whose place it stands, for `take_back`."""
        self._counts.flush()
        return self._store.change_now(lambda connection: rule_table.add_rules(connection, added))

    def take_back(self, placed: Placed) -> bool:
        """Put back what was before a rule was added; False where it was changed or removed meanwhile."""
        return self._store.change_now(lambda connection: rule_table.take_back(connection, placed))

    def remove(self, rule_id: str) -> bool:
        """Remove a rule; False when there is none with this id."""
        return self._store.change_now(lambda connection: rule_table.remove_rule(connection, rule_id))
