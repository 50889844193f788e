"""Counts for charts, from the tallies of hours that are kept as events come in."""

from dataclasses import dataclass

import sqlalchemy as sa

from secondlook.core.event import EventKind
from secondlook.ledger.engine.tables import tallies
from secondlook.ledger.log.counting import HOUR_S, OUTCOMES


@dataclass(frozen=True, slots=True)
class HourCount:
    """What happened in one hour that begins at `at` (Unix seconds)."""

    at: float
    checked: int
    blocked: int
    flagged: int
    would_block: int
    confirmed: int
    errors: int


def hourly(connection: sa.Connection, since: float, until: float) -> list[HourCount]:
    """One count an hour, empty hours too, oldest first."""
    first, last = int(since // HOUR_S), int(until // HOUR_S)
    query = (
        sa.select(tallies.c.hour, tallies.c.kind, sa.func.sum(tallies.c.count))
        .where(tallies.c.hour >= first, tallies.c.hour <= last)
        .group_by(tallies.c.hour, tallies.c.kind)
    )
    found: dict[int, dict[EventKind, int]] = {}
    for hour, kind, count in connection.execute(query):
        found.setdefault(hour, {})[EventKind(kind)] = int(count)
    result: list[HourCount] = []
    for hour in range(first, last + 1):
        kinds = found.get(hour, {})
        result.append(
            HourCount(
                at=float(hour * HOUR_S),
                checked=sum(count for kind, count in kinds.items() if kind in OUTCOMES),
                blocked=kinds.get(EventKind.BLOCKED, 0),
                flagged=kinds.get(EventKind.FLAGGED, 0),
                would_block=kinds.get(EventKind.WOULD_BLOCK, 0),
                confirmed=kinds.get(EventKind.CONFIRMED, 0) + kinds.get(EventKind.LATE_VERDICT, 0),
                errors=kinds.get(EventKind.ERROR, 0),
            )
        )
    return result


def sweep(connection: sa.Connection, *, older_than: float) -> int:
    """Delete counts of hours before `older_than`."""
    return connection.execute(sa.delete(tallies).where(tallies.c.hour < int(older_than // HOUR_S))).rowcount
