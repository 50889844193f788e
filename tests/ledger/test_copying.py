"""Copies of a ledger: of one moment, complete, and good for either engine (6 s)."""

import sqlite3
import threading

import pytest
import sqlalchemy as sa

from ledgerkit.rows import all_rows, put_rows, sample_row
from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine.database import bare_engine, find_place
from secondlook.ledger.engine.migration import migrate
from secondlook.ledger.engine.tables import changes, events, metadata, tallies
from secondlook.ledger.upkeep import copying
from secondlook.ledger.upkeep.copying import copy_out, is_empty, put_in, single_file

NUMBERS = range(1, 8)


@pytest.fixture
def filled(place, monkeypatch):
    """A ledger with rows in every table, copied in parts of three."""
    monkeypatch.setattr(copying, "_ROWS", 3)
    found = find_place(place)
    migrate(found)
    put_rows(found, list(metadata.sorted_tables), NUMBERS)
    return found


def test_a_copy_has_every_row_in_one_file(filled, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    copy_out(filled, folder / "l.sqlite3")
    assert [each.name for each in folder.iterdir() if not each.name.endswith(".lock")] == ["l.sqlite3"]
    told = all_rows(find_place(folder / "l.sqlite3"))
    assert told == all_rows(filled)
    assert told.keys() == metadata.tables.keys()
    assert {name: len(rows) - 4 * (name == "changes") for name, rows in told.items()} == dict.fromkeys(
        told, 7
    )


def test_a_copy_goes_into_an_empty_database_and_that_goes_on(filled, tmp_path, postgres):
    copy, target = tmp_path / "copy.sqlite3", find_place(postgres.database())
    copy_out(filled, copy)
    assert is_empty(target)  # without a table
    migrate(target)
    assert is_empty(target)
    put_in(copy, target)
    assert not is_empty(target)
    assert all_rows(target) == all_rows(filled)
    engine = bare_engine(target)
    row = sample_row(events, 99)
    del row["seq"]
    with engine.begin() as connection:
        seq = connection.execute(sa.insert(events).returning(events.c.seq), row).scalar_one()
    engine.dispose()
    assert seq == max(NUMBERS) + 1


def test_an_empty_ledger_can_be_copied(place, tmp_path, postgres):
    migrate(find_place(place))
    copy_out(find_place(place), tmp_path / "copy.sqlite3")
    target = find_place(postgres.database())
    put_in(tmp_path / "copy.sqlite3", target)
    assert is_empty(target)
    assert all_rows(target) == all_rows(find_place(place))


def test_a_copy_is_of_one_moment_while_others_write(place, tmp_path):
    """A writer changes two tables in each transaction; they agree in every copy."""
    found = find_place(place)
    migrate(found)
    stop, written = threading.Event(), threading.Semaphore(0)

    def write() -> None:
        engine = bare_engine(found)
        number = 0
        while not stop.is_set():
            number += 1
            with engine.begin() as connection:
                connection.execute(sa.insert(tallies), sample_row(tallies, number))
                connection.execute(
                    sa.update(changes).where(changes.c.topic == "rules").values(counter=changes.c.counter + 1)
                )
            written.release()
        engine.dispose()

    writer = threading.Thread(target=write)
    writer.start()
    seen = []
    try:
        for number in range(3):
            for _ in range(5):
                assert written.acquire(timeout=60)
            copy = tmp_path / f"copy{number}.sqlite3"
            copy_out(found, copy)
            rows = all_rows(find_place(copy))
            assert dict(rows["changes"])["rules"] == len(rows["tallies"])
            seen.append(len(rows["tallies"]))
    finally:
        stop.set()
        writer.join()
    assert seen[0] >= 5
    assert seen == sorted(set(seen))


def test_a_damaged_ledger_is_not_copied_in_silence(tmp_path):
    path = tmp_path / "ledger.sqlite3"
    found = find_place(path)
    migrate(found)
    put_rows(found, list(metadata.sorted_tables), range(1, 300))
    single_file(path)
    with path.open("r+b") as file:
        file.seek(30 * 4096)
        file.write(b"\xff" * 4096 * 4)
    with pytest.raises(LedgerError, match="damaged"):
        copy_out(found, tmp_path / "copy.sqlite3")


def test_a_newer_ledger_is_refused_in_words(place, tmp_path):
    found = find_place(place)
    migrate(found)
    engine = bare_engine(found)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(LedgerError, match="written by a newer Second Look"):
        copy_out(found, tmp_path / "copy.sqlite3")


def test_the_copied_file_needs_no_wal(tmp_path):
    found = find_place(tmp_path / "ledger.sqlite3")
    migrate(found)
    put_rows(found, [tallies], NUMBERS)
    assert (tmp_path / "ledger.sqlite3-wal").stat().st_size
    copy_out(found, tmp_path / "copy.sqlite3")
    raw = sqlite3.connect(f"file:{tmp_path}/copy.sqlite3?immutable=1", uri=True)
    assert raw.execute("SELECT count(*) FROM tallies").fetchone() == (7,)
    raw.close()
