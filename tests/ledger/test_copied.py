"""The new ledgers that other tests begin with are what Alembic makes."""

import sqlite3
from contextlib import closing

from ledgerkit.copied import put_copy
from ledgerkit.rows import all_rows
from secondlook.ledger.engine import migration
from secondlook.ledger.engine.database import create_file, find_place


def test_a_copy_is_what_alembic_makes(tmp_path, monkeypatch):
    ours, copy = tmp_path / "ours.sqlite3", tmp_path / "copies" / "copy.sqlite3"
    monkeypatch.setattr(migration, "create_file", create_file)
    migration.migrate(find_place(ours))
    put_copy(copy)
    assert [each.name for each in copy.parent.iterdir()] == ["copy.sqlite3"]
    assert described(copy) == described(ours)
    assert copy.stat().st_mode == ours.stat().st_mode


def described(path):
    """What SQLite says of a ledger: its tables, the properties of its file, and all rows."""
    named = ("application_id", "auto_vacuum", "encoding", "journal_mode", "page_size", "user_version")
    with closing(sqlite3.connect(path)) as connection:
        return [
            sorted(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"), key=repr),
            [connection.execute(f"PRAGMA {name}").fetchall() for name in named],
            connection.execute("SELECT * FROM alembic_version").fetchall(),
            all_rows(find_place(path)),
        ]
