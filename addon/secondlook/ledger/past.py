"""History: hashes of what was allowed, so that a later verdict finds them; deleted after N days."""

from collections.abc import Iterable, Sequence
from itertools import batched
from typing import Final

import sqlalchemy as sa

from secondlook.core.event import Event, EventKind, FlagEntry
from secondlook.core.subject import SubjectKind
from secondlook.ledger.codec import history_row, row_history
from secondlook.ledger.prepared import upsert
from secondlook.ledger.tables import history

LET_THROUGH: Final = tuple(
    str(kind)
    for kind in (
        EventKind.CHECK,
        EventKind.FLAGGED,
        EventKind.OVERRIDDEN,
        EventKind.WOULD_BLOCK,
        EventKind.PAUSED,
    )
)
"""Kinds of events that tell of a request, and so, unless they blocked it, of a visit."""


def put(connection: sa.Connection, rows: Iterable[tuple[bytes, Sequence[bytes], SubjectKind, Event]]) -> None:
    """Remember subjects; a later visit replaces the earlier one."""
    statement = upsert(connection, history)
    columns = [column.name for column in history.c if column.name != "identity"]
    statement = statement.on_conflict_do_update(
        index_elements=[history.c.identity], set_={name: statement.excluded[name] for name in columns}
    )
    for part in batched(sorted(rows, key=lambda row: row[0]), 1000):
        connection.execute(statement, [history_row(*row) for row in part])


def page(
    connection: sa.Connection, *, since: float, after: tuple[float, bytes] | None, size: int
) -> list[FlagEntry]:
    """Some of what was remembered since then, oldest first; `after`: the last (time, identity) seen."""
    time, identity = history.c.time, history.c.identity
    query = sa.select(history).where(time >= since)
    if after is not None:
        query = query.where(sa.or_(time > after[0], sa.and_(time == after[0], identity > after[1])))
        query = query.where(time >= after[0])
    rows = connection.execute(query.order_by(time, identity).limit(size)).mappings()
    return [row_history(row) for row in rows]


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
