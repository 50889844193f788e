"""The live tail of the event log: what was written after a cursor, in the order of writing.

In SQLite one writer at a time numbers the events, so a cursor is a `seq`; one that lies ahead of all that
were given is of another log, and this one is read from its beginning. In PostgreSQL a transaction with a
smaller number may be seen later than one with a larger: there a cursor is a transaction and a `seq` in it,
and only what no transaction still under way can precede is given. A cursor whose transaction is still to come
was given by a database whose place this one took (a standby, a backup): it goes on with the last transactions
of this one. Events that such a database brought from transactions still to come would be given as new some
day: `settle_restored` makes them the first ones.
"""

import re
from typing import Final

import sqlalchemy as sa

from secondlook.core.event import Event
from secondlook.ground.errors import LedgerError
from secondlook.ground.ulid import id_time
from secondlook.ledger.engine.codec import row_event
from secondlook.ledger.engine.tables import events, marks
from secondlook.ledger.log.counting import HOUR_S
from secondlook.ledger.log.filter import EventFilter, conditions_of

_NEXT_TX: Final = "pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
_PLACE: Final = re.compile(r"t([0-9]{1,20})\.([0-9]{1,18})")  # a transaction, and a `seq` in it
_GIVEN_AGAIN: Final = 1_000  # transactions, where a database took another's place


class LogTail:
    """Follows the log with connections of an engine; every method may be called from any thread."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._sqlite = engine.dialect.name == "sqlite"

    def end(self) -> str:
        """The cursor of a tail that begins now."""
        with self._engine.connect() as connection:
            if self._sqlite:
                return f"s{connection.execute(sa.select(sa.func.max(events.c.seq))).scalar() or 0}"
            tx = connection.execute(sa.text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")).scalar()
            return f"t{tx}.0"

    def not_after(self, connection: sa.Connection, cursor: str) -> sa.ColumnElement[bool]:
        """Return the condition of every event that `after` does not give for a cursor."""
        if self._sqlite:
            return events.c.seq <= position(connection, cursor)
        tx, seq = self._place(connection, cursor)
        return sa.text("(events.tx, events.seq) <= (:tx, :seq)").bindparams(tx=tx, seq=seq)  # type: ignore[return-value]

    def after(self, wanted: EventFilter, cursor: str, limit: int) -> tuple[list[Event], str]:
        """Events written after the cursor, in the order of writing, and the next cursor."""
        with self._engine.connect() as connection:
            conditions = conditions_of(wanted, sqlite=self._sqlite)
            if self._sqlite:
                return self._by_number(connection, conditions, cursor, limit)
            return self._by_transaction(connection, conditions, cursor, limit)

    def _by_number(
        self, connection: sa.Connection, conditions: list[sa.ColumnElement[bool]], cursor: str, limit: int
    ) -> tuple[list[Event], str]:
        at = position(connection, cursor)
        if at > _last_given(connection):
            at = 0  # another log has begun: a damaged ledger was set aside, or an older one restored
        top = connection.execute(sa.select(sa.func.max(events.c.seq))).scalar() or 0
        query = sa.select(events).where(events.c.seq > at, events.c.seq <= top, *conditions)
        rows = connection.execute(query.order_by(events.c.seq).limit(limit)).mappings().all()
        end = rows[-1]["seq"] if len(rows) == limit else max(at, top)
        return [row_event(row) for row in rows], f"s{end}"

    def _by_transaction(
        self, connection: sa.Connection, conditions: list[sa.ColumnElement[bool]], cursor: str, limit: int
    ) -> tuple[list[Event], str]:
        tx, seq = self._place(connection, cursor)
        place = sa.text(
            "(events.tx, events.seq) > (:tx, :seq) "
            "AND events.tx < pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
        ).bindparams(tx=tx, seq=seq)
        number: sa.Label[int] = sa.literal_column("events.tx", sa.BigInteger).label("tx")
        query = sa.select(events, number).where(place, *conditions).order_by(number, events.c.seq)
        horizon = connection.execute(
            sa.text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")
        ).scalar_one()
        rows = connection.execute(query.limit(limit)).mappings().all()
        if len(rows) == limit:
            return [row_event(row) for row in rows], f"t{rows[-1]['tx']}.{rows[-1]['seq']}"
        if int(horizon) > tx:
            tx, seq = int(horizon), 0
        if rows and (rows[-1]["tx"], rows[-1]["seq"]) > (tx, seq):
            tx, seq = rows[-1]["tx"], rows[-1]["seq"]
        return [row_event(row) for row in rows], f"t{tx}.{seq}"

    def _place(self, connection: sa.Connection, cursor: str) -> tuple[int, int]:
        if place := _PLACE.fullmatch(cursor):
            tx, seq = map(int, place.groups())
            following = connection.execute(sa.text(f"SELECT {_NEXT_TX}")).scalar_one()
            return (tx, seq) if tx <= following else (following - _GIVEN_AGAIN, 0)
        row = connection.execute(
            sa.text("SELECT tx, seq FROM events WHERE seq <= :seq ORDER BY seq DESC LIMIT 1").bindparams(
                seq=position(connection, cursor)
            )
        ).one_or_none()
        return (0, 0) if row is None else (row.tx, row.seq)


def settle_restored(connection: sa.Connection, most: int) -> int:
    """Make events of PostgreSQL the first ones whose transactions are still to come; return how many.

    At most `most` at a time. They were restored from a database that had come further.
    """
    to_come = f"greatest({_NEXT_TX}, pg_current_xact_id()::text::bigint + 1)"
    found = f"SELECT seq FROM events WHERE tx >= {to_come} ORDER BY tx LIMIT :most"  # noqa: S608
    return connection.execute(
        sa.text(f"UPDATE events SET tx = 0 WHERE seq IN ({found})").bindparams(most=most)  # noqa: S608
    ).rowcount


def _last_given(connection: sa.Connection) -> int:
    """Return the last number that SQLite gave to an event, be it there or gone."""
    query = "SELECT seq FROM sqlite_sequence WHERE name = 'events'"
    return connection.exec_driver_sql(query).scalar() or 0


def position(connection: sa.Connection, after: str, *, newest_first: bool = False) -> int:
    """Find the `seq` that a cursor or an event id stands for.

    Of an erased event only its hour is known: what else was written in that hour comes after it either way.
    """
    if after.startswith("s") and after[1:].lstrip("-").isdigit():
        return int(after[1:])
    if _PLACE.fullmatch(after):
        return 0  # of a log in PostgreSQL: another, so this one is read from its beginning
    seq = connection.execute(sa.select(events.c.seq).where(events.c.id == after)).scalar()
    if seq is not None:
        return int(seq)
    at = id_time(after)
    if at is None:
        raise LedgerError(f"log: {after!r} is neither an event id nor a cursor")
    hour = at // HOUR_S
    before = marks.c.hour <= hour if newest_first else marks.c.hour < hour
    last = connection.execute(sa.select(sa.func.max(marks.c.last_seq)).where(before)).scalar()
    return int(last or 0) + newest_first
