"""What an event counts towards: the tallies of hours, and the shares of clients, gateways, hosts … in them.

```
 events ─► Counted (a few distinct ones) ─┬─► tallies: hour, kind, decision, stage
                                          └─► shares:  of whom, in five minutes, an hour, a day
```

Shares stay small however much is checked: in each stretch of time every dimension has at most `MOST_NAMES`
names of its own (for each process that writes), what comes after them counts under no name, and shorter
stretches are kept for a shorter time.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

import sqlalchemy as sa

from secondlook.core.event import Event, EventKind
from secondlook.core.verdict import Stage
from secondlook.ledger.engine.codec import clean
from secondlook.ledger.engine.statements import Insert, Prepared
from secondlook.ledger.engine.tables import shares, tallies

SLOT_S: Final = 300
HOUR_S: Final = 3600
DAY_S: Final = 86_400
STEPS: Final = (SLOT_S, HOUR_S, DAY_S)
KEPT_S: Final[dict[int, float]] = {SLOT_S: 2.0 * HOUR_S, HOUR_S: 8.0 * DAY_S}
"""How long shares of a step are kept; those of days as long as events."""
MOST_NAMES: Final = 250
_STRETCHES: Final = 64  # whose names are in memory
WITHIN_MS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
"""Bounds of the classes that answers of a server are counted in; what took longer is in the class `inf`."""
_WITHIN: Final = (*map(str, WITHIN_MS), "inf")

EVERYBODY: Final = "all"
CLIENT: Final = "client"
HOST: Final = "host"
LIST: Final = "list"
THREAT: Final = "threat"
GATEWAY: Final = "gateway"
SERVER: Final = "server"
WAY: Final = "way"
AVAILABLE: Final = "available"
ANSWERED, AWAY = "answered", "away"
LOCAL, CACHED, ASKED = "local", "cached", "asked"
_WAYS: Final[dict[str, str]] = {
    Stage.CACHE: CACHED,
    Stage.QUERY: ASKED,
    Stage.UNVERIFIABLE: ASKED,  # and nobody answered in time
}
"""By which way a stage decides; every other is local."""

OUTCOMES: Final[dict[str, str]] = {
    EventKind.CHECK.value: "allow",
    EventKind.BLOCKED.value: "block",
    EventKind.FLAGGED.value: "flag",
    EventKind.WOULD_BLOCK.value: "would_block",
}
"""Kinds of which each event is one check, and how it ended."""
_REFUSED: Final = frozenset({"block", "would_block"})


class Counted(NamedTuple):
    """What of an event matters for counts; empty where there is nothing."""

    slot: int  # Unix seconds / 300
    kind: str
    decision: str
    stage: str
    client: str = ""
    server: str = ""
    within_ms: str = ""
    gateway: str = ""
    host: str = ""  # this and what follows: of what was refused, or would have been
    list: str = ""
    threat: str = ""


class Look(NamedTuple):
    """One look at a server."""

    slot: int  # Unix seconds / 300
    server: str
    answered: bool


type Tally = tuple[int, str, str, str]
"""Hour (Unix seconds / 3600), kind, decision, stage."""
type Share = tuple[int, int, str, str, str, str]
"""Step (s), its beginning (Unix seconds), dimension, client, name, outcome."""


def counted(event: Event) -> Counted:
    """Return what an event counts towards; events with the same answer may be counted together."""
    kind = str(event.kind)
    stage = event.stage or ""
    server, within = asked(stage, event.server, event.elapsed_ms)
    slot, client, gateway = int(event.time // SLOT_S), event.client or "", event.gateway or ""
    if OUTCOMES.get(kind) not in _REFUSED:
        return Counted(slot, kind, event.decision or "", stage, client, server, within, gateway)
    refused = (event.host or "", event.list or "", event.threat or "")
    return Counted(slot, kind, event.decision or "", stage, client, server, within, gateway, *refused)


def asked(stage: str, server: str | None, elapsed_ms: float | None) -> tuple[str, str]:
    """Return the server that was asked and the class of how long the check took; empty where unknown."""
    if elapsed_ms is None:
        return "", ""
    return (server or "") if stage == Stage.QUERY else "", _WITHIN[bisect_left(WITHIN_MS, elapsed_ms)]


def tallies_of(counts: Counter[Counted]) -> Counter[Tally]:
    """Add up by hour, kind, decision and stage."""
    found: Counter[Tally] = Counter()
    for one, count in counts.items():
        found[one.slot * SLOT_S // HOUR_S, one.kind, one.decision, one.stage] += count
    return found


def shares_of(counts: Counter[Counted]) -> Counter[Share]:
    """Add up by whom and what, for every step."""
    short: Counter[Share] = Counter()
    for one, count in counts.items():
        outcome = OUTCOMES.get(one.kind)
        if outcome is None:
            continue
        at = one.slot * SLOT_S
        short[SLOT_S, at, EVERYBODY, "", "", outcome] += count
        for of, client, name, ended in _parts(one, outcome):
            short[SLOT_S, at, of, client, name, ended] += count
    found = short.copy()
    for (_, at, of, client, name, outcome), count in short.items():
        if of != EVERYBODY:
            found[HOUR_S, at - at % HOUR_S, of, client, name, outcome] += count
            found[DAY_S, at - at % DAY_S, of, client, name, outcome] += count
    return found


def availability_of(looks: Counter[Look]) -> Counter[Share]:
    """Add looks at servers up, for every step."""
    found: Counter[Share] = Counter()
    for one, count in looks.items():
        at, outcome = one.slot * SLOT_S, ANSWERED if one.answered else AWAY
        for step in STEPS:
            found[step, at - at % step, AVAILABLE, "", clean(one.server) or "", outcome] += count
    return found


def _parts(one: Counted, outcome: str) -> Iterator[tuple[str, str, str, str]]:
    if one.client:
        yield CLIENT, clean(one.client) or "", "", outcome
    if one.gateway:
        yield GATEWAY, "", clean(one.gateway) or "", outcome
    if one.server:
        yield SERVER, "", clean(one.server) or "", one.within_ms
    if one.within_ms:
        yield WAY, "", _WAYS.get(one.stage, LOCAL), one.within_ms
    for of, name in ((HOST, one.host), (LIST, one.list), (THREAT, one.threat)):
        if name:
            yield of, clean(one.client) or "", clean(name) or "", outcome


class Admission:
    """Which names have rows of their own in a stretch of time: the first `MOST_NAMES`, whoever wrote them."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, str], set[tuple[str, str]]] = {}

    def admit(self, connection: sa.Connection, found: Counter[Share]) -> Counter[Share]:
        """Return the shares with those beyond the bound put together under no name."""
        admitted: Counter[Share] = Counter()
        for (step, at, of, client, name, outcome), count in found.items():
            known = self._names(connection, step, at, of)
            if (client, name) not in known:
                if len(known) >= MOST_NAMES:
                    client = name = ""  # noqa: PLW2901
                else:
                    known.add((client, name))
            admitted[step, at, of, client, name, outcome] += count
        return admitted

    def _names(self, connection: sa.Connection, step: int, at: int, of: str) -> set[tuple[str, str]]:
        known = self._known.get((step, at, of))
        if known is None:
            c = shares.c
            query = sa.select(c.client, c.name).distinct().where(c.step == step, c.of == of, c.at == at)
            known = self._known[step, at, of] = {(client, name) for client, name in connection.execute(query)}
            while len(self._known) > _STRETCHES:
                del self._known[next(iter(self._known))]
        return known


def _add_up_tallies(statement: Insert) -> sa.Executable:
    return statement.on_conflict_do_update(
        index_elements=[tallies.c.hour, tallies.c.kind, tallies.c.decision, tallies.c.stage],
        set_={"count": tallies.c.count + statement.excluded.count},
    )


def _add_up_shares(statement: Insert) -> sa.Executable:
    return statement.on_conflict_do_update(
        index_elements=list(shares.primary_key.columns),
        set_={"count": shares.c.count + statement.excluded.count},
    )


_TALLY: Final = ("hour", "kind", "decision", "stage", "count")
_SHARE: Final = ("step", "at", "of", "client", "name", "outcome", "count")
_PUT_TALLIES: Final = Prepared(tallies, _TALLY, _add_up_tallies)
_PUT_SHARES: Final = Prepared(shares, _SHARE, _add_up_shares)


NO_LOOKS: Final[Counter[Look]] = Counter()


def add_counts(
    connection: sa.Connection,
    counts: Counter[Counted],
    admission: Admission,
    looks: Counter[Look] = NO_LOOKS,
) -> None:
    """Add to tallies and shares; rows in sorted order, so that two writers cannot deadlock."""
    found_shares = shares_of(counts)
    found_shares.update(availability_of(looks))
    for columns, put, found in (
        (_TALLY, _PUT_TALLIES, tallies_of(counts)),
        (_SHARE, _PUT_SHARES, admission.admit(connection, found_shares)),
    ):
        rows = sorted(found.items())
        put.run(connection, [dict(zip(columns, (*key, count), strict=True)) for key, count in rows])


def sweep(connection: sa.Connection, *, now: float, older_than: float) -> int:
    """Delete what began before `older_than`, and shares past the time for which their step is kept.

    A stretch with something older in it goes as a whole: a name is kept no longer than its events.
    """
    old_hours = tallies.c.hour < int(older_than // HOUR_S)
    gone = connection.execute(sa.delete(tallies).where(old_hours)).rowcount
    for step in STEPS:
        cutoff = max(older_than, now - KEPT_S.get(step, now))
        query = sa.delete(shares).where(shares.c.step == step, shares.c.at < cutoff)
        gone += connection.execute(query).rowcount
    return gone


def erase(connection: sa.Connection, client: str, used: set[str]) -> None:
    """Delete what counts of a client, and which hosts the addresses `used` by it were refused."""
    connection.execute(sa.delete(shares).where(shares.c.client == client))
    if used:
        connection.execute(sa.delete(shares).where(shares.c.of == HOST, shares.c.client.in_(sorted(used))))
