"""Opening a ledger, by many at once, and all that is in it."""

import subprocess
import sys

import pytest
import sqlalchemy as sa

from e2e import coded
from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine.database import bare_engine, find_place
from secondlook.ledger.ledger import Ledger, LedgerOptions

pytestmark = pytest.mark.anyio


OPENING = """
import sys
from dataclasses import replace
from pathlib import Path
from ledgerkit import copied
from ledgerkit.samples import RULE
from secondlook.ledger.ledger import Ledger, LedgerOptions

copied.end()
print("ready", flush=True)
sys.stdin.readline()
for _ in range(2):
    ledger = Ledger.open(sys.argv[1], LedgerOptions(journal_bytes=1 << 16), journal=Path(sys.argv[2]))
    ledger.rules.add(replace(RULE, id=""))
    ledger.close()
"""


def test_many_processes_may_open_a_new_ledger_at_once(empty_place, tmp_path):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    processes = [coded.start(OPENING, empty_place, tmp_path / "flags.journal", **pipes) for _ in range(4)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("begin\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=120)
    assert [process.returncode for process in processes] == [0] * 4
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
