"""A clock that was set leaves a line in the log. Virtual time."""

import asyncio

import pytest

from agentkit.ledger import FakeLedger
from agentkit.virtual import FakeClock, VirtualLoop
from secondlook.run.diagnosis.clock_watch import watch_clock


@pytest.fixture
def details():
    """What is logged when the clock is moved by so many seconds, one after the other."""
    loop = VirtualLoop()
    clock = FakeClock(loop)
    ledger = FakeLedger(clock)

    async def scene(jumps):
        watching = asyncio.create_task(watch_clock(ledger.recorder, clock))
        for jump_s in jumps:
            await asyncio.sleep(20.0)
            clock.jump(jump_s)
        await asyncio.sleep(20.0)
        watching.cancel()
        return [event.detail for event in ledger.recorded]

    yield lambda *jumps: loop.run_until_complete(scene(jumps))
    loop.close()


def test_each_jump_is_told_once(details):
    assert details(60 * 86_400.0, -60 * 86_400.0, 600.0, -5 * 3600.0) == [
        "the clock was set forward by 60 days; nothing expires because of it",
        "the clock was set back by 60 days; nothing expires because of it",
        "the clock was set forward by 10 minutes; nothing expires because of it",
        "the clock was set back by 5 hours; nothing expires because of it",
    ]


def test_a_clock_that_is_kept_right_is_no_news(details):
    assert details(0.5, -0.5, 30.0) == []
