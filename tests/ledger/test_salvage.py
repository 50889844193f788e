"""A damaged ledger is set aside, and what can be read goes on in a new one; other damage is in test_failure."""

import resource
import sqlite3
from contextlib import closing, contextmanager

import pytest

from ledgerkit.old_schema import upgrade
from ledgerkit.rows import all_rows, put_rows
from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine import salvage, tables
from secondlook.ledger.engine.database import find_place
from secondlook.ledger.engine.migration import HEAD, known_revisions
from secondlook.ledger.engine.salvage import SALVAGED, open_or_repair

SIDES = {f"ledger.sqlite3{suffix}" for suffix in ("-wal", "-shm", ".lock")}


@pytest.mark.parametrize("revision", sorted(known_revisions()))
def test_what_a_damaged_ledger_of_any_version_holds_is_carried_over(tmp_path, revision):
    path = tmp_path / "ledger.sqlite3"
    place = find_place(path)
    put_rows(place, upgrade(place, revision), range(1, 4))
    before = all_rows(place)
    damage(path)
    notice = open_or_repair(place, repair=True, now=1_900_000_000.0)
    assert notice is not None
    after = all_rows(place)
    for name in SALVAGED:
        assert f"3 of {name}" in notice
        width = len(before[name][0])
        assert [row[:width] for row in after[name]] == before[name]
        assert {value for row in after[name] for value in row[width:]} <= {None}  # of what came later


def damage(path):
    """Write over the page where the version of the schema stands."""
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (size,) = raw.execute("PRAGMA page_size").fetchone()
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'alembic_version'"
        (page,) = raw.execute(query).fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


def test_where_there_is_no_room_for_a_new_one_nothing_is_lost(tmp_path):
    path = tmp_path / "ledger.sqlite3"
    place = find_place(path)
    put_rows(place, upgrade(place, HEAD), range(1, 401))
    before = all_rows(place)
    damage(path)
    size = path.stat().st_size
    with no_file_beyond(450_000), pytest.raises(LedgerError):
        open_or_repair(place, repair=True, now=1_900_000_000.0)
    assert {each.name for each in tmp_path.iterdir()} <= {path.name, *SIDES}
    assert path.stat().st_size == size
    assert "400 of flagged" in open_or_repair(place, repair=True, now=1_900_000_000.0)
    assert {name: all_rows(place)[name] for name in SALVAGED} == {name: before[name] for name in SALVAGED}


def test_one_that_was_killed_at_it_costs_nothing(tmp_path, monkeypatch):
    path = tmp_path / "ledger.sqlite3"
    place = find_place(path)
    put_rows(place, upgrade(place, HEAD), range(1, 4))
    damage(path)

    class KilledError(BaseException):
        pass

    def killed(*_):
        raise KilledError

    with monkeypatch.context() as halfway:
        halfway.setattr(salvage, "_copy", killed)
        halfway.setattr(salvage, "_remove", lambda _: None)
        with pytest.raises(KilledError):
            open_or_repair(place, repair=True, now=1_900_000_000.0)
    assert path.with_name("ledger.sqlite3.new").exists()
    assert "3 of flagged" in open_or_repair(place, repair=True, now=1_900_000_000.0)
    assert not path.with_name("ledger.sqlite3.new").exists()


def test_what_another_process_writes_meanwhile_is_carried_over(tmp_path, monkeypatch):
    """A flag that was acknowledged then would have no second look."""
    path = tmp_path / "ledger.sqlite3"
    place = find_place(path)
    put_rows(place, upgrade(place, HEAD), range(1, 4))
    damage(path)
    set_aside = salvage._set_aside
    another = {"id": "'another'", "identity": f"X'{'ab' * 32}'"}
    values = ", ".join(another.get(column.name, f'"{column.name}"') for column in tables.flagged.c)

    def and_before(old, now):
        with closing(sqlite3.connect(old)) as raw, raw:
            raw.execute(f"INSERT INTO flagged SELECT {values} FROM flagged LIMIT 1")
        return set_aside(old, now)

    monkeypatch.setattr(salvage, "_set_aside", and_before)
    assert "4 of flagged" in open_or_repair(place, repair=True, now=1_900_000_000.0)
    assert len(all_rows(place)["flagged"]) == 4


@contextmanager
def no_file_beyond(size):
    """Let no file of this process grow further, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
