"""Connections to origins: several addresses, dead ones among them, and none left behind."""

import asyncio
import errno
import gc
import socket

import pytest

from secondlook.proxy.mitm.transport.dialing import connect
from secondlook.resolver import Place


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def four(text):
    return Place(socket.AF_INET, text)


def test_the_first_that_answers_is_taken(listening):
    async def scene():
        with await connect([four("127.0.0.3"), four("127.0.0.1")], listening) as sock:
            assert sock.getpeername()[0] == "127.0.0.1"

    asyncio.run(scene())


def test_families_take_turns(monkeypatch):
    tried = []

    async def attempt(place, _port, _local):
        tried.append(place.text)
        raise OSError(errno.ECONNREFUSED, place.text)

    monkeypatch.setattr("secondlook.proxy.mitm.transport.dialing._attempt", attempt)
    six = [Place(socket.AF_INET6, f"2001:db8::{n}") for n in range(3)]
    with pytest.raises(OSError, match="2001:db8::0"):
        asyncio.run(connect([*six, four("192.0.2.1")], 80))
    assert tried == ["2001:db8::0", "192.0.2.1", "2001:db8::1", "2001:db8::2"]


def test_a_silent_address_is_not_waited_for(listening):
    async def scene():
        with socket.create_server(("127.0.0.2", listening), backlog=0) as silent:
            crowd = []
            for _ in range(4):  # fills the queue of connections that nobody accepts
                one = socket.socket()
                one.setblocking(False)
                one.connect_ex(silent.getsockname())
                crowd.append(one)
            found = [four("127.0.0.2"), four("127.0.0.1")]
            with await connect(found, listening, stagger_s=0.01) as sock:
                assert sock.getpeername()[0] == "127.0.0.1"
            for one in crowd:
                one.close()
        await asyncio.sleep(0)

    asyncio.run(scene())
    gc.collect()  # a socket left open would be a ResourceWarning, which is an error here


def test_who_gives_up_leaves_no_socket(listening):
    async def scene():
        waiting = asyncio.ensure_future(
            connect([four("127.0.0.1"), four("127.0.0.3")], listening, stagger_s=60)
        )
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.sleep(0.01)

    asyncio.run(scene())
    gc.collect()


def test_the_first_addresss_error_is_told():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    async def scene():
        with pytest.raises(ConnectionRefusedError, match=r"127\.0\.0\.4"):
            await connect([four("127.0.0.4"), four("127.0.0.3")], port)

    asyncio.run(scene())
