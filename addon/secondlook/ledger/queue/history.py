"""History: hashes of what was allowed, so that a later verdict finds them; deleted after N days.

A row stands for a visit about which nothing was reported: it goes when its late verdict has been dealt with.
Until then a *lease* keeps a second service off it; the lease of one that was killed ends by itself.
"""

from collections.abc import Iterable
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import sqlalchemy as sa

from secondlook.core.event import EventKind, FlagEntry
from secondlook.core.subject import SubjectKind
from secondlook.ledger.engine.codec import history_row
from secondlook.ledger.engine.statements import Insert, Prepared
from secondlook.ledger.engine.tables import history
from secondlook.ledger.queue.sighting import add_digests, is_stricter

LET_THROUGH: Final = tuple(
    str(kind) for kind in (EventKind.CHECK, EventKind.FLAGGED, EventKind.WOULD_BLOCK, EventKind.PAUSED)
)
"""Kinds of events that stand for a request, and so, unless they blocked it, of a visit."""

WHERE: Final = ("url", "host", "filename")
"""What of a remembered visit shows where it was."""


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


def put(connection: sa.Connection, visits: Iterable[tuple[FlagEntry, bool]]) -> None:
    """Remember subjects; a later visit replaces the earlier one, but for what is asked about and a lease.

    One that yields (the second value) also leaves the earlier client in place, and where that one was.
    """
    # in the order of identity, so that two who write at once never wait for each other
    ordered = sorted(visits, key=lambda visit: visit[0].identity)
    for yields, part in groupby(ordered, key=itemgetter(1)):
        _PUT[yields].run(connection, [history_row(entry) for entry, _ in part])
    seen = ((entry.identity, entry.kind, entry.hashes, ()) for entry, _ in ordered)
    add_digests(connection, history, seen)


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
