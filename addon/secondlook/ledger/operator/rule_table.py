"""What the operator decided, in rows: rules and pauses. Matching them is `core.rules.rulebook`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from secondlook.core.rules.rule import Pause, Rule
from secondlook.ground.ulid import make_id
from secondlook.ledger.engine.change import bump
from secondlook.ledger.engine.codec import clean, row_pause, row_rule, rule_row
from secondlook.ledger.engine.statements import upsert
from secondlook.ledger.engine.tables import pauses, rules


@dataclass(frozen=True, slots=True)
class Placed:
    """A rule as it was added, and the one in whose place it stands, if any; both have one id."""

    rule: Rule
    older: Rule | None


def put_rule(connection: sa.Connection, rule: Rule) -> None:
    """Add a rule, or replace the one with the same id (its hits stay)."""
    values = rule_row(rule)
    statement = upsert(connection, rules)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[rules.c.id],
            set_={name: statement.excluded[name] for name in values if name not in ("id", "hits")},
        ),
        [values],
    )
    bump(connection, "rules")


def add_rules(connection: sa.Connection, added: Sequence[Rule]) -> tuple[Placed, ...]:
    """Add rules, each in the place of the one that means the same (the newest reason and time count)."""
    before = {_meant(rule): rule for rule in read_rules(connection)}
    known = dict(before)
    for rule in added:
        same = known.get(_meant(rule))
        place = replace(rule, id=make_id(rule.created)) if same is None else replace(rule, id=same.id)
        known[_meant(rule)] = place if same is None else replace(place, hits=same.hits)
    stored = tuple(known[_meant(rule)] for rule in added)
    for rule in dict.fromkeys(stored):
        put_rule(connection, rule)
    return tuple(Placed(rule, before.get(_meant(rule))) for rule in stored)


def take_back(connection: sa.Connection, placed: Placed) -> bool:
    """Put back what was before a rule was added; False where that rule was changed or removed meanwhile.

    Done twice it changes nothing more.
    """
    row = connection.execute(sa.select(rules).where(rules.c.id == placed.rule.id)).mappings().one_or_none()
    found = None if row is None else _lasts(row_rule(row))
    if placed.older is None:
        return found == _lasts(placed.rule) and remove_rule(connection, placed.rule.id)
    if found == _lasts(placed.rule):
        put_rule(connection, placed.older)
        return True
    return found == _lasts(placed.older)


def _lasts(rule: Rule) -> tuple[float, float | None]:
    return rule.created, rule.expires


def _meant(rule: Rule) -> tuple[object, ...]:
    return (rule.action, rule.scope, rule.subject, rule.client, rule.source)


def remove_rule(connection: sa.Connection, rule_id: str) -> bool:
    """Remove a rule; False when there is none with this id."""
    done = connection.execute(sa.delete(rules).where(rules.c.id == rule_id))
    if done.rowcount:
        bump(connection, "rules")
    return done.rowcount > 0


def read_rules(connection: sa.Connection) -> tuple[Rule, ...]:
    """All rules in the order in which they were made, expired ones included."""
    query = sa.select(rules).order_by(rules.c.created, rules.c.id)
    return tuple(row_rule(row) for row in connection.execute(query).mappings())


def put_pause(connection: sa.Connection, pause: Pause) -> None:
    """Add a pause; one for the same client (or everybody) that still runs is replaced."""
    connection.execute(sa.delete(pauses).where(_same_client(pause.client), pauses.c.until > pause.created))
    connection.execute(
        sa.insert(pauses).values(
            id=pause.id, client=clean(pause.client), created=pause.created, until=pause.until
        )
    )
    bump(connection, "pauses")


def end_pauses(connection: sa.Connection, client: str | None, now: float, *, everybody: bool) -> int:
    """End the running pauses of one client (or of everybody's, or `everybody`: all); return how many."""
    running = pauses.c.until > now
    chosen = running if everybody else sa.and_(running, _same_client(client))
    done = connection.execute(sa.update(pauses).where(chosen).values(until=now))
    if done.rowcount:
        bump(connection, "pauses")
    return done.rowcount


def _same_client(client: str | None) -> sa.ColumnElement[bool]:
    return pauses.c.client.is_(None) if client is None else pauses.c.client == client


def read_pauses(connection: sa.Connection) -> tuple[Pause, ...]:
    """All pauses in force or past, oldest first."""
    query = sa.select(pauses).order_by(pauses.c.created, pauses.c.id)
    return tuple(row_pause(row) for row in connection.execute(query).mappings())


def sweep(connection: sa.Connection, *, older_than: float) -> int:
    """Delete pauses and timed rules that ended before `older_than`."""
    gone = connection.execute(sa.delete(pauses).where(pauses.c.until < older_than)).rowcount
    expired = connection.execute(sa.delete(rules).where(rules.c.expires < older_than)).rowcount
    if gone:
        bump(connection, "pauses")
    if expired:
        bump(connection, "rules")
    return gone + expired
