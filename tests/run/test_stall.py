"""The stall watch on a real loop, held for as long as it takes the watch to notice."""

import asyncio
import json
import re
import sys
import time

import pytest

from agentkit.ledger import FakeLedger
from secondlook.agent import metrics
from secondlook.run.diagnosis import stall
from secondlook.run.diagnosis.stall import NOT_RUN, Stall, StallReporter, StallWatch

TICK_S = 0.01
PATIENCE_S = 20


def hold(watch: StallWatch) -> None:
    """Hold the loop until the watch has seen it a few times."""
    end = time.monotonic() + PATIENCE_S
    while sum(watch.places.values()) < 5 and time.monotonic() < end:
        time.sleep(0.01)


@pytest.fixture
def reported():
    """What is reported when the loop is held, by how much processor time the process has used."""

    async def scene(processor_s):
        found: list[Stall] = []
        watch = StallWatch(found.append, tick_s=TICK_S, stall_s=0.04, processor_s=processor_s)
        running = asyncio.create_task(watch.run())
        await asyncio.sleep(0)  # not for long: a busy machine would hold the loop in our place
        hold(watch)
        async with asyncio.timeout(PATIENCE_S):
            while not found:
                await asyncio.sleep(TICK_S)
        running.cancel()
        return found

    return lambda processor_s: asyncio.run(scene(processor_s))


def test_a_held_loop_is_reported_with_what_held_it(reported):
    [found, *_] = reported(time.monotonic)  # it ran all the time
    assert found.lateness_s >= 0.04
    assert re.fullmatch(r"\S*test_stall\.hold \(line \d+\)", found.place)


def test_a_process_that_used_no_processor_may_not_have_got_any(reported):
    [found, *_] = reported(lambda: 0.0)
    assert found.place.endswith(f"or {NOT_RUN}")


def test_each_round_is_counted_by_its_lateness(reported):
    def rounds() -> float:
        [family] = metrics.LOOP_LATENESS.collect()
        return next(sample.value for sample in family.samples if sample.name.endswith("_count"))

    before = rounds()
    reported(time.monotonic)
    assert rounds() > before


def test_a_function_of_a_library_is_named_with_the_one_of_ours_that_called_it(monkeypatch):
    monkeypatch.setattr(stall, "OURS", __name__)

    def default(_: object) -> str:
        return stall.place_of(sys._getframe(1))  # where the library stands

    told = json.loads(json.dumps({"place": object()}, default=default, indent=1))["place"]
    assert re.match(r"json\.encoder\.\S+ \(line \d+\), called by \S*test_stall\.test_a_function", told)


class Instants:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def now(self) -> float:
        return 1_700_000_000.0 + self.at

    def monotonic(self) -> float:
        return self.at

    def elapsed(self) -> float:
        return self.at


def test_one_event_a_minute_that_counts_the_others():
    clock = Instants()
    ledger = FakeLedger(clock)
    report = StallReporter(ledger.recorder, clock, "worker 1")
    for _ in range(3):
        report(Stall(1.5, "h2.connection.receive_data (line 1)"))
    clock.at += stall.QUIET_S
    report(Stall(2.5, "elsewhere"))
    first, second = ledger.recorded
    assert first.detail == "the event loop stood still for 1.5 s: h2.connection.receive_data (line 1)"
    assert first.extra == {"process": "worker 1"}
    assert second.detail == "the event loop stood still for 2.5 s: elsewhere; 2 more since the last report"
