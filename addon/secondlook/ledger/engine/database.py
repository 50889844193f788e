"""Connections to the two engines: SQLite in a file, PostgreSQL over a socket.

SQLite runs in WAL mode. The checkpoint of the WAL belongs to one process (the service): two
processes that checkpoint and write at the same time are the one known way to damage such a file,
so everybody else switches off both the automatic checkpoint and the one at close.
"""

import os
import re
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool, QueuePool

from secondlook.ground.errors import ConfigError, LedgerError

BUSY_S: Final = 5.0  # waiting for another process's transaction
CONNECT_S: Final = 3  # reaching PostgreSQL
ALIVE: Final[Mapping[str, Any]] = MappingProxyType(
    {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 10_000}
)
"""How a connection to PostgreSQL notices that nobody is there any more."""
_HOSTS: Final = re.compile(
    r"(?P<user>[a-z+]+://(?:[^/?]*@)?)(?P<hosts>[^/?@]*,[^/?@]*)(?P<database>/[^?]*)(?P<more>\?.*|)"
)
_FULL: Final = "the disk is full"
_FIRST_WAIT_S: Final = 0.0005
_LONGEST_WAIT_S: Final = 0.005
_CACHE_KIB: Final = 32_768


@dataclass(frozen=True, slots=True)
class Place:
    """Where a ledger is: a SQLite file (`path`), or a PostgreSQL database."""

    url: URL
    path: Path | None

    @property
    def sqlite(self) -> bool:
        """Whether this is a SQLite file."""
        return self.path is not None

    def __str__(self) -> str:
        if self.path is not None:
            return str(self.path)
        return self.url.set(drivername="postgresql").render_as_string(hide_password=True)


def find_place(location: str | Path) -> Place:
    """Read a path, `sqlite:///PATH` or `postgresql://…`; raises ConfigError for anything else.

    PostgreSQL may have several hosts, as its own programs write them: `…@one:5432,two:5432/…`.
    """
    if isinstance(location, Path) or "://" not in location:
        path = Path(location)
        return Place(URL.create("sqlite+pysqlite", database=str(path)), path)
    try:
        url = make_url(_HOSTS.sub(_hosts_as_parameters, location))
    except (sa.exc.ArgumentError, ValueError) as error:
        shown = re.sub("(?<=://).*@", "***@", location)
        raise ConfigError(f"ledger: cannot read the address {shown!r}") from error
    match url.drivername:
        case "sqlite" if url.database:
            return Place(url.set(drivername="sqlite+pysqlite"), Path(url.database))
        case "postgresql" | "postgres" | "postgresql+psycopg":
            return Place(url.set(drivername="postgresql+psycopg"), None)
        case _:
            raise ConfigError(
                f"ledger: {url.drivername!r} is not a known engine; use sqlite:///PATH or postgresql://…"
            )


def _hosts_as_parameters(found: re.Match[str]) -> str:
    """Write several hosts as SQLAlchemy and the driver alike read them: `?host=one,two&port=5432,5433`."""
    hosts = [re.fullmatch(r"(\[.*\]|[^:]*)(?::(\d*))?", each) for each in found["hosts"].split(",")]
    if None in hosts:
        raise ValueError(found["hosts"])
    names, ports = zip(*((each[1].strip("[]"), each[2] or "") for each in hosts if each), strict=True)
    several = f"{'&' if found['more'] else '?'}host={','.join(names)}&port={','.join(ports)}"
    return found["user"] + found["database"] + found["more"] + several


def make_engine(
    place: Place, *, readers: int | None = None, checkpoint: bool = False, max_pages: int | None = None
) -> sa.Engine:
    """Open an engine: for one writer (`readers` None) or a pool of that many read-only connections.

    `checkpoint` keeps SQLite's checkpoint at close; `max_pages` bounds the file's size.
    """
    pool: dict[str, Any] = (
        {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0}
        if readers is None
        else {"poolclass": QueuePool, "pool_size": readers, "max_overflow": 8}
    )
    if not place.sqlite:
        return _postgres(place, pool, read_only=readers is not None)
    engine = sa.create_engine(
        place.url,
        connect_args={"check_same_thread": False, "timeout": BUSY_S},
        **pool,
    )

    @sa.event.listens_for(engine, "connect")
    def prepare(raw: sqlite3.Connection, _record: object) -> None:
        raw.isolation_level = None
        if not checkpoint:
            raw.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
        raw.create_function("contains", 2, _contains, deterministic=True)
        raw.execute("PRAGMA wal_autocheckpoint=0")
        raw.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        raw.execute("PRAGMA temp_store=memory")
        raw.execute("PRAGMA secure_delete=on")
        raw.execute("PRAGMA synchronous=full")
        if max_pages is not None:
            raw.execute(f"PRAGMA max_page_count={int(max_pages)}")
        if readers is not None:
            raw.execute("PRAGMA query_only=on")
        else:  # `begin_immediate` waits in its own way; recovery after a crash was waited for above
            raw.execute("PRAGMA busy_timeout=0")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        if readers is not None:
            connection.exec_driver_sql("BEGIN")
        else:
            begin_immediate(connection)

    return engine


def begin_immediate(connection: sa.Connection) -> None:
    """Take SQLite's write lock, waiting with short sleeps.

    SQLite's own waiting sleeps up to 100 ms at a time: far more than another process's commit takes.
    """
    give_up_at = time.monotonic() + BUSY_S
    wait_s = _FIRST_WAIT_S
    while True:
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except sa.exc.OperationalError as error:
            busy = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in (
                sqlite3.SQLITE_BUSY,
                sqlite3.SQLITE_LOCKED,
            )
            if not busy or time.monotonic() > give_up_at:
                raise
            time.sleep(wait_s)
            wait_s = min(wait_s * 1.5, _LONGEST_WAIT_S)
        else:
            return


def _postgres(place: Place, pool: dict[str, Any], *, read_only: bool) -> sa.Engine:
    options = "-c timezone=UTC -c lock_timeout=5s -c idle_in_transaction_session_timeout=60s"
    wanted: dict[str, str] = {}
    if read_only:
        options += " -c default_transaction_read_only=on"
        if place.url.query.get("target_session_attrs") == "read-write":
            wanted = {"target_session_attrs": "primary"}  # no session is writable that was opened to read
    engine = sa.create_engine(
        place.url,
        connect_args={
            "connect_timeout": CONNECT_S,
            "options": options,
            "application_name": "secondlook",
            **ALIVE,
            **wanted,
        },
        pool_pre_ping=True,  # after a restart of the database nothing fails over a connection that ended
        **pool,
    )

    @sa.event.listens_for(engine, "do_connect")
    def connect(_dialect: object, _record: object, args: Sequence[Any], named: dict[str, Any]) -> object:
        from secondlook.ledger.engine.patience import PatientConnection  # noqa: PLC0415  (see there)

        return PatientConnection.connect(*args, **named)

    return engine


def create_file(path: Path) -> None:
    """Make an empty SQLite ledger with the properties that only a new file can take (mode 0600)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    raw = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    try:
        raw.execute("PRAGMA auto_vacuum=incremental")
        raw.execute("PRAGMA journal_mode=wal")
    finally:
        raw.close()


def bare_engine(place: Place) -> sa.Engine:
    """Open an engine without a pool, for migrations and repairs."""
    if not place.sqlite:
        return _postgres(place, {"poolclass": NullPool}, read_only=False)
    return make_engine(place)


def _contains(text: str | None, part: str) -> bool:
    """Search without regard to case beyond ASCII, which SQLite's LIKE cannot."""
    return text is not None and part in text.casefold()


def is_damage(error: BaseException) -> bool:
    """Return whether SQLite found that the file itself is damaged or no database."""
    orig = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    code = getattr(orig, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _is_full(folder: Path) -> bool:
    try:
        return os.statvfs(folder).f_bavail == 0
    except OSError:
        return False


def explain(error: BaseException, place: Place) -> LedgerError:
    """Put a driver's error into one plain sentence."""
    if isinstance(error, LedgerError):
        return error
    orig = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    text = " ".join(str(orig).split()) or type(orig).__name__
    match getattr(orig, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_FULL:
            text = _FULL
        case sqlite3.SQLITE_IOERR if place.path is not None and _is_full(place.path.parent):
            text = _FULL  # so it is shown where the file that readers share finds no room
        case sqlite3.SQLITE_BUSY:
            text = f"another process kept it locked for {BUSY_S:g} s"
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            text = f"the file is damaged ({text})"
        case _:
            pass
    return LedgerError(f"ledger {place}: {text}")
