"""The queue: subjects that were let through unverified and wait for the second look.

One row a subject, with a count and its clients. A row ends in the same transaction as the event that
records how (confirmed, cleared, expired). A *lease* keeps two recheckers off the same row; it ends by
itself, so that a rechecker that dies loses nothing. A further visit that makes more to ask about gives the
row a new id without a lease: an answer on its way to what was asked before then ends nothing.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import sqlalchemy as sa

from secondlook.core.event import FlagEntry, QueueEntry
from secondlook.ground.ulid import make_id
from secondlook.ledger.engine.codec import clean, flag_row, row_queue
from secondlook.ledger.engine.statements import Insert, Prepared
from secondlook.ledger.engine.tables import flagged, flagged_clients
from secondlook.ledger.queue.sighting import add_digests, is_stricter

LONGEST_WAIT_S: Final = 2 * 3600.0

_CHUNK: Final = 500
_CLIENTS_SHOWN: Final = 1000


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


def take_due(
    connection: sa.Connection,
    now: float,
    *,
    limit: int,
    lease_s: float,
    everything: bool,
    older_than: float | None = None,
) -> list[QueueEntry]:
    """Lease entries, oldest first (`older_than`: those first seen before it, due or not).

    What lies further ahead than anybody ever writes was written before the clock was set back.
    """
    attempt = flagged.c.next_attempt
    free = sa.not_(is_leased(flagged.c.lease_until, now, lease_s))
    due = free
    if older_than is not None:
        due = sa.and_(free, flagged.c.first_seen < older_than)
    elif not everything:
        due = sa.and_(free, sa.or_(attempt <= now, attempt > now + LONGEST_WAIT_S))
    chosen = sa.select(flagged.c.id).where(due).order_by(flagged.c.first_seen).limit(limit)
    chosen = chosen.with_for_update(skip_locked=True)  # of no meaning on SQLite, where one writes at a time
    statement = (
        sa.update(flagged)
        .where(flagged.c.id.in_(sa.select(chosen.cte("chosen").c.id)))
        .values(lease_until=now + lease_s)
        .returning(*flagged.c)
    )
    rows = connection.execute(statement).mappings().all()
    return _with_clients(connection, sorted(rows, key=lambda row: (row["first_seen"], row["id"])))


def renew(connection: sa.Connection, entries: Iterable[str], until: float) -> None:
    """Make the leases of entries (by id) last until then; one whose lease was given back stays free."""
    for chunk in _chunks(sorted(entries)):
        leased = sa.and_(flagged.c.id.in_(chunk), flagged.c.lease_until.is_not(None))
        connection.execute(sa.update(flagged).where(leased).values(lease_until=until))


def remove(connection: sa.Connection, entries: Iterable[str]) -> set[str]:
    """Take entries (by id) out of the queue; return the ids that were still there."""
    gone: set[str] = set()
    for chunk in _chunks(list(entries)):
        rows = connection.execute(
            sa.delete(flagged).where(flagged.c.id.in_(chunk)).returning(flagged.c.id, flagged.c.identity)
        ).all()
        gone.update(row.id for row in rows)
        _remove_clients(connection, [row.identity for row in rows])
    return gone


def remove_identities(connection: sa.Connection, identities: Iterable[bytes]) -> set[bytes]:
    """Take entries (by identity) out of the queue; return the identities that were there."""
    gone: set[bytes] = set()
    for chunk in _chunks(list(identities)):
        rows = connection.execute(
            sa.delete(flagged).where(flagged.c.identity.in_(chunk)).returning(flagged.c.identity)
        ).all()
        gone.update(bytes(row.identity) for row in rows)
        _remove_clients(connection, [row.identity for row in rows])
    return gone


def _remove_clients(connection: sa.Connection, identities: Sequence[bytes]) -> None:
    if identities:
        connection.execute(sa.delete(flagged_clients).where(flagged_clients.c.identity.in_(identities)))


def postpone(
    connection: sa.Connection, entries: Sequence[QueueEntry], next_attempt: Sequence[float], reason: str
) -> None:
    """Count an attempt that decided nothing, and end the leases."""
    if not entries:
        return
    statement = (
        sa.update(flagged)
        .where(flagged.c.id == sa.bindparam("entry"))
        .values(
            attempts=flagged.c.attempts + 1,
            next_attempt=sa.bindparam("at"),
            reason=sa.bindparam("why"),
            lease_until=None,
        )
    )
    why = clean(reason)
    connection.execute(
        statement,
        [
            {"entry": entry.id, "at": at, "why": why}
            for entry, at in sorted(zip(entries, next_attempt, strict=True), key=lambda pair: pair[0].id)
        ],
    )


def listing(connection: sa.Connection, *, after: tuple[float, str] | None, limit: int) -> list[QueueEntry]:
    """A page of the queue, oldest first; `after` is (first_seen, id) of the last entry seen."""
    query = sa.select(flagged).order_by(flagged.c.first_seen, flagged.c.id).limit(limit)
    if after is not None:
        at, entry = after
        query = query.where(
            sa.or_(
                flagged.c.first_seen > at,
                sa.and_(flagged.c.first_seen == at, flagged.c.id > entry),
            )
        )
    return _with_clients(connection, connection.execute(query).mappings().all())


def show(connection: sa.Connection, entry: str) -> QueueEntry | None:
    """One entry by its id."""
    rows = connection.execute(sa.select(flagged).where(flagged.c.id == entry)).mappings().all()
    found = _with_clients(connection, rows)
    return found[0] if found else None


def count(connection: sa.Connection) -> tuple[int, float | None, float | None]:
    """Number of entries, the oldest `first_seen` and the earliest next attempt."""
    row = connection.execute(
        sa.select(sa.func.count(), sa.func.min(flagged.c.first_seen), sa.func.min(flagged.c.next_attempt))
    ).one()
    return row[0], row[1], row[2]


def _with_clients(connection: sa.Connection, rows: Sequence[Any]) -> list[QueueEntry]:
    clients: dict[bytes, list[str]] = {}
    for chunk in _chunks([row["identity"] for row in rows]):
        found = connection.execute(
            sa.select(flagged_clients)
            .where(flagged_clients.c.identity.in_(chunk))
            .order_by(flagged_clients.c.client)
        )
        for identity, client in found:
            shown = clients.setdefault(bytes(identity), [])
            if len(shown) < _CLIENTS_SHOWN:
                shown.append(client)
    return [row_queue(row, clients.get(bytes(row["identity"]), ())) for row in rows]


def _chunks[T](values: Sequence[T]) -> Iterable[Sequence[T]]:
    for at in range(0, len(values), _CHUNK):
        yield values[at : at + _CHUNK]
