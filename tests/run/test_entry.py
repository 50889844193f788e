"""Counters that a full disk cannot turn into a crash; what a child does not import (3 s)."""

import json
import subprocess
import sys

import pytest

from secondlook.run.entry import KINDS, RESERVED_BYTES, reserve_counters


def test_all_blocks_are_there(tmp_path):
    assert reserve_counters(tmp_path, 4711)
    files = sorted(tmp_path.iterdir())
    assert [path.name for path in files] == sorted(f"{kind}_4711.db" for kind in KINDS)
    assert all(path.stat().st_size == RESERVED_BYTES for path in files)


@pytest.mark.parametrize("kind", KINDS)
def test_no_room_is_told_and_leaves_nothing(tmp_path, kind):
    (tmp_path / f"{kind}_4711.db").symlink_to("/dev/full")
    assert not reserve_counters(tmp_path, 4711)
    assert list(tmp_path.iterdir()) == []


def test_these_are_the_kinds_of_files_that_are_made(tmp_path, monkeypatch):
    code = "import secondlook.agent.metrics, secondlook.lookup.metrics, secondlook.proxy.worker"
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
    )
    assert {path.name.rpartition("_")[0] for path in tmp_path.iterdir()} <= set(KINDS)


def test_a_child_imports_nothing_that_it_never_uses():
    code = "from secondlook.run.entry import spare_imports as spare; spare()"
    code += "; import fastapi, json, sys, secondlook.run.worker, secondlook.run.service"
    code += (
        "\ndef said(text: str): ...\nfastapi.FastAPI().get('/')(said); print(json.dumps(list(sys.modules)))"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, env=environment)
    assert {"flask", "ldap3", "pydantic.v1.main", "rich", "sansldap"}.isdisjoint(json.loads(done.stdout))


def test_the_collector_rests_only_until_a_child_is_ready(tmp_path):
    code = """
import asyncio, gc, os, sys
from secondlook.run import entry
from secondlook.run.process import Process
def start(name):
    seen = [gc.isenabled()]
    process = Process(None, None, 0, "worker 0", os.open(os.devnull, os.O_WRONLY))
    async def ready():
        process.report_ready()
    asyncio.run(ready())
    print([*seen, gc.isenabled(), gc.get_freeze_count() > 10_000])
    class Role:
        main = staticmethod(lambda: None)
    return Role
entry.importlib.import_module = start
entry.main()
"""
    environment = {"PYTHONPATH": ":".join(sys.path)}
    arguments = [sys.executable, "-c", code, "plan", "pipe", "0", "worker"]
    assert subprocess.check_output(arguments, text=True, env=environment) == "[False, True, True]\n"
