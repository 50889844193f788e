"""A ledger that is there already: bringing an empty one to our schema is most of what a small test costs."""

import functools
import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from ledgerkit.postgres import PostgresServer
from secondlook.ledger.ledger import Ledger, LedgerOptions


@functools.cache
def _content() -> bytes:
    """Give the file of a ledger that was made and closed, with all of its log in it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite3"
        Ledger.open(path, LedgerOptions(background=False)).close()
        with closing(sqlite3.connect(path)) as connection:
            [(busy, _, _)] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            assert not busy
        return path.read_bytes()


def make_ledger(path: Path) -> Path:
    """Put an empty ledger of this program's schema there."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(_content())
    return path


@functools.cache
def _pattern(server: PostgresServer) -> str:
    """Name a database that a ledger was made in, and which nobody uses."""
    url = server.database()
    with tempfile.TemporaryDirectory() as folder:
        Ledger.open(url, LedgerOptions(background=False), journal=Path(folder) / "flags.journal").close()
    return server.name_of(url)


def make_database(server: PostgresServer) -> str:
    """Make a database with an empty ledger of this program's schema; its URL."""
    return server.database(_pattern(server))
