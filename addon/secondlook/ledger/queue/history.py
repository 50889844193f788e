"""History: hashes of what was allowed, so that a later verdict finds them; deleted after N days.

A row stands for a visit about which nothing was reported: it goes when its late verdict has been dealt with.
Until then a *lease* keeps a second service off it; the lease of one that was killed ends by itself.
"""

import json
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import batched, groupby
from operator import itemgetter
from typing import Any, Final

import sqlalchemy as sa

from secondlook.core.event import Event, EventKind, FlagEntry, Remembered
from secondlook.core.subject import SubjectKind
from secondlook.ledger.engine.codec import history_row, row_history, split_hashes
from secondlook.ledger.engine.statements import Insert, Prepared
from secondlook.ledger.engine.tables import events, flagged, history
from secondlook.ledger.queue.flagged import is_leased
from secondlook.ledger.queue.sighting import add_digests, is_stricter

LET_THROUGH: Final = tuple(
    str(kind)
    for kind in (
        EventKind.CHECK,
        EventKind.FLAGGED,
        EventKind.WOULD_BLOCK,
        EventKind.PAUSED,
    )
)
"""Kinds of events that stand for a request, and so, unless they blocked it, of a visit."""

WHERE: Final = ("url", "host", "filename")
"""What of a remembered visit shows where it was."""

_REPORTS: Final = (str(EventKind.CONFIRMED), str(EventKind.LATE_VERDICT))


def _replacing(statement: Insert, *, keeps_client: bool) -> sa.Executable:
    new, old = statement.excluded, history.c
    place: dict[str, sa.ColumnElement[Any]] = {name: new[name] for name in ("client", *WHERE)}
    if keeps_client:  # with where it was: nobody is named beside a place where somebody else was
        place = {name: sa.case((old.client.is_(None), new[name]), else_=old[name]) for name in WHERE}
    return statement.on_conflict_do_update(
        index_elements=[old.identity],
        set_={name: new[name] for name in ("kind", "time", "sha256", "size")}
        | place
        | {
            "class": sa.case((is_stricter(new, old), new["class"]), else_=old["class"]),
            "hashes": sa.case((old.kind == SubjectKind.FILE.value, old.hashes), else_=new.hashes),
        },
    )


_COLUMNS: Final = [column.name for column in history.c if column.name != "lease_until"]
_PUT: Final = {
    yields: Prepared(history, _COLUMNS, partial(_replacing, keeps_client=yields)) for yields in (False, True)
}


def put(
    connection: sa.Connection, rows: Iterable[tuple[bytes, Sequence[bytes], SubjectKind, Event, bool]]
) -> None:
    """Remember subjects; a later visit replaces the earlier one, but for what is asked about and a lease.

    One that yields (the last value) also leaves the earlier client in place, and where that one was.
    """
    ordered = sorted(rows, key=itemgetter(0))  # so that two who write at once never wait for each other
    for yields, part in groupby(ordered, key=itemgetter(4)):
        _PUT[yields].run(connection, [history_row(*row[:4]) for row in part])
    seen = ((identity, kind, hashes, ()) for identity, hashes, kind, *_ in ordered)
    add_digests(connection, history, seen)


def outline(connection: sa.Connection, *, since: float, after: bytes, size: int) -> list[Remembered]:
    """Some of what was remembered since then, as little as can be of each; `after`: the last identity seen.

    In the order in which the table lies on the disk: by time each would be sought for by itself.
    """
    columns = history.c
    query = (
        sa.select(columns.identity, columns.kind, columns.hashes)
        .where(columns.identity > after, columns.time >= since)
        .order_by(columns.identity)
        .limit(size)
    )
    return [
        Remembered(identity, SubjectKind(kind), split_hashes(hashes))
        for identity, kind, hashes in connection.execute(query)
    ]


def recall(connection: sa.Connection, identities: Sequence[bytes]) -> list[FlagEntry]:
    """What is remembered of these subjects; of some it may be nothing any more."""
    found: list[FlagEntry] = []
    for part in batched(identities, 500):
        rows = connection.execute(sa.select(history).where(history.c.identity.in_(part))).mappings()
        found.extend(row_history(row) for row in rows)
    return found


def take(
    connection: sa.Connection, identities: Sequence[bytes], now: float, *, lease_s: float
) -> list[tuple[FlagEntry, bool]]:
    """Lease what is remembered of subjects; each with whether a lease of it ended by itself before.

    What a rechecker holds in the queue is left to it: its action comes before its event.
    """
    taken: list[tuple[FlagEntry, bool]] = []
    rechecked = sa.exists().where(
        flagged.c.identity == history.c.identity, is_leased(flagged.c.lease_until, now, lease_s)
    )
    free = ~sa.or_(rechecked, is_leased(history.c.lease_until, now, lease_s))
    for part in batched(sorted(identities), 500):
        query = sa.select(history).where(history.c.identity.in_(part), free).order_by(history.c.identity)
        query = query.with_for_update(skip_locked=True)  # of no meaning on SQLite, where one writes at a time
        rows = connection.execute(query).mappings().all()
        taken.extend((row_history(row), row["lease_until"] is not None) for row in rows)
        connection.execute(
            sa.update(history)
            .where(history.c.identity.in_([row["identity"] for row in rows]))
            .values(lease_until=now + lease_s)
        )
    return taken


def reported(connection: sa.Connection, entries: Sequence[FlagEntry]) -> set[bytes]:
    """Find whose visit an event has reported already: a later one about the subject that names the client."""
    found: set[bytes] = set()
    for part in batched(entries, 500):
        visits = {entry.identity: entry for entry in part}
        query = sa.select(events.c.identity, events.c.time, events.c.client, events.c.extra).where(
            events.c.kind.in_(_REPORTS),
            sa.literal_column("events.kind != 'check'"),  # as the index on kinds says it
            events.c.identity.in_(list(visits)),
            events.c.time >= min(entry.time for entry in part),
        )
        for identity, time, client, extra in connection.execute(query):
            visit = visits[bytes(identity)]
            if time >= visit.time and _names(visit.client, client, extra):
                found.add(visit.identity)
    return found


def _names(wanted: str | None, client: str | None, extra: str | None) -> bool:
    """Return whether an event names a client; where privacy keeps no names, any stands for all."""
    if wanted is None or client == wanted:
        return True
    values = json.loads(extra) if extra else None
    clients = values.get("clients") if isinstance(values, dict) else None
    return wanted in clients if isinstance(clients, list) else client is None


def forget(connection: sa.Connection, entries: Iterable[FlagEntry]) -> None:
    """Forget visits that were dealt with; a later one of the same subject stays, for whoever comes first."""
    ordered = sorted(entries, key=lambda entry: entry.identity)
    rows = [{"subject": entry.identity, "visit": entry.time} for entry in ordered]
    if not rows:
        return
    subject, dealt_with = (
        history.c.identity == sa.bindparam("subject"),
        history.c.time <= sa.bindparam("visit"),
    )
    connection.execute(sa.delete(history).where(subject, dealt_with), rows)
    connection.execute(sa.update(history).where(subject).values(lease_until=None), rows)


def sweep(connection: sa.Connection, *, older_than: float, limit: int = 5_000) -> int:
    """Forget subjects last allowed before `older_than`, at most `limit` at once."""
    old = (
        sa.select(history.c.identity)
        .where(history.c.time < older_than)
        .order_by(history.c.time)
        .limit(limit)
        .scalar_subquery()
    )
    return connection.execute(sa.delete(history).where(history.c.identity.in_(old))).rowcount
