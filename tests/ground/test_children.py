"""A child that carries out an order, and why one may not; one that is ended is gone, whoever gives up meanwhile."""

import asyncio
import signal
import sys

import pytest

from secondlook.ground.children import ChildFailedError, ask_child, end_child
from secondlook.ground.errors import PatternError

OBEDIENT = """
import os, time
from secondlook.ground.children import ChildFailedError, answer_order
from secondlook.ground.errors import ConfigError, PatternError

def carry_out(order):
    exec(order["do"])
    return {"twice": 2 * order["number"]}

answer_order(carry_out)
"""


@pytest.fixture
def obedient(tmp_path, monkeypatch):
    """Give a child that does what it is ordered to; the name of its module."""
    (tmp_path / "obedient.py").write_text(OBEDIENT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "obedient"


def test_an_order_is_carried_out_in_a_child(obedient):
    assert asyncio.run(ask_child(obedient, {"do": "", "number": 21}, "doubling")) == {"twice": 42}


@pytest.mark.parametrize(
    ("do", "kind", "reported"),
    [
        ("raise PatternError('line 7 is wrong')", PatternError, "line 7 is wrong"),
        ("raise ConfigError('a key is unknown')", PatternError, "a key is unknown"),
        ("raise ChildFailedError('no list')", ChildFailedError, "no list"),
        ("raise OSError(28, os.strerror(28))", ChildFailedError, "doubling failed: No space left on device"),
        ("raise OSError", ChildFailedError, "doubling failed: OSError"),
        ("os._exit(0)", ChildFailedError, "doubling broke off (status 0): too little memory or time?"),
        ("os.abort()", ChildFailedError, "doubling broke off (status -6): too little memory or time?"),
        ("time.sleep(300)", ChildFailedError, "doubling took longer than 0.5 s"),
    ],
)
def test_why_there_is_no_answer(obedient, do, kind, reported):
    within_s = 0.5 if "sleep" in do else None
    with pytest.raises(PatternError) as caught:
        asyncio.run(ask_child(obedient, {"do": do, "number": 1}, "doubling", within_s=within_s))
    assert (type(caught.value), str(caught.value)) == (kind, reported)


def test_a_child_that_cannot_be_started_came_to_no_result(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/such/program")
    with pytest.raises(ChildFailedError, match=r"^doubling cannot begin: No such file or directory$"):
        asyncio.run(ask_child("obedient", {}, "doubling"))


def test_nothing_in_the_current_folder_takes_the_place_of_what_a_child_imports(
    obedient, tmp_path, monkeypatch
):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "obedient.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path / "here")
    assert asyncio.run(ask_child(obedient, {"do": "", "number": 1}, "doubling")) == {"twice": 2}


async def start(program: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-c", program)


@pytest.mark.parametrize("times", [0, 1, 3])
def test_it_is_gone_however_often_its_end_is_cancelled(times):
    async def story() -> None:
        child = await start("import time; time.sleep(300)")
        ending = asyncio.ensure_future(end_child(child))
        for _ in range(times):
            await asyncio.sleep(0)
            ending.cancel()
        [result] = await asyncio.gather(ending, return_exceptions=True)
        assert child.returncode == -signal.SIGKILL
        assert isinstance(result, asyncio.CancelledError) is bool(times)

    asyncio.run(story())


def test_one_that_has_ended_is_left_as_it_is():
    async def story() -> None:
        child = await start("raise SystemExit(7)")
        await child.wait()
        await end_child(child)
        assert child.returncode == 7

    asyncio.run(story())
