"""Housekeeping of an open ledger, in a thread of its own.

Every process: tries again while writing fails, replays the journal, writes counts and history every
few seconds. The keeper alone: checkpoints the WAL, deletes what is past its retention.

Deleting is meant: `secure_delete` overwrites rows, freed pages are given back; once a day, and whenever
somebody asks, the search index is merged until it holds nothing of them and the WAL that still held them
is emptied, as soon as nobody reads in it.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine import salvage
from secondlook.ledger.engine.database import bare_engine
from secondlook.ledger.engine.store import Store
from secondlook.ledger.engine.tables import changes, events, marks, metadata
from secondlook.ledger.log import counting, search
from secondlook.ledger.log.counting import HOUR_S
from secondlook.ledger.log.counts import Counts
from secondlook.ledger.log.tail import settle_restored
from secondlook.ledger.operator import rule_table
from secondlook.ledger.queue import confirmed, flagged, history
from secondlook.ledger.queue.allowed_history import AllowedHistory
from secondlook.ledger.queue.flag_store import FlagStore
from secondlook.ledger.upkeep.erasure import erase, without_visit

logger = logging.getLogger(__name__)

TICK_S: Final = 0.25
FLUSH_S: Final = 2.0
SWEEP_S: Final = 600.0
MERGE_S: Final = 86_400.0  # rewriting the search index costs as much as it is big
CHECKPOINT_BYTES: Final = 4 << 20
LONG_BYTES: Final = 32 << 20  # a WAL that holds so much begins anew, in the room that it has
MOST_BYTES: Final = 128 << 20  # a file of so much is cut
_PAGE_BYTES: Final = 4096
_CHECKPOINT_S: Final = 30.0
WHOLE_S: Final = 30.0  # readers are waited for so long where the WAL has to be empty
_BUSY_S: Final = 0.05  # at each try: whoever waits for readers holds up every writer meanwhile
_CHUNK: Final = 500
_REST_S: Final = 0.01  # between two chunks of a sweep: traffic first
INDEX_REST_S: Final = 2.0  # where nothing was new: what nobody has indexed yet is found by scanning
_STEPS: Final = 20  # of indexing, and of merging, in one tick
_STEP_REST_S: Final = 0.005
_INDEX_ROWS: Final = 64
_INDEX_MOST_ROWS: Final = 256


class Upkeep:
    """The housekeeping thread, and the same work on demand."""

    def __init__(self, store: Store, counts: Counts, flags: FlagStore, history: AllowedHistory) -> None:
        self._store = store
        self._counts = counts
        self._flags = flags
        self._history = history
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._flushed_at = time.monotonic()
        self._swept_at = time.monotonic() - SWEEP_S + 30.0
        self._merged_at = time.monotonic()
        self._checkpointed_at = time.monotonic()
        self._index_at = time.monotonic()
        self._uncut = False
        self.faults = 0

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, name="ledger-upkeep", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; what is being done is finished first."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(10.0)

    def _run(self) -> None:
        while not self._stopping.wait(TICK_S):
            self._attempt(self._tick)

    def _attempt(self, duty: Callable[[], object]) -> None:
        """Do a duty; where it fails, the others are done all the same."""
        try:
            duty()
        except LedgerError as error:
            self._store.report(f"housekeeping: {error}")
            self._stopping.wait(1.0)
        except Exception as error:
            # without this thread nothing is deleted, replayed or written down any more
            self.faults += 1
            logger.exception("housekeeping failed inside; it goes on")
            self._store.report(f"housekeeping: internal error: {error}")
            self._stopping.wait(1.0)

    def _tick(self) -> None:
        if self._store.writer.failing and not self._probe():
            self._flags.look_for_room()
            return
        self._attempt(self._flags.replay)
        now = time.monotonic()
        if self._store.place.sqlite and now >= self._index_at:
            self._attempt(self._index)
            now = time.monotonic()
        if now - self._flushed_at >= FLUSH_S:
            self._flushed_at = now
            self._counts.flush()
            self._history.flush()
        if not self._store.options.keeper:
            return
        if now - self._swept_at >= SWEEP_S:
            self._swept_at = now
            if not self._store.place.sqlite:
                self._attempt(self.settle_restored)
            self._attempt(partial(self.sweep, thorough=now - self._merged_at >= MERGE_S))
        self.checkpoint(whole=False)

    def _index(self) -> None:
        """Add new events to the search index and keep it in few pieces.

        In steps so small that traffic does not feel them, unless there is much to catch up with. Where
        nothing was new, it rests for a while: to look is a transaction, most of what an idle proxy did.
        """
        submit = self._store.writer.submit
        most, found = _INDEX_ROWS, False
        for _ in range(_STEPS):
            count = submit(partial(search.add_next, most=most), durable=False).result()
            found = found or count > 0
            if count < most or self._stopping.wait(_STEP_REST_S):
                break
            most = min(most * 2, _INDEX_MOST_ROWS)
        for _ in range(_STEPS):
            if not submit(search.merge, durable=False).result():
                break
            found = True
            if self._stopping.wait(_STEP_REST_S):
                break
        self._index_at = time.monotonic() + (0.0 if found else INDEX_REST_S)

    def _probe(self) -> bool:
        try:
            self._store.commit_now(_write_little)
        except LedgerError:
            self._stopping.wait(TICK_S)
            return False
        return True

    def checkpoint(self, *, whole: bool = True, patient: bool = True) -> None:
        """Bring the WAL into the file: as far as it can be just now, or `whole` and cut to nothing.

        Whoever is not `patient` waits for no reader: a later checkpoint cuts it. Raise LedgerError, also
        where somebody reads for so long that it cannot be cut.

        What is there is brought in first, which holds no writer up. Where the WAL is long, writers wait
        while what came in that time follows: without that it would never begin anew beside steady traffic.
        """
        path = self._store.place.path
        if path is None:
            return
        wal = path.with_name(path.name + "-wal")
        try:
            size = wal.stat().st_size
        except OSError:
            return
        now = time.monotonic()
        due = size >= CHECKPOINT_BYTES and now - self._checkpointed_at >= 1.0
        if not whole and not due and (not size or now - self._checkpointed_at < _CHECKPOINT_S):
            return
        self._checkpointed_at = now
        _, held = self._checkpoint(path, "PASSIVE")
        if not (whole or self._uncut or size >= MOST_BYTES):
            if held >= LONG_BYTES:
                self._checkpoint(path, "RESTART")
            return
        while not self._checkpoint(path, "TRUNCATE")[0]:
            self._uncut = True
            if not (whole and patient):
                return  # somebody is at it: next time
            if time.monotonic() - now > WHOLE_S:
                raise LedgerError(
                    f"ledger {path}: somebody reads what was deleted, and its WAL still holds it"
                )
            if self._stopping.wait(TICK_S):
                return
        self._uncut = False

    def _checkpoint(self, path: Path, mode: str) -> tuple[bool, int]:
        """Try once; return whether all was done that this mode does, and how many bytes the WAL held."""
        try:
            with closing(sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)) as raw:
                raw.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
                [(busy, pages, _)] = raw.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
        except sqlite3.Error as error:
            raise LedgerError(f"ledger {path}: checkpoint failed: {error}") from error
        return not busy, pages * _PAGE_BYTES

    # -- retention ------------------------------------------------------------------------------

    def settle_restored(self) -> None:
        """Do `log.tail.settle_restored` for all of them."""
        while self._store.commit_now(partial(settle_restored, most=_CHUNK)):
            if self._stopping.wait(_REST_S):
                break

    def sweep(self, *, thorough: bool = True) -> int:
        """Delete what is past its retention; return how many rows went.

        `thorough` also rewrites the search index, which otherwise keeps (and passes over) the trigrams
        of deleted events.
        """
        store = self._store
        now = store.settled_now()  # what a wrong clock deletes would be gone
        cutoff = now - store.options.retention_s
        gone = self._delete_events(events.c.time < cutoff, before=cutoff)
        while count := store.commit_now(
            lambda connection: history.sweep(connection, older_than=now - store.options.history_s)
        ):
            gone += count
            if self._stopping.wait(_REST_S):
                break

        def small(connection: sa.Connection) -> int:
            connection.execute(sa.delete(marks).where(marks.c.hour < int(cutoff // HOUR_S)))
            return (
                confirmed.sweep(connection, now)
                + rule_table.sweep(connection, older_than=cutoff)
                + counting.sweep(connection, now=now, older_than=cutoff)
            )

        gone += store.commit_now(small)
        if thorough:
            self._reclaim(everything=False)
            self._merged_at = time.monotonic()
        elif gone and store.place.path is not None:
            while self._vacuum(store.place.path):
                if self._stopping.wait(_REST_S):
                    break
        self._flags.forget_unread(before=cutoff)
        return gone

    def _delete_events(self, chosen: sa.ColumnElement[bool], *, before: float | None = None) -> int:
        """Delete events in small transactions, each with its part of the search index."""
        store = self._store

        def work(connection: sa.Connection) -> int:
            query = sa.select(events.c.seq, *search.TEXT_COLUMNS).where(chosen)
            if before is not None:
                last = sa.select(sa.func.max(marks.c.last_seq)).where(marks.c.hour <= int(before // HOUR_S))
                query = query.where(events.c.seq <= last.scalar_subquery())
            rows = connection.execute(query.order_by(events.c.seq).limit(_CHUNK)).mappings().all()
            if not rows:
                return 0
            if connection.dialect.name == "sqlite":
                upto = search.indexed_upto(connection)
                indexed = [row for row in rows if row["seq"] <= upto]
                search.remove(connection, [(row["seq"], search.text_of(row)) for row in indexed])
            connection.execute(sa.delete(events).where(events.c.seq.in_([row["seq"] for row in rows])))
            return len(rows)

        total = 0
        while count := store.commit_now(work):
            total += count
            if self._stopping.wait(_REST_S):
                break
        return total

    def _reclaim(self, *, everything: bool) -> None:
        """Give freed space back and make sure that nothing deleted can be read any more."""
        store = self._store
        if store.place.path is None:
            store.guard(partial(self._vacuum_tables, wait=everything))
            return
        store.commit_now(search.begin_merge)
        while store.commit_now(search.merge):
            if self._stopping.wait(_REST_S):
                return

        while self._vacuum(store.place.path):
            if self._stopping.wait(_REST_S):
                return
        if everything or store.options.keeper:
            self.checkpoint(whole=True, patient=everything)

    def _vacuum_tables(self, *, wait: bool) -> None:
        """Free what deleted rows of PostgreSQL held, over a connection of its own.

        A table that another proxy is at is left to it, unless what was deleted has to be gone (`wait`).
        """
        how = "VACUUM" if wait else "VACUUM (SKIP_LOCKED)"
        engine = bare_engine(self._store.place)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for table in metadata.sorted_tables:
                connection.exec_driver_sql(f"{how} {table.name}")

    def _write_beside(self) -> None:
        """Write over a connection of its own: a standby, and a database that is full, can be read."""
        with bare_engine(self._store.place).begin() as connection:
            _write_little(connection)

    def _vacuum(self, path: Path) -> int:
        """Give some free pages back; return how many are left."""
        try:
            with closing(sqlite3.connect(path, timeout=5.0, isolation_level=None)) as raw:
                raw.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
                raw.execute("PRAGMA wal_autocheckpoint=0")
                # `execute` would stop after the first page: the pragma returns an empty row for each.
                raw.executescript(f"PRAGMA incremental_vacuum({_CHUNK})")
                return int(raw.execute("PRAGMA freelist_count").fetchone()[0])
        except sqlite3.Error as error:
            raise LedgerError(f"ledger {path}: giving space back failed: {error}") from error

    def erase_client(self, client: str) -> int:
        """Erase a client (`ledger.upkeep.erasure`) and the bytes that held it; return how many events."""
        store = self._store
        self._flags.replay(whole=True)
        store.writer.submit(lambda _: None).result()  # what was handed over is written, or in memory again
        for waiting in (self._counts.flush(), self._history.flush()):
            if waiting is not None:
                waiting.result()  # what fails is in memory again, and would come after the erasure
        while store.writer.waiting:
            store.commit_now(lambda _: None)
        gone = erase(store, client, self._delete_events)
        if self._flags.journal is not None:
            self._flags.journal.scrub()
        self._flags.rewrite_unread(partial(without_visit, client=client))
        self._reclaim(everything=True)
        if store.options.erase_beside is not None:
            store.options.erase_beside(client)
        return gone

    def check(self) -> list[str]:
        """Look for damage in the whole ledger; raise LedgerError where a database is away, or only read."""
        path = self._store.place.path
        if path is None:
            self._store.read(flagged.count)
            self._store.guard(self._write_beside)
            return []
        return salvage.check(path)


def _write_little(connection: sa.Connection) -> None:
    """Change nothing by a small write, which a full disk refuses as well."""
    connection.execute(
        sa.update(changes).where(changes.c.topic == "quarantine").values(counter=changes.c.counter)
    )
