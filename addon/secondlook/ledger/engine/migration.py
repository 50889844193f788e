"""Bringing a ledger to the schema of this program (Alembic), once, whoever comes first.

Several processes start at once: the migrations run under a lock (a file lock beside a SQLite
ledger, an advisory lock in PostgreSQL), each in a transaction of its own. A ledger of a newer program is
refused. Alembic is only imported when there is something to do, and a SQLite ledger is asked for its schema
without SQLAlchemy: each of its engines costs milliseconds at its first connection.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from secondlook.ground.errors import LedgerError
from secondlook.ground.lock import locked
from secondlook.ledger.engine.database import BUSY_S, Place, bare_engine, create_file, explain

_SCRIPTS: Final = Path(__file__).parents[1] / "migrations"
_ADVISORY_LOCK: Final = 0x5EC0_4D10_0C_1ED6E2 & 0x7FFF_FFFF_FFFF_FFFF


def known_revisions() -> frozenset[str]:
    """Revisions that this program can start from: the numbers that the files in `versions` begin with."""
    names = (file.name[:4] for file in (_SCRIPTS / "versions").iterdir())
    return frozenset(name for name in names if name.isdecimal())


HEAD: Final = max(known_revisions())
"""The newest revision in `migrations/versions`."""


def migrate(place: Place) -> None:
    """Create or upgrade the schema; raises LedgerError when it is too new or cannot be read."""
    engine = bare_engine(place)
    try:
        if place.path is not None and not (place.path.exists() and place.path.stat().st_size):
            with file_lock(place.path):
                create_file(place.path)
        if _revision(engine, place) == HEAD:
            return
        with _lock(engine, place):
            if _revision(engine, place) != HEAD:
                _upgrade(engine)
    except (sa.exc.DBAPIError, sqlite3.Error, OSError) as error:
        raise explain(error, place) from error
    finally:
        engine.dispose()


def look(place: Place) -> None:
    """Raise LedgerError where `migrate` would; changes nothing."""
    engine = bare_engine(place)
    try:
        _revision(engine, place)
    except (sa.exc.DBAPIError, sqlite3.Error, OSError) as error:
        raise explain(error, place) from error
    finally:
        engine.dispose()


def _revision(engine: sa.Engine, place: Place) -> str | None:
    """Read the ledger's revision; None for one without tables."""
    if place.path is not None:
        revision = _sqlite_revision(place.path)
    else:
        with engine.connect() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            revision = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    if revision is not None and revision != HEAD and revision not in known_revisions():
        raise LedgerError(
            f"ledger {place}: written by a newer Second Look (schema {revision}, this program knows {HEAD}); "
            "upgrade the program, or name another ledger"
        )
    return None if revision is None else str(revision)


def _sqlite_revision(path: Path) -> str | None:
    with closing(sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)) as raw:
        raw.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
        if raw.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone() is None:
            return None
        found = raw.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if found is None else str(found[0])


def _upgrade(engine: sa.Engine) -> None:
    from alembic import command  # noqa: PLC0415  (0.3 s that only a new or old ledger costs)
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["engine"] = engine
    command.upgrade(config, "head")


@contextmanager
def _lock(engine: sa.Engine, place: Place) -> Iterator[None]:
    if place.path is not None:
        with file_lock(place.path):
            yield
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("SET lock_timeout = 0"))
        connection.execute(sa.select(sa.func.pg_advisory_lock(_ADVISORY_LOCK)))
        try:
            yield
        finally:
            connection.execute(sa.select(sa.func.pg_advisory_unlock(_ADVISORY_LOCK)))


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold the lock of a SQLite ledger: migrations and setting a damaged one aside."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(Path(f"{path}.lock")):
        yield
