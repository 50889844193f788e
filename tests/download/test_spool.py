"""Bodies that wait: read as they were put, from memory or disk, within one budget, whatever the disk does."""

import asyncio
import errno
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondlook.download.gate.spool import Spool, SpoolFullError, SpoolRoom

MEMORY = 1000


@pytest.fixture
def room(tmp_path):
    room = SpoolRoom(tmp_path / "spool", max_bytes=10_000, memory_bytes=MEMORY)
    yield room
    room.close()


async def all_of(spool: Spool) -> bytes:
    out = b""
    while piece := await spool.read():
        out += piece
    return out


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(0, 700), max_size=12), skipped=st.integers(0, 3000))
def test_what_was_put_is_read_once_and_stays_whole(tmp_path_factory, sizes, skipped):
    room = SpoolRoom(tmp_path_factory.getbasetemp() / "spool", max_bytes=10_000, memory_bytes=MEMORY)
    body = b"".join(bytes((index,)) * size for index, size in enumerate(sizes))

    async def run():
        spool = Spool(room)
        for index, size in enumerate(sizes):
            spool.put(bytes((index,)) * size)
        front = min(skipped, len(body))
        spool.skip(front)
        assert (spool.size, spool.unread) == (len(body), len(body) - front)
        assert await all_of(spool) == body[front:]
        assert spool.unread == 0
        assert b"".join([piece async for piece in spool.pieces()]) == body
        spool.close()

    asyncio.run(run())
    assert room.left_bytes == 10_000
    room.close()


def test_a_small_body_stays_in_memory_and_a_larger_one_does_not(room):
    async def run():
        spool = Spool(room)
        spool.put(b"a" * MEMORY)
        assert (spool.backlog, room.left_bytes) == (0, 10_000)
        spool.put(b"b")
        assert room.left_bytes == 10_000 - MEMORY - 1
        assert spool.read_now() is None
        await spool.settle()
        assert spool.backlog == 0
        spool.close()

    asyncio.run(run())
    assert room.left_bytes == 10_000


def test_the_budget_is_shared_and_its_last_byte_is_had(room):
    async def run():
        one, two = Spool(room), Spool(room)
        one.put(b"a" * 6000)
        assert two.offer(b"b" * 4001) is not None
        assert two.size == 0
        assert two.offer(b"b" * 4000) is None
        with pytest.raises(SpoolFullError):
            one.put(b"a")
        two.close()
        one.put(b"a")
        assert await all_of(one) == b"a" * 6001
        one.close()

    asyncio.run(run())
    assert room.left_bytes == 10_000


def test_a_file_is_made_of_what_is_in_memory_and_has_no_name(room):
    async def run():
        spool = Spool(room)
        spool.put(b"hello")
        file = await spool.file()
        assert os.pread(file.fileno(), 100, 0) == b"hello"
        assert list(room.folder.iterdir()) == []
        assert await all_of(spool) == b"hello"
        spool.close()

    asyncio.run(run())


def test_a_disk_that_fails_loses_nothing_that_was_put(room, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def run():
        spool = Spool(room)
        monkeypatch.setattr(room, "open", fail)
        spool.put(b"a" * 2000)
        await spool.settle()
        assert "No space left" in str(spool.offer(b"b"))
        with pytest.raises(OSError, match="No space left"):
            await spool.file()
        assert await all_of(spool) == b"a" * 2000
        spool.close()

    asyncio.run(run())
    assert room.left_bytes == 10_000


def test_closing_twice_or_while_writing_gives_the_room_back_once(room):
    async def run():
        spool = Spool(room)
        spool.put(b"a" * 5000)
        spool.close()
        spool.close()
        await spool.settle()

    asyncio.run(run())
    assert room.left_bytes == 10_000
