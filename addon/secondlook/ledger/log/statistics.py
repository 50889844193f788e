"""Counts as people see them: by hours from the tallies, by clients, hosts, servers … from the shares.

How both are kept is `ledger.log.counting`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from secondlook.core.event import EventKind
from secondlook.ledger.engine.store import Store
from secondlook.ledger.engine.tables import events, shares, tallies
from secondlook.ledger.log.counting import (
    ANSWERED,
    AVAILABLE,
    CLIENT,
    EVERYBODY,
    GATEWAY,
    HOUR_S,
    OUTCOMES,
    STEPS,
)


@dataclass(frozen=True, slots=True)
class Course:
    """Checks of one stretch of time that begins at `at` (Unix seconds)."""

    at: float
    checked: int
    blocked: int
    flagged: int


@dataclass(frozen=True, slots=True)
class HourCount(Course):
    """Checks of one hour."""

    would_block: int


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


class Statistics:
    """Reads counts; every method blocks its thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def hourly(self, since: float, until: float) -> list[HourCount]:
        """What was checked, blocked and flagged in each hour from `since` to `until`, empty hours too."""
        first, last = int(since // HOUR_S), int(until // HOUR_S)
        query = (
            sa.select(tallies.c.hour, tallies.c.kind, sa.func.sum(tallies.c.count))
            .where(tallies.c.hour >= first, tallies.c.hour <= last)
            .group_by(tallies.c.hour, tallies.c.kind)
        )
        found: dict[int, dict[EventKind, int]] = {}
        for hour, kind, count in self._store.rows(query):
            found.setdefault(hour, {})[EventKind(kind)] = int(count)
        return [_hour_count(hour, found.get(hour, {})) for hour in range(first, last + 1)]

    def course(self, step: int, since: float, client: str | None = None) -> list[Course]:
        """Checks of everybody or of one client by stretches of `step` seconds (`counting.STEPS`).

        Empty ones are left out. Of everybody only five minutes are counted here: longer stretches are what
        the tallies of hours hold.
        """
        wanted = _within(EVERYBODY if client is None else CLIENT, step, since)
        query = sa.select(shares.c.at, *_COUNTS).where(wanted, shares.c.client == (client or ""))
        rows = self._store.rows(query.group_by(shares.c.at).order_by(shares.c.at))
        return [Course(float(at), *map(int, counts)) for at, *counts in rows]

    def top(
        self, of: str, step: int, since: float, *, client: str | None = None, limit: int = 10
    ) -> list[tuple[str, int]]:
        """Hosts, lists or threats with most refused checks, of everybody or of one client.

        Checks that would have been refused count too.
        """
        total = _sum().label("total")
        query = sa.select(shares.c.name, total).where(_within(of, step, since), shares.c.name != "")
        if client is not None:
            query = query.where(shares.c.client == client)
        query = query.group_by(shares.c.name).order_by(total.desc(), shares.c.name).limit(limit)
        return [(name, int(count)) for name, count in self._store.rows(query)]

    def latency(self, of: str, step: int, since: float) -> dict[str, dict[str, int]]:
        """How many checks of each server, or each way (`counting.WAY`), ended within which bound (ms)."""
        query = sa.select(shares.c.name, shares.c.outcome, _sum()).where(_within(of, step, since))
        found: dict[str, dict[str, int]] = {}
        for name, within, count in self._store.rows(query.group_by(shares.c.name, shares.c.outcome)):
            found.setdefault(name, {})[within] = int(count)
        return found

    def availability(self, step: int, since: float) -> list[Looks]:
        """Looks at each server by stretches of `step` seconds, and how many found it answering."""
        query = sa.select(shares.c.name, shares.c.at, _sum(), _sum(ANSWERED))
        query = query.where(_within(AVAILABLE, step, since), shares.c.name != "")
        query = query.group_by(shares.c.name, shares.c.at).order_by(shares.c.name, shares.c.at)
        return [
            Looks(name, float(at), int(looks), int(answered))
            for name, at, looks, answered in self._store.rows(query)
        ]

    def gateways(self, step: int, since: float, *, limit: int = 10) -> list[GatewayCount]:
        """Gateways with most checks first."""
        query = sa.select(shares.c.name, *_COUNTS).where(_within(GATEWAY, step, since), shares.c.name != "")
        query = query.group_by(shares.c.name).order_by(_COUNTS[0].desc(), shares.c.name).limit(limit)
        return [GatewayCount(name, *map(int, counts)) for name, *counts in self._store.rows(query)]

    def clients(
        self, step: int, since: float, *, only: str | None = None, limit: int = 10
    ) -> list[ClientCount]:
        """Clients with most checks first, or one of them."""
        columns = (shares.c.client, *_COUNTS, sa.func.max(shares.c.at))
        query = sa.select(*columns).where(_within(CLIENT, step, since), shares.c.client != "")
        if only is not None:
            query = query.where(shares.c.client == only)
        query = query.group_by(shares.c.client).order_by(_COUNTS[0].desc(), shares.c.client).limit(limit)

        def work(connection: sa.Connection) -> list[ClientCount]:
            rows = connection.execute(query).all()
            last = _last_seen(connection, step, {client: int(at) for client, *_, at in rows})
            return [
                ClientCount(client, int(checked), int(blocked), int(flagged), last[client])
                for client, checked, blocked, flagged, _ in rows
            ]

        return self._store.read(work)


def _sum(*outcomes: str) -> sa.ColumnElement[int]:
    if not outcomes:
        return sa.func.sum(shares.c.count)
    return sa.func.sum(sa.case((shares.c.outcome.in_(outcomes), shares.c.count), else_=0))


_COUNTS = (_sum(), _sum("block"), _sum("flag"))


def _within(of: str, step: int, since: float) -> sa.ColumnElement[bool]:
    return sa.and_(shares.c.step == step, shares.c.of == of, shares.c.at >= int(since))


def _hour_count(hour: int, kinds: Mapping[EventKind, int]) -> HourCount:
    return HourCount(
        at=float(hour * HOUR_S),
        checked=sum(count for kind, count in kinds.items() if kind in OUTCOMES),
        blocked=kinds.get(EventKind.BLOCKED, 0),
        flagged=kinds.get(EventKind.FLAGGED, 0),
        would_block=kinds.get(EventKind.WOULD_BLOCK, 0),
    )


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
