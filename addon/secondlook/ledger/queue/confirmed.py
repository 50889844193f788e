"""The confirmed set: subjects found malicious by a recheck or an answer, blocked in stage 2.

Every change takes the next number of the topic's counter (its row lock puts the changes of several
proxies into the order of their commits), so that a process that knows number n asks only for
what came after n. A withdrawn subject stays as a row without force for a day, for those who ask.
"""

from collections.abc import Sequence
from itertools import batched
from typing import Final

import sqlalchemy as sa

from secondlook.core.event import ConfirmedEntry
from secondlook.ledger.engine.change import bump
from secondlook.ledger.engine.codec import confirmed_row, row_confirmed
from secondlook.ledger.engine.statements import upsert
from secondlook.ledger.engine.tables import confirmed
from secondlook.ledger.queue.sighting import is_stricter

TOMBSTONE_S: Final = 86_400.0
_CHUNK: Final = 500


def put(connection: sa.Connection, entries: Sequence[ConfirmedEntry]) -> set[bytes]:
    """Put subjects into the set, or renew them; return the identities that were not in it before.

    What is in force is asked about in the strictest class in which it was met.
    """
    if not entries:
        return set()
    number = bump(connection, "confirmed")
    identities = [entry.identity for entry in entries]
    known = _known(connection, identities)
    statement = upsert(connection, confirmed)
    kept = {"identity", "confirmed_at"}
    in_force = confirmed.c.withdrawn_at.is_(None)
    statement = statement.on_conflict_do_update(
        index_elements=[confirmed.c.identity],
        set_={
            column.name: statement.excluded[column.name] for column in confirmed.c if column.name not in kept
        }
        | {
            "confirmed_at": sa.case(
                (in_force, confirmed.c.confirmed_at), else_=statement.excluded.confirmed_at
            ),
            "class": sa.case(
                (sa.and_(in_force, ~is_stricter(statement.excluded, confirmed.c)), confirmed.c["class"]),
                else_=statement.excluded["class"],
            ),
        },
    )
    latest = {entry.identity: entry for entry in entries}
    connection.execute(
        statement, [{**confirmed_row(latest[key]), "change": number} for key in sorted(latest)]
    )
    return set(identities) - known


def put_missing(connection: sa.Connection, entries: Sequence[ConfirmedEntry]) -> None:
    """Put subjects into the set that are not in it; the others keep what is known of them."""
    known = _known(connection, [entry.identity for entry in entries])
    _ = put(connection, [entry for entry in entries if entry.identity not in known])


def _known(connection: sa.Connection, identities: Sequence[bytes]) -> set[bytes]:
    known: set[bytes] = set()
    for part in batched(identities, _CHUNK):
        query = sa.select(confirmed.c.identity).where(
            confirmed.c.identity.in_(part), confirmed.c.withdrawn_at.is_(None)
        )
        known.update(map(bytes, connection.execute(query).scalars()))
    return known


def withdraw(connection: sa.Connection, identity: bytes, now: float) -> bool:
    """Take a subject out of the set; False when it was not in it."""
    number = bump(connection, "confirmed")
    done = connection.execute(
        sa.update(confirmed)
        .where(confirmed.c.identity == identity, confirmed.c.withdrawn_at.is_(None))
        .values(withdrawn_at=now, change=number)
    )
    return done.rowcount > 0


def extend(connection: sa.Connection, identities: Sequence[bytes], expires_at: float) -> None:
    """Keep subjects until they are asked again at `expires_at`."""
    if not identities:
        return
    number = bump(connection, "confirmed")
    for part in batched(identities, _CHUNK):
        connection.execute(
            sa.update(confirmed)
            .where(confirmed.c.identity.in_(part), confirmed.c.withdrawn_at.is_(None))
            .values(expires_at=expires_at, change=number)
        )


def due(connection: sa.Connection, now: float, *, limit: int, everything: bool) -> list[ConfirmedEntry]:
    """Subjects whose expiry has come, earliest first (`everything`: all of them)."""
    query = sa.select(confirmed).where(confirmed.c.withdrawn_at.is_(None))
    if not everything:
        query = query.where(confirmed.c.expires_at <= now)
    query = query.order_by(confirmed.c.expires_at, confirmed.c.identity).limit(limit)
    return [row_confirmed(row) for row in connection.execute(query).mappings()]


def changed_since(connection: sa.Connection, number: int) -> tuple[list[ConfirmedEntry], list[bytes]]:
    """Subjects put or renewed after change `number`, and identities withdrawn after it."""
    rows = connection.execute(sa.select(confirmed).where(confirmed.c.change > number)).mappings().all()
    return (
        [row_confirmed(row) for row in rows if row["withdrawn_at"] is None],
        [bytes(row["identity"]) for row in rows if row["withdrawn_at"] is not None],
    )


def everything(connection: sa.Connection) -> list[ConfirmedEntry]:
    """The whole set."""
    query = sa.select(confirmed).where(confirmed.c.withdrawn_at.is_(None))
    return [row_confirmed(row) for row in connection.execute(query).mappings()]


def sweep(connection: sa.Connection, now: float) -> int:
    """Delete the rows of subjects withdrawn more than `TOMBSTONE_S` ago."""
    return connection.execute(
        sa.delete(confirmed).where(confirmed.c.withdrawn_at < now - TOMBSTONE_S)
    ).rowcount
