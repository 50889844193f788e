"""History: hashes of what was allowed, so that a later verdict finds them; deleted after N days."""

from collections.abc import Iterable, Sequence
from itertools import batched
from typing import Final

import sqlalchemy as sa

from secondlook.core.event import Event, EventKind, FlagEntry, Remembered
from secondlook.core.subject import SubjectKind
from secondlook.ledger.engine.codec import history_row, row_history, split_hashes
from secondlook.ledger.engine.statements import upsert
from secondlook.ledger.engine.tables import history
from secondlook.ledger.queue.sighting import add_digests, is_stricter

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
"""Kinds of events that stand for a request, and so, unless they blocked it, of a visit."""


def put(connection: sa.Connection, rows: Iterable[tuple[bytes, Sequence[bytes], SubjectKind, Event]]) -> None:
    """Remember subjects; a later visit replaces the earlier one, but for what is asked about."""
    statement = upsert(connection, history)
    new, old = statement.excluded, history.c
    columns = [column.name for column in old if column.name != "identity"]
    statement = statement.on_conflict_do_update(
        index_elements=[old.identity],
        set_={name: new[name] for name in columns}
        | {
            "class": sa.case((is_stricter(new, old), new["class"]), else_=old["class"]),
            "hashes": sa.case((old.kind == SubjectKind.FILE.value, old.hashes), else_=new.hashes),
        },
    )
    for part in batched(sorted(rows, key=lambda row: row[0]), 1000):
        connection.execute(statement, [history_row(*row) for row in part])
        add_digests(connection, history, ((identity, kind, hashes, ()) for identity, hashes, kind, _ in part))


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
