"""A child that is ended is gone, whatever happens to whoever ends it."""

import asyncio
import signal
import sys

import pytest

from secondlook.ground.children import end_child


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
