"""A damaged ledger is set aside, and what can be read goes on in a new one; other damage is in test_failure."""

import sqlite3
from contextlib import closing

import pytest

from ledgerkit.old_schema import upgrade
from ledgerkit.rows import all_rows, put_rows
from secondlook.ledger.engine.database import find_place
from secondlook.ledger.engine.migration import known_revisions
from secondlook.ledger.engine.salvage import SALVAGED, open_or_repair


@pytest.mark.parametrize("revision", sorted(known_revisions()))
def test_what_a_damaged_ledger_of_any_version_holds_is_carried_over(tmp_path, revision):
    path = tmp_path / "ledger.sqlite3"
    place = find_place(path)
    put_rows(place, upgrade(place, revision), range(1, 4))
    before = all_rows(place)
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (size,) = raw.execute("PRAGMA page_size").fetchone()
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'alembic_version'"
        (page,) = raw.execute(query).fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    notice = open_or_repair(place, repair=True, now=1_900_000_000.0)
    assert notice is not None
    after = all_rows(place)
    for name in SALVAGED:
        assert f"3 of {name}" in notice
        width = len(before[name][0])
        assert [row[:width] for row in after[name]] == before[name]
        assert {value for row in after[name] for value in row[width:]} <= {None}  # of what came later
