"""Change numbers: what processes keep in memory is read again when the number of its topic has moved.

Each topic has a counter that every change raises in its own transaction. On SQLite `PRAGMA data_version`
shows in 2 µs whether any other connection committed at all; only then are the counters read. On PostgreSQL a
thread listens for `NOTIFY secondlook`; the counters are read then, and about every second in any case: a
listener whose connection was dropped in silence, or taken by a pooler, hears nothing and cannot know it.

A database that comes back may be another one, as a standby that had not got the last changes: its next ones
have the numbers of those. So all is read anew after a connection was lost.
"""

import logging
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import sqlalchemy as sa

from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine.database import ALIVE, CONNECT_S, Place, explain
from secondlook.ledger.engine.tables import changes

if TYPE_CHECKING:
    import psycopg

logger = logging.getLogger(__name__)

_BLIND_S: Final = 0.75  # how long PostgreSQL is trusted to notify before the counters are read anyway
_RECONNECT_S: Final = 0.5
_LISTEN_S: Final = 0.25  # how long closing may have to wait
_AWAY_S: Final = 0.5  # a database that is away is not asked more often
_NUMBER_BITS: Final = 48  # of a version that are change numbers


def bump(connection: sa.Connection, topic: str) -> int:
    """Take the next change number of a topic."""
    number: int = connection.execute(
        sa.update(changes)
        .where(changes.c.topic == topic)
        .values(counter=changes.c.counter + 1)
        .returning(changes.c.counter)
    ).scalar_one()
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_notify("secondlook", topic)))
    return number


class Mark(NamedTuple):
    """How far a topic has come: its file (one that may have been replaced counts anew), its change number."""

    file: int
    number: int


class Changes:
    """The change numbers of an open ledger; every method may be called from any thread.

    `away` is why the database could not be reached a moment ago. What gives a number raises LedgerError.
    """

    def __init__(self, readers: sa.Engine, place: Place, *, away: LedgerError | None = None) -> None:
        self._engine = readers
        self._place = place
        # when it was last tried in vain (monotonic), and why
        self._away = None if away is None else (time.monotonic(), str(away))
        self._lock = threading.Lock()
        self._counters: dict[str, int] = {}
        self._file = 0
        self._data_version: int | None = None
        self._probe: sqlite3.Connection | None = None
        self._stale = True
        self._lost = False  # whether the database was out of reach since the counters were read
        self._looked_at = 0.0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._listening = False
        self._has_listened = False

    def listen(self) -> None:
        """Start to listen for PostgreSQL's notifications; nothing to do on SQLite."""
        if not self._place.sqlite and self._thread is None:
            self._thread = threading.Thread(target=self._listen, name="ledger-listen", daemon=True)
            self._thread.start()

    def stale(self) -> None:
        """Note that this process itself committed a change."""
        self._stale = True

    def version(self) -> int:
        """Return a number that differs whenever a topic changed; costs microseconds while none does."""
        with self._lock:
            self._look()
            return self._file << _NUMBER_BITS | sum(self._counters.values())

    def mark(self, topic: str) -> Mark:
        """Return how far a topic has come."""
        with self._lock:
            self._look()
            return Mark(self._file, self._counters.get(topic, 0))

    def _look(self) -> None:
        """Read the counters when something may have changed them."""
        if self._place.sqlite:
            version = self._sqlite_version()
            if version == self._data_version and not self._stale:
                return
        else:
            version = None
            age_s = time.monotonic() - self._looked_at
            deaf = not self._listening
            if not self._stale and age_s < _BLIND_S and not deaf:
                return
        self._stale, lost, self._lost = False, self._lost, False
        try:
            self._counters = self._read_counters()
        except BaseException:
            self._stale = self._lost = True
            raise
        self._file += lost
        self._data_version = version
        self._looked_at = time.monotonic()

    def _read_counters(self) -> dict[str, int]:
        """Read the counters; a database that was away a moment ago is not asked again yet."""
        if self._away is not None and time.monotonic() - self._away[0] < _AWAY_S:
            raise LedgerError(self._away[1])
        try:
            with self._engine.connect() as connection:
                rows = connection.execute(sa.select(changes)).all()
        except sa.exc.DBAPIError as error:
            reason = explain(error, self._place)
            if not self._place.sqlite:
                self._away = time.monotonic(), str(reason)
            raise reason from error
        self._away = None
        return {topic: counter for topic, counter in rows}  # noqa: C416  (rows, not pairs)

    def _sqlite_version(self) -> int:
        if self._probe is None:
            assert self._place.path is not None
            self._probe = sqlite3.connect(
                f"{self._place.path.resolve().as_uri()}?mode=ro",
                uri=True,
                check_same_thread=False,
                isolation_level=None,
            )
        return int(self._probe.execute("PRAGMA data_version").fetchone()[0])

    def reopen(self) -> None:
        """Forget connections and what was read: the file was replaced."""
        with self._lock:
            self._close_probe()
            self._file += 1
            self._stale = True

    def close(self) -> None:
        """Stop listening and close."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(CONNECT_S + 1.5)
        with self._lock:
            self._close_probe()

    def _close_probe(self) -> None:
        if self._probe is not None:
            self._probe.close()
            self._probe = None

    def _listen(self) -> None:
        import psycopg  # noqa: PLC0415  (70 ms that only PostgreSQL costs)

        from secondlook.ledger.engine.patience import PatientConnection  # noqa: PLC0415  (as well)

        url = self._place.url.set(drivername="postgresql").render_as_string(hide_password=False)
        while not self._stopping.is_set():
            try:
                with PatientConnection.connect(
                    url,
                    autocommit=True,
                    connect_timeout=CONNECT_S,
                    application_name="secondlook listener",
                    **ALIVE,
                ) as connection:
                    self._listen_on(connection)
            except psycopg.Error:
                pass  # those who read find out, and report it
            except Exception:
                logger.exception("listening for changes failed inside; it begins again")
            finally:
                self._listening = False
            self._stopping.wait(_RECONNECT_S)

    def _listen_on(self, connection: "psycopg.Connection") -> None:
        """Take note of notifications until `close`. Raises psycopg.Error when the connection breaks."""
        connection.execute("LISTEN secondlook")
        self._listening = True
        with self._lock:
            self._lost = self._lost or self._has_listened
            self._stale = True  # whatever happened while nobody listened
        self._has_listened = True
        while not self._stopping.is_set():
            for _ in connection.notifies(timeout=_LISTEN_S, stop_after=1):
                self._stale = True
