"""Background work: its end is logged, and what is kept begins anew."""

import asyncio

import pytest

from secondlook.ground.tasks import Tasks, woken


def test_the_end_by_an_error_is_logged(caplog):
    async def story():
        async def work():
            raise ValueError("why")

        tasks = Tasks()
        tasks.start("the work", work())
        await asyncio.sleep(0)
        await tasks.aclose()

    asyncio.run(story())
    [record] = caplog.records
    assert record.getMessage() == "the work stopped working"
    assert "ValueError: why" in caplog.text


def test_what_is_kept_begins_anew_after_an_error(caplog):
    async def story():
        begun, again, ended = [], asyncio.Event(), asyncio.Event()

        async def work():
            begun.append(len(begun))
            if len(begun) <= 2:
                raise OSError("no space")
            again.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        tasks = Tasks()
        tasks.keep("the work", work, again_s=0.0)
        await again.wait()
        await tasks.aclose()
        assert begun == [0, 1, 2]
        assert ended.is_set()

    asyncio.run(story())
    assert [record.getMessage() for record in caplog.records] == [
        "the work stopped working; it begins anew in 0 s"
    ] * 2


def test_what_is_kept_and_ends_by_itself_is_over(caplog):
    async def story():
        begun = []

        async def work():
            begun.append(None)

        tasks = Tasks()
        tasks.keep("the work", work, again_s=0.0)
        for _ in range(10):
            await asyncio.sleep(0)
        await tasks.aclose()
        assert len(begun) == 1

    asyncio.run(story())
    assert not caplog.records


@pytest.mark.parametrize(("within_s", "wakes"), [(0.001, False), (None, True), (60.0, True)])
def test_who_waits_goes_on_when_woken_or_when_the_time_is_over(within_s, wakes):
    async def scene():
        wake = asyncio.Event()
        if wakes:
            asyncio.get_running_loop().call_soon(wake.set)
        async with asyncio.timeout(30.0):
            await woken(wake, within_s)
        return wake.is_set()

    assert asyncio.run(scene()) is wakes
