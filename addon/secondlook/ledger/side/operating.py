"""The ledger as the operator sees it: rules, pauses, quarantine index (ports `Operator`, `QuarantineIndex`).

Methods without `async` block their thread for a commit: a command calls them as they are, an event loop
through `await ledger.run(method, …)`.
"""

from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa

from secondlook.core.event import ConfirmedEntry, Event, EventKind, QuarantineRecord
from secondlook.core.rules.rule import Pause, Rule
from secondlook.ground.ulid import make_id
from secondlook.ledger.base import OpenLedger
from secondlook.ledger.engine.change import bump
from secondlook.ledger.engine.codec import quarantine_row, row_quarantine
from secondlook.ledger.engine.statements import upsert
from secondlook.ledger.engine.tables import quarantine
from secondlook.ledger.operator import rule_table


class OperatorLedger(OpenLedger):
    """Rules, pauses and the quarantine index over an open ledger."""

    def version(self) -> int:
        """Return a number that differs whenever rules, pauses or the confirmed set changed; cheap."""
        return self.watch.version()

    def rules(self) -> Sequence[Rule]:
        """All rules, expired ones included."""
        return self.watch.rules()

    def pauses(self) -> Sequence[Pause]:
        """Pauses in force or past."""
        return self.watch.pauses()

    def confirmed(self) -> Sequence[ConfirmedEntry]:
        """Return the whole confirmed set."""
        return self.watch.confirmed()

    def list_rules(self) -> tuple[Rule, ...]:
        """All rules with their present number of hits (snapshots may hold an older number)."""
        self.flush_counts()
        self.commit_now(lambda _: None)
        return self.read(rule_table.read_rules)

    def add_rule(self, rule: Rule, event: Event | None = None) -> Rule:
        """Commit a rule (an empty id is filled in), with the event about it; return the rule."""
        rule = rule if rule.id else replace(rule, id=make_id(rule.created))

        def work(connection: sa.Connection) -> None:
            rule_table.put_rule(connection, rule)
            if event is not None:
                self._store_kept(connection, event)

        self._commit_change(work)
        return rule

    def note(self, event: Event) -> None:
        """Commit an event that others wait for."""
        self.commit_now(lambda connection: self._store_kept(connection, event))

    def add_rules(self, added: Sequence[Rule]) -> tuple[Rule, ...]:
        """Commit rules, all or none; one that is there already stays one, with its id and its hits."""
        self.flush_counts()
        stored = self.commit_now(lambda connection: rule_table.add_rules(connection, added))
        self.watch.stale()
        return stored

    async def add_operator_rule(self, rule: Rule) -> None:
        """Commit a rule made by a restore."""
        await self.run(self.add_rule, rule)

    def remove_rule(self, rule_id: str) -> bool:
        """Remove a rule; False when there is none with this id."""
        found = self.commit_now(lambda connection: rule_table.remove_rule(connection, rule_id))
        self.watch.stale()
        return found

    def set_config_rules(self, rules: Sequence[Rule]) -> bool:
        """Make the rules of source `config` exactly these; False when they already were."""
        changed = self.commit_now(lambda connection: rule_table.put_config_rules(connection, rules))
        self.watch.stale()
        return changed

    def add_pause(self, minutes: float, *, client: str | None = None) -> Pause:
        """Switch protection off for a while, for everybody or one client; with an event."""
        now = self.clock.now()
        pause = Pause(id=make_id(now), client=client, created=now, until=now + minutes * 60)
        who = "everybody" if client is None else client
        event = Event(
            id=make_id(now),
            kind=EventKind.PAUSED,
            time=now,
            client=client,
            detail=f"protection off for {who} for {minutes:g} minute{'' if minutes == 1 else 's'}",
        )

        def work(connection: sa.Connection) -> None:
            rule_table.put_pause(connection, pause)
            self._store_kept(connection, event)

        self._commit_change(work)
        return pause

    def end_pauses(self, *, client: str | None = None, everybody: bool = False) -> int:
        """Switch protection on again (`everybody`: end every client's pause too); return how many ended."""
        now = self.clock.now()

        def work(connection: sa.Connection) -> int:
            ended = rule_table.end_pauses(connection, client, now, everybody=everybody)
            if ended:
                event = Event(
                    id=make_id(now),
                    kind=EventKind.PAUSED,
                    time=now,
                    client=client,
                    detail="protection on again",
                )
                self._store_kept(connection, event)
            return ended

        ended = self.commit_now(work)
        self.watch.stale()
        return ended

    def _store_kept(self, connection: sa.Connection, event: Event) -> None:
        kept = self.discretion.event(self._named(event))
        if kept is not None:
            self._store(connection, [kept])

    def _commit_change(self, work: object) -> None:
        self.commit_now(work)  # type: ignore[arg-type]
        self.watch.stale()

    # -- quarantine -----------------------------------------------------------------------------

    async def keep_record(self, record: QuarantineRecord) -> None:
        """Insert or replace a record, committed before returning."""

        def work(connection: sa.Connection) -> None:
            values = quarantine_row(record)
            statement = upsert(connection, quarantine)
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=[quarantine.c.id],
                    set_={name: statement.excluded[name] for name in values if name != "id"},
                ),
                [values],
            )
            bump(connection, "quarantine")

        await self.commit(work)

    async def quarantined(self, record_id: str) -> QuarantineRecord | None:
        """One record by its id."""
        return await self.run(self.quarantine_record, record_id)

    async def quarantine_records(self, *, states: Sequence[str] | None = None) -> list[QuarantineRecord]:
        """Records, oldest first; `states` keeps only those."""
        return await self.run(self.quarantine_list, states)

    def quarantine_record(self, record_id: str) -> QuarantineRecord | None:
        """As `quarantined`, blocking."""

        def work(connection: sa.Connection) -> QuarantineRecord | None:
            query = sa.select(quarantine).where(quarantine.c.id == record_id)
            row = connection.execute(query).mappings().one_or_none()
            return None if row is None else row_quarantine(row)

        return self.read(work)

    def quarantine_list(self, states: Sequence[str] | None = None) -> list[QuarantineRecord]:
        """As `quarantine_records`, blocking."""

        def work(connection: sa.Connection) -> list[QuarantineRecord]:
            query = sa.select(quarantine).order_by(quarantine.c.moved_at, quarantine.c.id)
            if states is not None:
                query = query.where(quarantine.c.state.in_(states))
            return [row_quarantine(row) for row in connection.execute(query).mappings()]

        return self.read(work)
