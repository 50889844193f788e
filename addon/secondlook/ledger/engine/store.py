"""What every part of a ledger is built on: its place, its readers, its one writer, its change numbers.

```
 part.method() ─┬─ read ───► a reading connection, in the caller's thread
                ├─ commit ─► the writer's next transaction, awaited
                └─ run ────► a blocking method, in the ledger's own threads
```
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import sqlalchemy as sa

from secondlook.ground.clock import Clock, SettledTime
from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine.change import Changes
from secondlook.ledger.engine.database import Place, explain, make_engine
from secondlook.ledger.engine.migration import migrate
from secondlook.ledger.engine.writer import Flag, Line, Work, Writer
from secondlook.ledger.options import LedgerOptions

_READERS: Final = 4
_SERVER_TIME: Final = sa.text("SELECT extract(epoch FROM clock_timestamp())")


class Store:
    """An open database; every method may be called from any thread.

    `write_events` and `write_flags` write inside a transaction; `ended` hears of each transaction whether it
    was committed; `report` takes sentences about trouble, `recovered` hears what it was and how long (s) it
    lasted. `away` is why the database could not be reached a moment ago: it is tried again.
    """

    def __init__(
        self,
        place: Place,
        options: LedgerOptions,
        clock: Clock,
        report: Callable[[str], None],
        *,
        write_events: Callable[[sa.Connection, Sequence[Line]], None],
        write_flags: Callable[[sa.Connection, Sequence[Flag]], None],
        ended: Callable[[bool], None],
        recovered: Callable[[str, float], None],
        away: LedgerError | None = None,
    ) -> None:
        self.place = place
        self.options = options
        self.clock = clock
        self._settled = SettledTime(clock)
        self.report = report
        self.readers = make_engine(place, readers=_READERS, checkpoint=options.keeper)
        self.changes = Changes(self.readers, place, away=away)
        self._pool = ThreadPoolExecutor(_READERS, thread_name_prefix="ledger")
        self._file = _file_number(place)
        self.writer = Writer(
            make_engine(place, checkpoint=options.keeper, max_pages=options.max_pages),
            place,
            write_events,
            write_flags,
            self._replaced,
            ended,
            limit=options.events_in_memory,
            synced=options.synced,
            report=report,
            recovered=recovered,
            prepare=partial(migrate, place),
            away=away,
        )

    def clock_ahead_s(self) -> float | None:
        """By how much our clock is ahead of the database server's; None without one. Raises LedgerError."""
        if self.place.sqlite:
            return None
        there = self.read(lambda connection: connection.execute(_SERVER_TIME).scalar_one())
        return self.clock.now() - float(there)

    def settled_now(self) -> float:
        """Return Unix seconds (UTC), in doubt the earlier, for what ends something for good; blocks.

        Raises LedgerError.

        In a shared ledger the database's clock counts too: one proxy whose own is ahead, be it since its
        start, would delete what all have.
        """
        return min(self._settled.now(), self.clock.now() - (self.clock_ahead_s() or 0.0))

    def close(self) -> None:
        """Write what waits and close everything."""
        self.changes.close()
        self.writer.close()
        self._pool.shutdown(wait=True)
        self.readers.dispose()

    def _replaced(self) -> bool:
        """Notice that a damaged file was set aside by another process, and turn to the new one."""
        present = _file_number(self.place)
        if present is None or present == self._file:
            return False
        self._file = present
        self.readers.dispose()
        self.changes.reopen()
        return True

    async def run[T](self, function: Callable[..., T], *args: Any, **named: Any) -> T:
        """Run a blocking method of a part off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: function(*args, **named))

    async def commit[T](self, work: Work[T]) -> T:
        """Run a function of a connection in the writer's next transaction; raises LedgerError."""
        return await asyncio.wrap_future(self.writer.submit(work))

    def commit_now[T](self, work: Work[T]) -> T:
        """As `commit`, blocking the calling thread."""
        return self.writer.submit(work).result()

    async def change[T](self, work: Work[T]) -> T:
        """As `commit`, of something that snapshots hold: they are read anew."""
        result = await self.commit(work)
        self.changes.stale()
        return result

    def change_now[T](self, work: Work[T]) -> T:
        """As `change`, blocking the calling thread."""
        result = self.commit_now(work)
        self.changes.stale()
        return result

    def read[T](self, work: Work[T]) -> T:
        """Run a function of a reading connection; raises LedgerError."""

        def reading() -> T:
            with self.readers.connect() as connection:
                return work(connection)

        return self.guard(reading)

    def rows(self, query: sa.Select[Any]) -> Sequence[Any]:
        """All rows of a query; raises LedgerError."""
        return self.read(lambda connection: connection.execute(query).all())

    def guard[T](self, function: Callable[[], T]) -> T:
        """Run a function that reads; an error of the engine becomes LedgerError."""
        try:
            return function()
        except sa.exc.DBAPIError as error:
            raise explain(error, self.place) from error


def _file_number(place: Place) -> tuple[int, int] | None:
    """Return device and inode of a SQLite ledger; None for another engine or a file that is not there."""
    if place.path is None:
        return None
    try:
        found = place.path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
