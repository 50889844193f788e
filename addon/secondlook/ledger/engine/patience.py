"""Connections to PostgreSQL that wait for a slow answer, and not for one that never comes.

A database that hangs (stopped, out of memory, without its disk, behind a balancer that holds the line) keeps
its connections open, and what is sent to it is confirmed by the system: nothing of TCP finds that out. So
whoever has waited for `SILENT_S` looks over another connection whether the database answers at all. If it
does, the statement takes long and is waited for; if not, its connection is given up. psycopg is slow to
import: only PostgreSQL is to cost that.
"""

import time
from collections.abc import Callable
from typing import Any, Final

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import make_conninfo
from psycopg.errors import ConnectionTimeout
from psycopg.waiting import READY_NONE

SILENT_S: Final = 3.0
CONNECT_S: Final = 3  # reaching PostgreSQL


class PatientConnection(psycopg.Connection[Any]):
    """A connection that is given up when its database hangs; that raises psycopg.errors.ConnectionTimeout."""

    def wait[T](self, gen: PQGen[T], *args: Any, **named: Any) -> T:
        """Wait for the steps of an operation."""
        try:
            return super().wait(_watched(gen, SILENT_S, self._is_answered), *args, **named)
        except ConnectionTimeout:
            self.pgconn.finish()  # what is rolled back or closed then waits no more
            raise

    def _is_answered(self) -> bool:
        """Return whether this connection's own server, of several the one that it is, answers another one."""
        there = self.info
        where = make_conninfo(
            there.dsn,
            host=there.host,
            hostaddr=there.hostaddr or None,
            port=there.port,
            password=there.password or None,
            connect_timeout=CONNECT_S,
            target_session_attrs="any",
        )
        try:
            with _Look.connect(where, autocommit=True) as look:
                look.execute("SELECT 1")
        except ConnectionTimeout:
            return False
        except psycopg.Error:
            return True  # it refuses: there are too many connections, for one
        return True


class _Look(psycopg.Connection[Any]):
    def wait[T](self, gen: PQGen[T], *args: Any, **named: Any) -> T:
        return super().wait(_watched(gen, CONNECT_S, lambda: False), *args, **named)


def _watched[T](steps: PQGen[T], silent_s: float, is_answered: Callable[[], bool]) -> PQGen[T]:
    """Take the steps of an operation; raise ConnectionTimeout when it is silent and nobody answers."""
    look_at = time.monotonic() + silent_s
    try:
        wanted = next(steps)
        while True:
            ready = yield wanted
            if ready == READY_NONE and time.monotonic() > look_at:
                if not is_answered():
                    raise ConnectionTimeout("the database does not answer any more")
                look_at = time.monotonic() + silent_s
            wanted = steps.send(ready)
    except StopIteration as end:
        result: T = end.value
        return result
