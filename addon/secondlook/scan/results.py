"""What engines reported about files, kept by SHA-256 and the engine's version: nothing is scanned twice.

In memory first, and in a small database that the processes of an installation share. It is a cache: whoever
deletes it only has files scanned again, and so does whatever goes wrong with it. Of an engine only the newest
version is kept for a file. A *form* names how the bytes were taken (their content encodings).
"""

import asyncio
import contextlib
import json
import logging
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

from lru import LRU

from secondlook.core.scan import Detection, EngineReport
from secondlook.ground.json_text import read_json

logger = logging.getLogger(__name__)

NAME = "results.sqlite"
MOST_IN_MEMORY = 10_000
_BUSY_S = 2.0
_PRUNE_EVERY = 500  # writes
_SCHEMA = """
CREATE TABLE IF NOT EXISTS results (
  digest BLOB NOT NULL, form TEXT NOT NULL, engine TEXT NOT NULL, version TEXT NOT NULL, report TEXT NOT NULL,
  kept_at REAL NOT NULL, PRIMARY KEY (digest, form, engine)
) WITHOUT ROWID
"""

type _Key = tuple[bytes, str, str]


class Results:
    """The results of one process; `most` is how many the database keeps, if it has a `path`."""

    def __init__(self, path: Path | None, most: int) -> None:
        self._memory: LRU[_Key, EngineReport] = LRU(MOST_IN_MEMORY)
        self._path = path
        self._most = most
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scan results")
        self._database: sqlite3.Connection | None = None
        self._writes = 0
        self._closed = False

    def recall(self, digest: bytes, form: str, engine: str, version: str) -> EngineReport | None:
        """Return what is in memory about a file."""
        known = self._memory.get((digest, form, engine))
        return known if known is not None and known.version == version else None

    async def find(self, digest: bytes, form: str, engine: str, version: str) -> EngineReport | None:
        """Return what is known about a file."""
        known = self.recall(digest, form, engine, version)
        if known is not None or self._path is None:
            return known
        found = await self._run(self._read, digest, form, engine)
        if found is None or found.version != version:
            return None
        self._memory[digest, form, engine] = found
        return found

    def keep(self, digest: bytes, form: str, report: EngineReport) -> None:
        """Keep what an engine reported, if it would report it again."""
        if not report.lasting or self._closed:
            return
        kept = replace(report, remembered=True, elapsed_ms=None, kept_at=time.time())
        self._memory[digest, form, report.engine] = kept
        if self._path is not None:
            self._thread.submit(self._guarded, self._write, digest, form, kept)

    async def last(self, digest: bytes) -> dict[str, EngineReport]:
        """Return what each engine last reported about a file, whatever its version was then."""
        if self._path is not None:
            found = await self._run(self._all_of, digest)
            if found:
                return found
        return {engine: report for (of, _, engine), report in list(self._memory.items()) if of == digest}

    async def settle(self) -> None:
        """Wait until all is written."""
        await asyncio.get_running_loop().run_in_executor(self._thread, lambda: None)

    async def aclose(self) -> None:
        """Write what waits, and close the database."""
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    async def _run[**P, T](self, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T | None:
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, lambda: self._guarded(work, *args, **named)
        )

    def _guarded[**P, T](self, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T | None:
        try:
            return work(*args, **named)
        except (sqlite3.Error, OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("results of scans in %s cannot be used: %r", self._path, error)
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                self._start_afresh()
            return None

    def _start_afresh(self) -> None:
        """Throw a damaged database away."""
        assert self._path is not None
        self._close()
        for ending in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                self._path.with_name(self._path.name + ending).unlink()

    def _close(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            assert self._path is not None
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            database = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None)
            try:
                database.execute("PRAGMA journal_mode=WAL")
                database.execute("PRAGMA synchronous=OFF")  # a cache: what a crash of the machine loses
                database.execute(_SCHEMA)
            except BaseException:
                database.close()
                raise
            self._database = database
        return self._database

    def _read(self, digest: bytes, form: str, engine: str) -> EngineReport | None:
        row = (
            self._open()
            .execute(
                "SELECT report FROM results WHERE digest = ? AND form = ? AND engine = ?",
                (digest, form, engine),
            )
            .fetchone()
        )
        return None if row is None else _from_json(row[0])

    def _write(self, digest: bytes, form: str, report: EngineReport) -> None:
        database = self._open()
        database.execute(
            "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?)",
            (digest, form, report.engine, report.version, json.dumps(asdict(report)), time.time()),
        )
        self._writes += 1
        if self._writes % _PRUNE_EVERY == 0:
            database.execute(
                "DELETE FROM results WHERE kept_at < (SELECT kept_at FROM results"
                " ORDER BY kept_at DESC LIMIT 1 OFFSET ?)",
                (self._most - 1,),
            )

    def _all_of(self, digest: bytes) -> dict[str, EngineReport]:
        rows = self._open().execute(
            "SELECT engine, report FROM results WHERE digest = ? ORDER BY kept_at", (digest,)
        )
        return {engine: _from_json(report) for engine, report in rows}


def _from_json(text: str) -> EngineReport:
    values = read_json(text)
    return EngineReport(**{**values, "detections": tuple(map(Detection.from_json, values["detections"]))})
