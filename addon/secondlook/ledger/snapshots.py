"""Snapshots of what every process keeps in memory: rules, pauses, the confirmed set.

Each topic has a counter that every change raises in its own transaction. On SQLite `PRAGMA data_version`
shows in 2 µs whether any other connection committed at all; only then are the counters read, and only
the topics that moved are read again. On PostgreSQL a thread listens for `NOTIFY secondlook` and
the counters are read then, and every few seconds in any case. While PostgreSQL is away, what was read
stays; a process that has read nothing yet begins with what was last known here (`ledger.last_known`).
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Final

import sqlalchemy as sa

from secondlook.core.event import ConfirmedEntry
from secondlook.core.rules.rule import Pause, Rule
from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine.database import CONNECT_S, Place, explain
from secondlook.ledger.engine.tables import changes
from secondlook.ledger.last_known import LastKnown
from secondlook.ledger.operator import rule_table
from secondlook.ledger.queue import confirmed

_BLIND_S: Final = 5.0  # how long PostgreSQL is trusted to notify before the counters are read anyway
_RECONNECT_S: Final = 0.5
_LISTEN_S: Final = 0.25  # how long closing may have to wait
_AWAY_S: Final = 0.5  # a database that is away is not asked more often
_RELOAD_S: Final = 3_600.0  # the confirmed set is read whole after this long without a look

type Listener = Callable[[str], None]


class Watch:
    """What changed, and the present snapshots; every method may be called from any thread.

    `known` is where this ledger's last snapshots are, if anywhere; `keep` whether this process keeps them;
    `away` why the database could not be reached a moment ago. Methods that give something raise LedgerError.
    """

    def __init__(
        self,
        readers: sa.Engine,
        place: Place,
        known: LastKnown | None = None,
        *,
        keep: bool = False,
        away: LedgerError | None = None,
    ) -> None:
        self._engine = readers
        self._place = place
        self._known = known
        self._keep = known if keep else None
        self.from_known = False  # whether the snapshots are the last known ones, as nothing was read yet
        # when it was last tried in vain (monotonic), and why
        self._away = None if away is None else (time.monotonic(), str(away))
        self._lock = threading.Lock()
        self._counters: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        self._data_version: int | None = None
        self._probe: sqlite3.Connection | None = None
        self._stale = True
        self._looked_at = 0.0
        self._confirmed_at = 0.0
        self._rules: tuple[Rule, ...] = ()
        self._pauses: tuple[Pause, ...] = ()
        self._confirmed: dict[bytes, ConfirmedEntry] = {}
        self._confirmed_tuple: tuple[ConfirmedEntry, ...] | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._listening = False

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
            self._keep_owed()
            return -1 if self.from_known else sum(self._counters.values())

    def counters(self) -> dict[str, int]:
        """Return the change counter of each topic."""
        with self._lock:
            self._look()
            return dict(self._counters)

    def rules(self) -> tuple[Rule, ...]:
        """Return all rules, expired ones included."""
        with self._lock:
            if self._moved("rules"):
                number = self._counters["rules"]
                self._rules = self._read(rule_table.read_rules)
                self._seen["rules"] = number
                self._keep_topic("rules")
            return self._rules

    def pauses(self) -> tuple[Pause, ...]:
        """Return the pauses in force or past."""
        with self._lock:
            if self._moved("pauses"):
                number = self._counters["pauses"]
                self._pauses = self._read(rule_table.read_pauses)
                self._seen["pauses"] = number
                self._keep_topic("pauses")
            return self._pauses

    def confirmed(self) -> tuple[ConfirmedEntry, ...]:
        """Return the whole confirmed set; only what changed is read."""
        with self._lock:
            if self._moved("confirmed"):
                self._read_confirmed()
                self._confirmed_tuple = None
            if self._confirmed_tuple is None:
                self._confirmed_tuple = tuple(self._confirmed.values())
            return self._confirmed_tuple

    def _read_confirmed(self) -> None:
        now = time.monotonic()
        # The counter was read before the rows: a change in between is read twice, never missed.
        number = self._counters["confirmed"]
        seen = self._seen.get("confirmed")
        changed: set[bytes] | None = None
        if seen is None or now - self._confirmed_at > _RELOAD_S or number < seen:
            self._confirmed = {entry.identity: entry for entry in self._read(confirmed.everything)}
        else:
            renewed, withdrawn = self._read(partial(confirmed.changed_since, number=seen))
            for identity in withdrawn:
                self._confirmed.pop(identity, None)
            self._confirmed.update((entry.identity, entry) for entry in renewed)
            changed = {*withdrawn, *(entry.identity for entry in renewed)}
        self._confirmed_at = now
        self._seen["confirmed"] = number
        self._keep_topic("confirmed", changed)

    def _keep_owed(self) -> None:
        """Write what could not be kept when it was read."""
        if self._keep is not None:
            for topic in self._keep.owed():
                if topic in self._seen:
                    self._keep_topic(topic)

    def _keep_topic(self, topic: str, changed: Iterable[bytes] | None = None) -> None:
        if self._keep is None:
            return
        match topic:
            case "rules":
                self._keep.keep_rules(self._rules)
            case "pauses":
                self._keep.keep_pauses(self._pauses)
            case _:
                self._keep.keep_confirmed(self._confirmed, changed)

    def _moved(self, topic: str) -> bool:
        self._look()
        return self._seen.get(topic) != self._counters.get(topic)

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
        self._stale = False
        try:
            counters = self._read_counters()
        except LedgerError:
            self._stale = True
            if not self.from_known and not self._begin_with_known():
                raise
            return
        except BaseException:
            self._stale = True
            raise
        self._counters = counters
        self.from_known = False
        self._data_version = version
        self._looked_at = time.monotonic()

    def _read_counters(self) -> dict[str, int]:
        """Read the counters; a database that was away a moment ago is not asked again yet."""
        if self._away is not None and time.monotonic() - self._away[0] < _AWAY_S:
            raise LedgerError(self._away[1])
        try:
            rows = self._read(lambda connection: connection.execute(sa.select(changes)).all())
        except LedgerError as error:
            if not self._place.sqlite:
                self._away = time.monotonic(), str(error)
            raise
        self._away = None
        return {topic: counter for topic, counter in rows}  # noqa: C416  (rows, not pairs)

    def _begin_with_known(self) -> bool:
        """Take up what was last known, where nothing was read yet; False where that changes nothing."""
        known = self._known.read() if self._known is not None and not self._counters else None
        if known is None:
            return False
        self._rules, self._pauses = known.rules, known.pauses
        self._confirmed = {entry.identity: entry for entry in known.confirmed}
        self._confirmed_tuple = None
        self.from_known = True
        return True

    def _read[T](self, work: Callable[[sa.Connection], T]) -> T:
        try:
            with self._engine.connect() as connection:
                return work(connection)
        except sa.exc.DBAPIError as error:
            raise explain(error, self._place) from error

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
            if self._probe is not None:
                self._probe.close()
                self._probe = None
            self._seen.clear()
            self._stale = True

    def close(self) -> None:
        """Stop listening and close."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(CONNECT_S + 1.5)
        with self._lock:
            if self._probe is not None:
                self._probe.close()
                self._probe = None

    def _listen(self) -> None:
        import psycopg  # noqa: PLC0415  (70 ms that only PostgreSQL costs)

        url = self._place.url.set(drivername="postgresql").render_as_string(hide_password=False)
        while not self._stopping.is_set():
            with (
                suppress(psycopg.Error),
                psycopg.connect(
                    url, autocommit=True, connect_timeout=CONNECT_S, application_name="secondlook listener"
                ) as connection,
            ):
                connection.execute("LISTEN secondlook")
                self._listening = True
                self._stale = True  # whatever happened while nobody listened
                while not self._stopping.is_set():
                    for _ in connection.notifies(timeout=_LISTEN_S, stop_after=1):
                        self._stale = True
            self._listening = False
            self._stopping.wait(_RECONNECT_S)
