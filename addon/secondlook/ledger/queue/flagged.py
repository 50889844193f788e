"""The queue: subjects that were let through unverified and wait for the second look.

One row a subject, with a count and its clients. A row ends in the same transaction as the event that
records how (confirmed, cleared, expired). A *lease* keeps two recheckers off the same row; it ends by
itself, so that a rechecker that dies loses nothing. A further visit that makes more to ask about gives the
row a new id without a lease: an answer on its way to what was asked before then ends nothing.
"""

from collections.abc import Iterable, Sequence
from itertools import batched
from typing import Any, Final

import sqlalchemy as sa

from secondlook.core.event import FlagEntry
from secondlook.ground.ulid import make_id
from secondlook.ledger.engine.codec import clean, flag_row
from secondlook.ledger.engine.statements import Insert, Prepared
from secondlook.ledger.engine.tables import flagged, flagged_clients
from secondlook.ledger.queue.sighting import add_digests, is_stricter

LONGEST_WAIT_S: Final = 2 * 3600.0

_CHUNK: Final = 500
_COLUMNS: Final = tuple(column.name for column in flagged.c)


def _count_visit(statement: Insert) -> sa.Executable:
    new, old = statement.excluded, flagged.c
    stricter = is_stricter(new, old)
    return statement.on_conflict_do_update(
        index_elements=[flagged.c.identity],
        set_={
            "count": old.count + 1,
            "first_seen": sa.case((new.first_seen < old.first_seen, new.first_seen), else_=old.first_seen),
            "last_seen": sa.case((new.last_seen > old.last_seen, new.last_seen), else_=old.last_seen),
            "reason": new.reason,
            "class": sa.case((stricter, new["class"]), else_=old["class"]),
            "id": sa.case((stricter, new.id), else_=old.id),
            "lease_until": sa.case((stricter, sa.null()), else_=old.lease_until),
        },
    )


_PUT_FLAGS: Final = Prepared(flagged, _COLUMNS, _count_visit)
_PUT_CLIENTS: Final = Prepared(
    flagged_clients, ("identity", "client"), lambda statement: statement.on_conflict_do_nothing()
)


def add_flags(connection: sa.Connection, entries: Sequence[FlagEntry], *, first_look_s: float) -> None:
    """Queue subjects, or count further visits; in the order of identity, so that writers cannot deadlock.

    They are due `first_look_s` after their visit; a server that is back or a new pattern brings all forward.
    """
    ordered = sorted(entries, key=lambda entry: entry.identity)
    _PUT_FLAGS.run(
        connection,
        [
            {
                **flag_row(entry),
                "id": make_id(entry.time),
                "count": 1,
                "first_seen": entry.time,
                "last_seen": entry.time,
                "attempts": 0,
                "next_attempt": entry.time + min(first_look_s, LONGEST_WAIT_S),
                "lease_until": None,
            }
            for entry in ordered
        ],
    )
    latest = max((entry.time for entry in ordered), default=0.0)
    add_digests(
        connection,
        flagged,
        ((entry.identity, entry.kind, entry.hashes, entry.labels) for entry in ordered),
        lambda: {"id": make_id(latest), "lease_until": None},
    )
    clients = sorted({(entry.identity, clean(entry.client) or "") for entry in ordered if entry.client})
    _PUT_CLIENTS.run(connection, [{"identity": identity, "client": client} for identity, client in clients])


def is_leased(until: sa.ColumnElement[Any], now: float, lease_s: float) -> sa.ColumnElement[bool]:
    """Return whether a lease lasts still.

    One from a proxy whose clock is ahead ends later than one of our own could, by as much as a whole lease;
    what lies further ahead was written before the clock was set back.
    """
    return sa.and_(until.is_not(None), until > now, until <= now + 2 * lease_s)


def remove(connection: sa.Connection, entries: Iterable[str]) -> set[str]:
    """Take entries (by id) out of the queue; return the ids that were still there."""
    gone: set[str] = set()
    for chunk in batched(entries, _CHUNK):
        rows = connection.execute(
            sa.delete(flagged).where(flagged.c.id.in_(chunk)).returning(flagged.c.id, flagged.c.identity)
        ).all()
        gone.update(row.id for row in rows)
        _remove_clients(connection, [row.identity for row in rows])
    return gone


def remove_identities(connection: sa.Connection, identities: Iterable[bytes]) -> set[bytes]:
    """Take entries (by identity) out of the queue; return the identities that were there."""
    gone: set[bytes] = set()
    for chunk in batched(identities, _CHUNK):
        rows = connection.execute(
            sa.delete(flagged).where(flagged.c.identity.in_(chunk)).returning(flagged.c.identity)
        ).all()
        gone.update(bytes(row.identity) for row in rows)
        _remove_clients(connection, [row.identity for row in rows])
    return gone


def _remove_clients(connection: sa.Connection, identities: Sequence[bytes]) -> None:
    if identities:
        connection.execute(sa.delete(flagged_clients).where(flagged_clients.c.identity.in_(identities)))


def count(connection: sa.Connection) -> tuple[int, float | None, float | None]:
    """Number of entries, the oldest `first_seen` and the earliest next attempt."""
    row = connection.execute(
        sa.select(sa.func.count(), sa.func.min(flagged.c.first_seen), sa.func.min(flagged.c.next_attempt))
    ).one()
    return row[0], row[1], row[2]
