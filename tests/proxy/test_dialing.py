"""Connections to origins: several addresses, dead ones among them, and none left behind."""

import asyncio
import collections
import contextlib
import errno
import gc
import socket

import pytest
from mitmproxy.connection import Server
from mitmproxy.proxy import commands, events
from mitmproxy.test.tflow import tclient_conn

from proxykit.http2 import Client
from proxykit.origin import send
from secondlook.proxy.mitm.transport import dialing
from secondlook.proxy.mitm.transport.dialing import Dialer, connect
from secondlook.resolver import Place, Resolver
from serverkit.ports import free_port


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def four(text):
    return Place(socket.AF_INET, text)


@contextlib.contextmanager
def full(silent):
    """Fill the queue of connections that nobody accepts: whoever comes now gets no answer."""
    with contextlib.ExitStack() as crowd:
        for _ in range(4):
            one = crowd.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(silent.getsockname())
        yield


class Handler:
    """What a dialer asks of a client's connection, and what it was given."""

    def __init__(self):
        self.client = tclient_conn()
        self.max_conns = collections.defaultdict(lambda: asyncio.Semaphore(5))
        self.transports = {}
        self.hooks: asyncio.Queue = asyncio.Queue()
        self.errors: asyncio.Queue = asyncio.Queue()

    def log(self, _message):
        pass

    async def handle_hook(self, hook):
        self.hooks.put_nowait(hook)

    async def handle_connection(self, connection):
        self.transports.pop(connection).writer.close()

    async def server_event(self, event):
        assert isinstance(event, events.OpenConnectionCompleted)
        self.errors.put_nowait(event.reply)


class Open:
    def judged(self, _client, _destination, places, _listening=None):
        return places, ""


def test_who_is_being_connected_to_counts_as_connected(listening):
    """A socket of nobody's answer takes a descriptor for two minutes: those of all would soon be taken."""

    async def scene():
        handler, dialer = Handler(), Dialer(Open(), Resolver(), most=1)
        with socket.create_server(("127.0.0.2", listening), backlog=0) as silent, full(silent):
            first = asyncio.ensure_future(
                dialer.open(handler, commands.OpenConnection(Server(address=("127.0.0.2", listening))))
            )
            await handler.hooks.get()
            second = commands.OpenConnection(Server(address=("127.0.0.1", listening)))
            await dialer.open(handler, second)
            assert "too many connections" in await handler.errors.get()
            first.cancel()
            await asyncio.wait((first,))
            assert await handler.errors.get() == "connection cancelled"
        closed = commands.OpenConnection(Server(address=("127.0.0.3", 9)))
        await dialer.open(handler, closed)
        assert "Connect call failed" in await handler.errors.get(), "the place is free again"

    asyncio.run(scene())


def test_who_waits_for_long_for_its_turn_is_connected(listening, monkeypatch):
    """Answers that are meant to last, of which a client may await many, keep it from nothing else there."""
    monkeypatch.setattr(dialing, "TURN_S", 0.01)

    async def scene():
        handler, dialer = Handler(), Dialer(Open(), Resolver())
        turns = handler.max_conns["127.0.0.1", listening]
        for _ in range(5):
            await turns.acquire()
        one = asyncio.ensure_future(
            dialer.open(handler, commands.OpenConnection(Server(address=("127.0.0.1", listening))))
        )
        assert await handler.errors.get() is None
        await one
        assert not turns.locked()  # those that last count no more
        await dialer.open(handler, commands.OpenConnection(Server(address=("127.0.0.1", listening))))
        assert not turns.locked()

    asyncio.run(scene())


def test_those_who_wait_for_long_are_not_connected_at_once(listening, monkeypatch):
    """A page of many pictures would come upon its origin with all of them, when the first second is over."""
    monkeypatch.setattr(dialing, "TURN_S", 0.01)
    begun = []

    class Noting(Resolver):
        async def places(self, host, **asker):
            begun.append(host)
            monkeypatch.setattr(dialing, "TURN_S", 1000)  # for whoever is next
            return await super().places(host, **asker)

    async def scene():
        handler, dialer = Handler(), Dialer(Open(), Noting())
        handler.handle_connection = lambda _: go_on.wait()
        go_on = asyncio.Event()
        turns = handler.max_conns["127.0.0.1", listening]
        for _ in range(5):
            await turns.acquire()
        all_of_them = [
            asyncio.ensure_future(
                dialer.open(handler, commands.OpenConnection(Server(address=("127.0.0.1", listening))))
            )
            for _ in range(3)
        ]
        assert await handler.errors.get() is None
        assert len(begun) == 1
        go_on.set()
        await asyncio.gather(*all_of_them)
        assert len(begun) == 3
        for io in handler.transports.values():
            io.writer.close()

    asyncio.run(scene())


def test_a_client_of_http2_may_await_many_answers_of_an_http1_origin(proxy, make_origin, monkeypatch):
    monkeypatch.setattr(dialing, "TURN_S", 0.01)
    all_here = asyncio.Barrier(8)

    async def reply(_, writer):
        await all_here.wait()
        await send(writer, b"ok", "Content-Type: text/plain")

    origin = make_origin(reply, tls=True)
    with Client(proxy.port, origin.port, proxy.ca) as client:
        client.finish(*[client.ask(client.head()) for _ in range(8)])
        assert [got.body for got in client.got.values()] == [b"ok"] * 8


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
            found = [four("127.0.0.2"), four("127.0.0.1")]
            with full(silent), await connect(found, listening, stagger_s=0.01) as sock:
                assert sock.getpeername()[0] == "127.0.0.1"
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
    async def scene():
        with pytest.raises(ConnectionRefusedError, match=r"127\.0\.0\.4"):
            await connect([four("127.0.0.4"), four("127.0.0.3")], free_port())

    asyncio.run(scene())
