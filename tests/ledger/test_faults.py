"""Why a transaction failed: what is tried again, what collided, and what is the fault of a job alone."""

import sqlite3

import pytest
import sqlalchemy as sa

from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine.faults import (
    FileReplacedError,
    StillAwayError,
    is_collision,
    is_engine_trouble,
)


def of_postgresql(kind: type[sa.exc.DBAPIError], sqlstate: str | None) -> sa.exc.DBAPIError:
    """An error as SQLAlchemy hands on that of psycopg."""
    error = Exception("its words")
    error.sqlstate = sqlstate
    return kind("INSERT …", {}, error)


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.OperationalError("disk I/O error"),
        sqlite3.DatabaseError("database disk image is malformed"),
        of_postgresql(sa.exc.OperationalError, "57P01"),
        of_postgresql(sa.exc.OperationalError, None),
        of_postgresql(sa.exc.InterfaceError, None),
        of_postgresql(sa.exc.InternalError, "XX000"),
        of_postgresql(sa.exc.DatabaseError, None),
        FileReplacedError("another file"),
        StillAwayError("not there yet"),
        OSError("no space"),
    ],
    ids=repr,
)
def test_trouble_of_the_engine_is_no_fault_of_a_job(error):
    assert is_engine_trouble(error)
    assert not is_collision(error)


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.IntegrityError("UNIQUE"),
        sqlite3.DataError("too big"),
        sqlite3.ProgrammingError("type 'list' is not supported"),
        of_postgresql(sa.exc.IntegrityError, "23505"),
        of_postgresql(sa.exc.DataError, "22021"),
        of_postgresql(sa.exc.ProgrammingError, "42P01"),
        of_postgresql(sa.exc.OperationalError, "54000"),
        LedgerError("its own"),
        ValueError("its own"),
    ],
    ids=repr,
)
def test_what_one_job_wanted_is_no_trouble_of_the_engine(error):
    assert not is_engine_trouble(error)
    assert not is_collision(error)


@pytest.mark.parametrize("sqlstate", ["40P01", "40001"])
def test_a_transaction_that_was_let_go_for_another_collided(sqlstate):
    assert is_collision(of_postgresql(sa.exc.OperationalError, sqlstate))
