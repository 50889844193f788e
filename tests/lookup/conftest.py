import asyncio
import contextlib
import time

import pytest

from lookup.certificates import Authority
from lookup.serving import V5Server
from secondlook.config.query import RemoteServer, ServersSettings
from secondlook.lookup.client import ServerClient
from secondlook.lookup.tiered import TieredLookup


@pytest.fixture
def run():
    """Run a coroutine function in an event loop that must be left clean."""

    def go(main):
        async def whole():
            async with contextlib.AsyncExitStack() as stack:
                await main(stack)

        asyncio.run(whole())

    return go


class Events:
    def __init__(self):
        self.seen = []

    def record(self, event):
        self.seen.append(event)

    def details(self, server=None):
        return [event.detail for event in self.seen if server in {None, event.server}]


@pytest.fixture
def events():
    return Events()


@pytest.fixture
def make_lookup(events):
    """Give a started lookup for servers, closed with the stack; keyword arguments are `servers` settings."""

    async def make(stack, *, heartbeat_s=None, upstream_proxy=None, worker=None, **settings):
        settings.setdefault("embedded", False)
        settings.setdefault("attempt_timeout", 10.0)  # a busy machine is no server that is away
        lookup = TieredLookup(
            ServersSettings.model_validate(settings),
            record=events.record,
            heartbeat_s=heartbeat_s,
            upstream_proxy=upstream_proxy,
            worker=worker,
        )
        stack.push_async_callback(lookup.aclose)
        await lookup.start()
        return lookup

    return make


@pytest.fixture
def serve():
    """Start a truthful server, stopped with the stack."""

    async def make(stack, *, tls=None):
        server = await V5Server(tls=tls).start()
        stack.push_async_callback(server.stop)
        return server

    return make


@pytest.fixture
def soon():
    """Give a deadline in the monotonic clock."""
    return lambda seconds=30.0: time.monotonic() + seconds


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def client():
    """Make clients that are closed with the stack."""

    def make(stack, url, *, upstream_proxy=None, max_lists_bytes=1 << 20, **settings):
        server = RemoteServer.model_validate({"url": url, **settings})
        made = ServerClient(server, upstream_proxy=upstream_proxy, max_lists_bytes=max_lists_bytes)
        stack.push_async_callback(made.aclose)
        return made

    return make
