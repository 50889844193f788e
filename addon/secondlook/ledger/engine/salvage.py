"""A SQLite ledger that is damaged: kept under another name, with all that can still be read carried over.

Never wiped: rows of the tables that matter (queue, confirmed set, rules, pauses, quarantine, history) are
copied into a new ledger as far as they can be read, also out of one of an older schema; `ledger.sqlite3`
becomes `ledger.sqlite3.damaged-<time>` (with its WAL), and then the new one takes its place. The flags
journal is a file of its own and is replayed as always. The event log stays in the damaged file.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from secondlook.ground.errors import LedgerError
from secondlook.ground.program_name import typed
from secondlook.ledger.engine.database import Place, explain, find_place, is_damage
from secondlook.ledger.engine.migration import file_lock, migrate
from secondlook.ledger.engine.tables import metadata

SALVAGED: Final = (
    "flagged", "flagged_clients", "confirmed", "rules", "pauses", "quarantine", "history",
)  # fmt: skip
_SIDE_FILES: Final = ("-wal", "-shm")


def open_or_repair(place: Place, *, repair: bool, now: float) -> str | None:
    """Bring the ledger to its schema; a damaged file is set aside when `repair` allows it.

    Gives a sentence about what was done, else None. Raises LedgerError.
    """
    if place.path is None:
        migrate(place)
        return None
    try:
        migrate(place)
        if not damaged(place.path):
            return None
        reason = "its pages do not fit together"
    except LedgerError as error:
        if error.__cause__ is None or not is_damage(error.__cause__):
            raise
        reason = str(getattr(error.__cause__, "orig", error.__cause__))
    if not repair:
        raise LedgerError(
            f"ledger {place}: the file is damaged ({reason}); `{typed('run')}` sets it aside and starts a "
            "new one with what can still be read; nothing flagged is lost that flags.journal holds"
        )
    return _replace(place, place.path, now)


def damaged(path: Path) -> bool:
    """Look for damage where it is cheap to see: the header, the schema, the ends of each table."""
    try:
        raw = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5.0)
    except sqlite3.OperationalError:
        return False  # unreadable is another trouble, reported elsewhere
    try:
        for table in metadata.sorted_tables:
            name = table.name
            if name == "changes":
                raw.execute(f"SELECT * FROM {name}").fetchall()  # noqa: S608
                continue
            raw.execute(f"SELECT * FROM {name} LIMIT 1").fetchall()  # noqa: S608
        raw.execute("SELECT * FROM events ORDER BY seq DESC LIMIT 1").fetchall()
        raw.execute("SELECT identity, count FROM flagged ORDER BY first_seen LIMIT 1000").fetchall()
    except sqlite3.DatabaseError as error:
        return is_damage(error)
    finally:
        raw.close()
    return False


def check(path: Path) -> list[str]:
    """Look at every page (seconds for a big file); return SQLite's complaints, none when all is well."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5.0)) as raw:
        try:
            found = [str(row[0]) for row in raw.execute("PRAGMA quick_check(20)")]
        except sqlite3.DatabaseError as error:
            found = [str(error)]
    return [] if found == ["ok"] else found


def _replace(place: Place, path: Path, now: float) -> str:
    """Make a new ledger of what can be read, and have it take the place of the damaged file, kept aside.

    Until it is whole nothing is changed: where the disk has no room for it, or the process is killed, the
    next start finds what this one found. What other processes wrote meanwhile is carried over at the end;
    from then on they see that the file is another.
    """
    with file_lock(path):
        if not path.exists() or (path.stat().st_size and not _still_damaged(path)):
            return "the damaged ledger was set aside by another process"
        fresh = path.with_name(f"{path.name}.new")
        _remove(fresh)
        try:
            migrate(find_place(fresh))
            counts = _salvage(path, fresh)
            target = _set_aside(path, now)
            fresh.replace(path)
            for name, count in _salvage(target, path).items():
                counts[name] += count
        except (OSError, sqlite3.Error) as error:
            raise explain(error, place) from error
        finally:
            _remove(fresh)
    carried = ", ".join(f"{count} of {name}" for name, count in counts.items() if count) or "nothing"
    return f"the ledger was damaged: set aside as {target.name}, a new one begun; carried over: {carried}"


def _remove(path: Path) -> None:
    for suffix in ("", *_SIDE_FILES, ".lock"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _set_aside(path: Path, now: float) -> Path:
    """Give a file another name; it keeps its own too, for another to take, but nothing that is beside it."""
    aside = path.with_name(f"{path.name}.damaged-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%S}")
    number, target = 0, aside
    while target.exists():
        number += 1
        target = aside.with_name(f"{aside.name}-{number}")
    for suffix in _SIDE_FILES:
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.rename(target.with_name(target.name + suffix))
    try:
        target.hardlink_to(path)
    except OSError:  # not every file system can
        path.rename(target)
    return target


def _still_damaged(path: Path) -> bool:
    try:
        raw = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    except sqlite3.OperationalError:
        return True
    with closing(raw):
        try:
            raw.execute("SELECT version_num FROM alembic_version").fetchall()
        except sqlite3.DatabaseError:
            return True
    return damaged(path)


def _salvage(source: Path, target: Path) -> dict[str, int]:
    """Copy rows from the damaged file into the new one, table by table, as far as reading goes."""
    counts: dict[str, int] = {}
    with closing(sqlite3.connect(target, timeout=5.0, isolation_level=None)) as new:
        new.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
        new.execute("PRAGMA wal_autocheckpoint=0")
        with closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as old:
            for name in SALVAGED:
                counts[name] = _copy(old, new, metadata.tables[name])
        new.execute("UPDATE changes SET counter = counter + 1")
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the file alone is moved
    return counts


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, table: sa.Table) -> int:
    there = _columns(old, table.name)
    names = [f'"{column.name}"' for column in table.columns if column.name in there]
    if not names:
        return 0
    insert = f"INSERT OR IGNORE INTO {table.name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608
    count = 0
    for order in ("", " ORDER BY 1 DESC"):  # from the other end past a broken page
        rows = _readable(old, f"SELECT {', '.join(names)} FROM {table.name}{order}")  # noqa: S608
        new.execute("BEGIN IMMEDIATE")
        is_whole = False
        for row in rows:
            if row is None:
                is_whole = True
            else:
                count += new.execute(insert, row).rowcount
        new.execute("COMMIT")
        if is_whole:
            break
    return count


def _readable(old: sqlite3.Connection, query: str) -> Iterator[tuple[Any, ...] | None]:
    """Yield the rows that can be read, and None at the end where those are all."""
    with suppress(sqlite3.DatabaseError):
        yield from old.execute(query)
        yield None


def _columns(old: sqlite3.Connection, table: str) -> set[str]:
    """Return which columns a table has there: an older schema has fewer."""
    try:
        return {row[0] for row in old.execute("SELECT name FROM pragma_table_info(?)", (table,))}
    except sqlite3.DatabaseError:
        return set()
