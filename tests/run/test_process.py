"""What a child reports of itself: that it is ready, and from then on that its event loop comes round."""

import asyncio
import contextlib
import os
import time

import pytest

from secondlook.run import process
from secondlook.run.process import Process
from secondlook.run.supervisor.child import Child

FAST_S = 0.01
FEW = 5
GIVING: list[int] = []


@pytest.fixture
def child(monkeypatch):
    monkeypatch.setattr(process, "BEAT_S", FAST_S)
    monkeypatch.setattr("gc.freeze", lambda: None)
    monkeypatch.setattr(process, "keep_giving_back", lambda: GIVING.append(1))
    GIVING.clear()
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield Process(None, None, 0, "worker 0", writer), Child("worker", 0, pipe=reader)
    os.close(reader)
    os.close(writer)


async def beats(pipe: int) -> None:
    """Wait until a few more were written."""
    heard = b""
    async with asyncio.timeout(60):
        while heard.count(b"\n") < FEW:
            await asyncio.sleep(FAST_S)
            try:
                heard += os.read(pipe, 65536)
            except BlockingIOError:
                continue
    assert heard.strip() == b""


def test_from_ready_on_the_loop_beats_until_it_is_held(child):
    ours, theirs = child

    async def scene():
        ours.report(pattern="7")
        await asyncio.sleep(FEW * FAST_S)
        assert theirs.hear() == [{"pattern": "7"}]
        assert theirs.hear() == []  # silent until it is ready
        assert not GIVING
        ours.report_ready()
        assert GIVING, "what is free goes back from now on"
        assert theirs.hear() == [{"ready": True}]
        theirs.silent_s = 3.0
        await beats(theirs.pipe)
        time.sleep(FEW * FAST_S)  # noqa: ASYNC251 - it is held
        theirs.hear()
        time.sleep(FEW * FAST_S)  # noqa: ASYNC251
        with pytest.raises(BlockingIOError):
            os.read(theirs.pipe, 1)
        await beats(theirs.pipe)

    asyncio.run(scene())


def test_a_supervisor_that_stands_still_holds_up_no_child(child):
    ours, theirs = child
    os.set_blocking(ours._pipe, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(ours._pipe, bytes(65536))  # nobody reads any more
    os.set_blocking(ours._pipe, True)

    async def scene():
        ours._beat(asyncio.get_running_loop())
        await asyncio.sleep(FEW * FAST_S)

    asyncio.run(scene())
    while True:
        try:
            assert b"\n" not in os.read(theirs.pipe, 65536)
        except BlockingIOError:
            break
