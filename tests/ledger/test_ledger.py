"""Opening a ledger, by many at once, and all that is in it."""

import multiprocessing
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from ledgerkit.samples import RULE
from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine.database import bare_engine, find_place
from secondlook.ledger.ledger import Ledger, LedgerOptions

pytestmark = pytest.mark.anyio


def open_and_count(location: str, journal: str) -> int:
    ledger = Ledger.open(location, LedgerOptions(journal_bytes=1 << 16), journal=Path(journal))
    ledger.rules.add(replace(RULE, id=""))
    ledger.close()
    return 1


def test_many_processes_may_open_a_new_ledger_at_once(empty_place, tmp_path):
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        done = list(
            pool.map(open_and_count, [empty_place] * 8, [str(tmp_path / "flags.journal")] * 8, timeout=120)
        )
    assert sum(done) == 8
    ledger = Ledger.open(empty_place, journal=tmp_path / "flags.journal")
    assert len(ledger.snapshots.rules()) == 8
    ledger.close()


def test_a_ledger_of_a_newer_program_is_refused(place, tmp_path):
    Ledger.open(place, journal=tmp_path / "flags.journal").close()
    engine = bare_engine(find_place(place))
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(LedgerError, match=r"newer Second Look \(schema 9999.*upgrade the program"):
        Ledger.open(place, LedgerOptions(keeper=True), journal=tmp_path / "flags.journal")


def test_a_database_that_is_not_there_is_told_in_words(tmp_path):
    with pytest.raises(LedgerError, match="ledger postgresql"):
        Ledger.open(f"postgresql://nobody@/none?host={tmp_path}", journal=tmp_path / "flags.journal")


def test_a_command_loads_neither_alembic_nor_postgresql(tmp_path):
    Ledger.open(tmp_path / "ledger.sqlite3").close()
    code = (
        "import sys; from secondlook.ledger.ledger import Ledger, LedgerOptions\n"
        f"Ledger.open({str(tmp_path / 'ledger.sqlite3')!r}, LedgerOptions(background=False)).close()\n"
        "print([name for name in ('alembic', 'psycopg') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
    )
    assert done.stdout.strip() == "[]"
