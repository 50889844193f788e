"""Why a transaction failed: through the engine, another proxy, or what one job wanted to write.

Of the engine's trouble (disk, lock, connection, damage) everything is kept and tried again; what collided is
run again at once; anything else is the fault of a job or an event, which alone fails.
"""

import sqlite3
from typing import Final

import sqlalchemy as sa

from secondlook.ground.errors import LedgerError

# classes of PostgreSQL's errors that say nothing about how the engine is (PostgreSQL manual, appendix A)
_ROLLED_BACK: Final = "40"  # a deadlock, or what could not be put in order
_TOO_MUCH: Final = "54"  # a value that an index cannot hold, for instance


class FileReplacedError(OSError):
    """What was just committed went into a file that has another name by now: it must be written again."""


class StillAwayError(LedgerError):
    """The engine could not be reached since the ledger was opened."""


def is_collision(error: BaseException) -> bool:
    """Return whether another proxy's transaction was let go first."""
    return _sqlstate(error)[:2] == _ROLLED_BACK


def _sqlstate(error: BaseException) -> str:
    """Return PostgreSQL's code of an error; empty where it is another's."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) or ""


def is_engine_trouble(error: BaseException) -> bool:
    """Return whether the engine is in trouble (disk, lock, connection, damage), not one job mistaken."""
    if isinstance(error, sqlite3.Error):  # of statements that go past SQLAlchemy
        return not isinstance(error, sqlite3.IntegrityError | sqlite3.DataError | sqlite3.ProgrammingError)
    if _sqlstate(error)[:2] == _TOO_MUCH:
        return False
    return isinstance(
        error,
        StillAwayError | sa.exc.OperationalError | sa.exc.InterfaceError | sa.exc.InternalError | OSError,
    ) or (
        isinstance(error, sa.exc.DatabaseError)
        and not isinstance(error, sa.exc.IntegrityError | sa.exc.DataError | sa.exc.ProgrammingError)
    )
