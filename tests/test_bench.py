"""Rows of a benchmark that are measured alone leave the others where they were."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parents[1] / "bench" / "run.py"
OLD = {"machine": "old", "date": "2026-01-01", "load": 0.1}


@pytest.fixture
def run(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("bench_run", RUN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "HERE", tmp_path)
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    return module


def measured(run, rows, *arguments):
    """Have a driver print these rows; return what is kept after that."""
    out = "".join(json.dumps({"bench": name, "value": value}) + "\n" for name, value in rows)
    (run.HERE / "scan.py").write_text(f"print({out!r})")
    run.take("scan", list(arguments))
    _, *kept = map(json.loads, (run.RESULTS / "scan.jsonl").read_text().splitlines())
    return [(row["bench"], row["value"], row.get("measured")) for row in kept]


def test_rows_that_are_not_measured_stay_with_their_day(run):
    old = [OLD, *({"bench": name, "value": 1} for name in ("S1 a", "S1 b", "S2 c", "S3 d"))]
    (run.RESULTS / "scan.jsonl").write_text("\n".join(map(json.dumps, old)))
    kept = measured(run, [("S2 c", 2)], "--rows", "S2")
    day = OLD["date"]
    assert kept == [("S1 a", 1, day), ("S1 b", 1, day), ("S2 c", 2, None), ("S3 d", 1, day)]
    kept = measured(run, [("S1 a", 3)], "--rounds", "3", "--rows", "S1")
    assert [row[:2] for row in kept] == [("S1 a", 3), ("S2 c", 2), ("S3 d", 1)]
    assert kept[2][2] == day  # not that of the run between
    assert measured(run, [("S1 a", 4)]) == [("S1 a", 4, None)]


def test_every_row_belongs_to_a_driver(run):
    assert set(run.ROWS.values()) <= set(run.DRIVERS)


def test_the_pages_are_made_of_the_notes_and_the_kept_lines():
    spec = importlib.util.spec_from_file_location("bench_run", RUN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.page() == module.PAGE.read_text()  # else what was written there goes with the next run
    fleet = module.FLEET.read_text()
    assert module.fleet_page() == fleet
    assert module.CAPACITY_TABLE.search(fleet)[0].count("\n") == len(module.CAPACITY)


def test_every_driver_finds_what_it_imports():
    names = [path.stem for path in RUN.parent.glob("*.py")]
    paths = os.pathsep.join(map(str, (RUN.parent, RUN.parents[1] / "tests")))
    done = subprocess.run(
        [sys.executable, "-c", f"import {', '.join(names)}"],
        env={**os.environ, "PYTHONPATH": paths},
        check=False,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_what_is_compared_with_another_checkout_is_only_printed(run, monkeypatch, capsys):
    (run.HERE / "traffic.py").write_text(
        "import json, sys\nprint(json.dumps({'bench': 'P1 pages', 'given': ' '.join(sys.argv[1:])}))"
    )
    page = run.HERE / "page.md"
    monkeypatch.setattr(run, "PAGE", page)
    monkeypatch.setattr("sys.argv", ["run.py", "P1", "--against", "../before", "--with", "--rounds 7"])
    run.main()
    assert "| P1 pages | --against ../before --rounds 7 --rows P1 |" in capsys.readouterr().out
    assert not page.exists()
    assert not list(run.RESULTS.glob("*.jsonl"))


def test_what_a_driver_starts_keeps_its_bytecode(run, monkeypatch):
    """Else each start compiles what changed since `make`, and that is what is measured."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    (run.HERE / "scan.py").write_text(
        "import json, sys; print(json.dumps({'bench': 'S1', 'kept': not sys.dont_write_bytecode}))"
    )
    assert run.drive("scan", []) == [{"bench": "S1", "kept": True}]
