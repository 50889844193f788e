"""What is around the front of a process that judges, with its real parts on a state folder of its own."""

import asyncio
import json
import os

import pytest

from secondlook.agent.check.watch import Watcher
from secondlook.config.agent import Settings
from secondlook.core.event import Event, EventKind
from secondlook.ground.errors import LedgerError
from secondlook.ground.tasks import Tasks
from secondlook.run import judging as module
from secondlook.run.assembly.check.ledger_opening import ledger_of
from secondlook.run.assembly.check.parts import cache_file
from secondlook.run.judging import judging
from secondlook.run.process import Process
from secondlook.run.reload import plan_of
from secondlook.run.supervisor.plan import Invocation


@pytest.fixture
def process(tmp_path):
    """A process on a fresh state, without a server; what it says is read from `said`."""
    settings = Settings.model_validate({"state": tmp_path, "servers": {"embedded": {"enabled": False}}})
    reader, writer = os.pipe()
    yield Process(plan_of(Invocation(None), settings), settings, 0, "gate worker 0", writer), reader
    os.close(reader)
    os.close(writer)


def test_a_front_has_parts_that_are_in_step_and_are_put_away_after_it(process):
    made, reader = process
    answers = cache_file(made.settings, "gate-0")
    with ledger_of(made.settings):
        pass

    async def main():
        async with judging(made, answers) as around:
            around.ready()
            assert around.parts.checker.view.current.serial > 1  # it was read
            assert not around.stop.is_set()
            os.kill(os.getpid(), 15)  # as the supervisor says it
            await asyncio.wait_for(around.stop.wait(), 60)
            ledger = around.parts.ledger
        assert answers.exists()
        with pytest.raises(LedgerError, match="is closed"):
            ledger.recorder.note(Event(id="01", time=1.0, kind=EventKind.ERROR))

    asyncio.run(main())
    said = [json.loads(line) for line in os.read(reader, 65536).splitlines() if line]  # others are beats
    assert {"ready": True} in said


def test_what_keeps_the_view_in_step_begins_anew_after_a_fault(process, monkeypatch, caplog):
    made, _ = process
    begun, again = [], asyncio.Event()

    async def run(_watcher):
        begun.append(1)
        if len(begun) == 1:
            raise RuntimeError("a bug")
        again.set()

    monkeypatch.setattr(Watcher, "run", run)
    monkeypatch.setitem(Tasks.keep.__kwdefaults__, "again_s", 0.0)
    with ledger_of(made.settings):
        pass

    async def main():
        async with judging(made, cache_file(made.settings, "gate-0")):
            await asyncio.wait_for(again.wait(), 60)

    asyncio.run(main())
    assert "RuntimeError: a bug" in caplog.text


def test_a_ledger_that_stays_damaged_is_told(process, monkeypatch):
    made, _ = process
    tries = []

    def broken(*_, **__):
        tries.append(1)
        raise LedgerError("damaged")

    monkeypatch.setattr(module, "open_ledger", broken)
    monkeypatch.setattr(module, "MENDING_S", 0.5)

    async def main():
        async with judging(made, cache_file(made.settings, "gate-0")):
            raise AssertionError

    with pytest.raises(LedgerError, match="damaged"):
        asyncio.run(main())
    assert len(tries) > 1
