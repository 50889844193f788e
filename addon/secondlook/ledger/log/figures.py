"""Who and what has how much of the counts: read from the shares (`ledger.log.counting`)."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from secondlook.ledger.engine.tables import events, shares
from secondlook.ledger.log.counting import ANSWERED, AVAILABLE, CLIENT, EVERYBODY, GATEWAY, STEPS


@dataclass(frozen=True, slots=True)
class Course:
    """Checks of one stretch of time that begins at `at` (Unix seconds)."""

    at: float
    checked: int
    blocked: int
    flagged: int


@dataclass(frozen=True, slots=True)
class ClientCount:
    """Checks of one client, and when it was last seen (Unix seconds)."""

    client: str
    checked: int
    blocked: int
    flagged: int
    last_seen: float


@dataclass(frozen=True, slots=True)
class GatewayCount:
    """Checks that one gateway asked for."""

    gateway: str
    checked: int
    blocked: int
    flagged: int


@dataclass(frozen=True, slots=True)
class Looks:
    """Looks at one server in a stretch of time that begins at `at` (Unix seconds)."""

    server: str
    at: float
    looks: int
    answered: int


def _sum(*outcomes: str) -> sa.ColumnElement[int]:
    if not outcomes:
        return sa.func.sum(shares.c.count)
    return sa.func.sum(sa.case((shares.c.outcome.in_(outcomes), shares.c.count), else_=0))


_COUNTS = (_sum(), _sum("block"), _sum("flag"))


def _within(of: str, step: int, since: float) -> sa.ColumnElement[bool]:
    return sa.and_(shares.c.step == step, shares.c.of == of, shares.c.at >= int(since))


def course(connection: sa.Connection, step: int, since: float, client: str | None) -> list[Course]:
    """Return the checks of everybody or of one client, stretch by stretch; empty ones are left out.

    Of everybody only five minutes are counted here: longer stretches are what the tallies of hours hold.
    """
    wanted = _within(EVERYBODY if client is None else CLIENT, step, since)
    query = sa.select(shares.c.at, *_COUNTS).where(wanted, shares.c.client == (client or ""))
    rows = connection.execute(query.group_by(shares.c.at).order_by(shares.c.at))
    return [
        Course(float(at), int(checked), int(blocked), int(flagged)) for at, checked, blocked, flagged in rows
    ]


def top(
    connection: sa.Connection, of: str, step: int, since: float, *, client: str | None, limit: int
) -> list[tuple[str, int]]:
    """Return names with most refused checks first; those that would have been refused count too."""
    total = _sum().label("total")
    query = sa.select(shares.c.name, total).where(_within(of, step, since), shares.c.name != "")
    if client is not None:
        query = query.where(shares.c.client == client)
    query = query.group_by(shares.c.name).order_by(total.desc(), shares.c.name).limit(limit)
    return [(name, int(count)) for name, count in connection.execute(query)]


def latency(connection: sa.Connection, of: str, step: int, since: float) -> dict[str, dict[str, int]]:
    """Return of each server, or each way, how many checks ended within which bound (`counting.WITHIN_MS`)."""
    query = sa.select(shares.c.name, shares.c.outcome, _sum()).where(_within(of, step, since))
    found: dict[str, dict[str, int]] = {}
    for name, within, count in connection.execute(query.group_by(shares.c.name, shares.c.outcome)):
        found.setdefault(name, {})[within] = int(count)
    return found


def availability(connection: sa.Connection, step: int, since: float) -> list[Looks]:
    """Return how often each server was looked at and answered in each stretch; empty ones are left out."""
    query = sa.select(shares.c.name, shares.c.at, _sum(), _sum(ANSWERED))
    query = query.where(_within(AVAILABLE, step, since), shares.c.name != "")
    rows = connection.execute(query.group_by(shares.c.name, shares.c.at).order_by(shares.c.name, shares.c.at))
    return [Looks(name, float(at), int(looks), int(answered)) for name, at, looks, answered in rows]


def gateways(connection: sa.Connection, step: int, since: float, *, limit: int) -> list[GatewayCount]:
    """Return gateways, those with most checks first."""
    query = sa.select(shares.c.name, *_COUNTS).where(_within(GATEWAY, step, since), shares.c.name != "")
    query = query.group_by(shares.c.name).order_by(_COUNTS[0].desc(), shares.c.name).limit(limit)
    return [GatewayCount(name, *map(int, counts)) for name, *counts in connection.execute(query)]


def clients(
    connection: sa.Connection, step: int, since: float, *, only: str | None = None, limit: int
) -> list[ClientCount]:
    """Return clients, those with most checks first."""
    columns = (shares.c.client, *_COUNTS, sa.func.max(shares.c.at))
    query = sa.select(*columns).where(_within(CLIENT, step, since), shares.c.client != "")
    if only is not None:
        query = query.where(shares.c.client == only)
    query = query.group_by(shares.c.client).order_by(_COUNTS[0].desc(), shares.c.client).limit(limit)
    rows = connection.execute(query).all()
    last = _last_seen(connection, step, {client: int(at) for client, *_, at in rows})
    return [
        ClientCount(client, int(checked), int(blocked), int(flagged), last[client])
        for client, checked, blocked, flagged, _ in rows
    ]


def _last_seen(connection: sa.Connection, step: int, last: Mapping[str, int]) -> dict[str, float]:
    """When each client was last counted, as exactly as shorter stretches or the log still show.

    `last` is the last stretch of `step` seconds of each: what lies before it is not read.
    """
    found = {name: float(at) for name, at in last.items()}
    shorter = [each for each in STEPS if each < step]
    for begin in set(last.values()) if shorter else ():
        query = sa.select(shares.c.client, sa.func.max(shares.c.at)).where(
            shares.c.step.in_(shorter),
            shares.c.of == CLIENT,
            shares.c.at.between(begin, begin + step - 1),
            shares.c.client.in_([name for name, at in last.items() if at == begin]),
        )
        found |= {name: float(at) for name, at in connection.execute(query.group_by(shares.c.client))}
    for name in last:
        newest = (
            sa.select(events.c.time).where(events.c.client == name).order_by(events.c.seq.desc()).limit(1)
        )
        found[name] = max(found[name], connection.execute(newest).scalar() or 0.0)
    return found
