"""Copies of a whole ledger: into one SQLite file while others write, and from one into an empty PostgreSQL.

Out of SQLite goes its online backup, out of PostgreSQL every row as one transaction sees them: both give the
state of one moment, and a file that either engine can take up again.
"""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from secondlook.ground.errors import LedgerError
from secondlook.ground.program_name import typed
from secondlook.ledger.engine.database import BUSY_S, Place, bare_engine, explain, find_place
from secondlook.ledger.engine.migration import migrate
from secondlook.ledger.engine.tables import changes, metadata

_ROWS: Final = 1_000  # copied at a time


def copy_out(place: Place, target: Path) -> None:
    """Copy a ledger into a new SQLite file, as it is at one moment. Raises LedgerError."""
    migrate(place)  # what is copied has the tables that this program knows
    try:
        if place.path is not None:
            _copy_sqlite(place.path, target)
        else:
            to = find_place(target)
            migrate(to)
            _copy_rows(place, to)
        single_file(target)
    except (sa.exc.DBAPIError, sqlite3.Error) as error:
        raise explain(error, place) from error


def put_in(source: Path, place: Place) -> None:
    """Copy a SQLite file into an empty PostgreSQL database, in one transaction. Raises LedgerError."""
    migrate(find_place(source))
    migrate(place)
    try:
        _copy_rows(find_place(source), place)
    except sa.exc.DBAPIError as error:
        raise explain(error, place) from error


def is_empty(place: Place) -> bool:
    """Return whether a database holds nothing yet: no tables of ours, or no rows. Raises LedgerError."""
    engine = bare_engine(place)
    try:
        with engine.connect() as connection:
            present = set(sa.inspect(connection).get_table_names())
            return not any(
                table.name in present and connection.execute(sa.select(table).limit(1)).first() is not None
                for table in metadata.sorted_tables
                if table is not changes  # a new ledger has its counters already
            )
    except sa.exc.DBAPIError as error:
        raise explain(error, place) from error
    finally:
        engine.dispose()


def holds_same(source: Path, place: Place) -> bool:
    """Return whether a database holds the rows of a SQLite file and no others. Raises LedgerError."""
    try:
        with _connected(find_place(source)) as one, _connected(place) as other:
            return all(
                _sum_of_rows(table, one) == _sum_of_rows(table, other)
                for table in metadata.sorted_tables
                if table is not changes
            )
    except sa.exc.DBAPIError as error:
        raise explain(error, place) from error


def _sum_of_rows(table: sa.Table, connection: sa.Connection) -> int:
    """Return a sum over the digests of all rows: the same in every order, as engines differ in theirs."""
    rows = connection.execution_options(yield_per=_ROWS).execute(sa.select(table))
    return sum(int.from_bytes(hashlib.sha256(repr(tuple(row)).encode()).digest()) for row in rows)


def _copy_sqlite(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=rw", uri=True, timeout=BUSY_S)) as old:
        old.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
        with closing(sqlite3.connect(target)) as new:
            old.backup(new)  # in one step: it sees one moment, and holds up nobody who writes


def _copy_rows(source: Place, target: Place) -> None:
    with _connected(source) as old:
        engine = bare_engine(target)
        try:
            with engine.begin() as new:
                new.execute(sa.delete(changes))
                for table in metadata.sorted_tables:
                    _copy_table(table, old, new)
                if not target.sqlite:
                    _go_on_counting(new)
        finally:
            engine.dispose()


def _copy_table(table: sa.Table, old: sa.Connection, new: sa.Connection) -> None:
    rows = old.execution_options(yield_per=_ROWS).execute(sa.select(table))
    for part in rows.mappings().partitions(_ROWS):
        new.execute(sa.insert(table), [dict(row) for row in part])


def _go_on_counting(new: sa.Connection) -> None:
    """Have PostgreSQL number the next event after those that came with their numbers."""
    new.execute(
        sa.text(
            "SELECT setval(pg_get_serial_sequence('events', 'seq'), max(seq)) FROM events HAVING max(seq) > 0"
        )
    )


@contextmanager
def _connected(place: Place) -> Iterator[sa.Connection]:
    """Connect to read, all of one moment."""
    engine = bare_engine(place)
    try:
        with engine.connect() as connection:
            if not place.sqlite:
                connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection
    finally:
        engine.dispose()


def single_file(path: Path) -> None:
    """Bring everything into the file itself and see that it is whole. Raises LedgerError."""
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("PRAGMA wal_checkpoint(truncate)")
        found = [str(row[0]) for row in raw.execute("PRAGMA quick_check(1)")]
    if found != ["ok"]:
        raise LedgerError(f"the ledger is damaged ({found[0]}); `{typed('run')}` sets it aside and mends it")
