"""Connections to origins: a name is resolved once, its addresses are judged, and one of them is connected to.

mitmproxy resolves in `asyncio.open_connection`, after whatever a hook found out: a name that answers
otherwise the second time (DNS rebinding) led to where nobody had looked. Here nothing is resolved twice. This
stands in for `open_connection` of every handler (our listener's, WireGuard's, those of `mitmdump -s`).

Several addresses are tried as in RFC 8305: families in turn, the next one when the last has failed or has
not answered for a quarter of a second.

A client has five connections at a time to the same address, about as many as a browser has. Over HTTP/2 it
may ask for more, and each request to an HTTP/1 origin has its own: those beyond wait for a turn. Where none
has come for a second, what keeps the others busy are answers that are meant to last: there is one turn more
then. Not one for everybody who waits, or a page of many pictures would come upon its origin at once.
"""

import asyncio
import collections
import contextlib
import errno
import socket
import time
import weakref
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from itertools import chain, zip_longest
from typing import Final, Protocol

import mitmproxy_rs
from mitmproxy.connection import ConnectionState, Server
from mitmproxy.proxy import commands, events, server_hooks
from mitmproxy.proxy.server import ConnectionHandler, ConnectionIO
from mitmproxy.utils import human

from secondlook.proxy.mitm.transport import fair_selector
from secondlook.proxy.request import listening, peer_text
from secondlook.resolver import Place, Resolver

STAGGER_S: Final = 0.25  # RFC 8305, 8: Connection Attempt Delay
TURN_S: Final = 1.0  # so long the next connection waits for others of its client to the same address


class ClosedError(OSError):
    """A destination is closed; the message is one of the reasons in `access.py`."""


class Judgement(Protocol):
    """Whoever knows which addresses are open to a client."""

    def judged(
        self,
        client: str | None,
        destination: tuple[str, int],
        places: Sequence[Place],
        listening: tuple[str, int] | None = None,
    ) -> tuple[Sequence[Place], str]:
        """Return those addresses of a destination that are open to a client; where none is, the reason."""


class Dialer:
    """Opens connections to origins for one worker, at most `most` at a time."""

    def __init__(self, access: Judgement, resolver: Resolver, most: int | None = None) -> None:
        self._access = access
        self._resolver = resolver
        self._most = most
        self._open = 0
        self._next: weakref.WeakKeyDictionary[asyncio.Semaphore, asyncio.Lock] = weakref.WeakKeyDictionary()

    async def open(self, handler: ConnectionHandler, command: commands.OpenConnection) -> None:
        """Do what `ConnectionHandler.open_connection` does, to an address that was judged."""
        server = command.connection
        assert isinstance(server, Server)
        if not server.address:
            error = "cannot open a connection: no host is known"
            await handler.server_event(events.OpenConnectionCompleted(command, error))
            return
        data = server_hooks.ServerConnectionHookData(client=handler.client, server=server)
        await handler.handle_hook(server_hooks.ServerConnectHook(data))
        if server.error:
            await self._fail(handler, command, data, f"Connection killed: {server.error}")
            return
        async with self._turn(handler.max_conns[server.address]):
            with contextlib.ExitStack() as held:
                try:
                    server.timestamp_start = time.time()
                    places = await self._places(handler, server)
                    held.enter_context(self._one_more())
                    io = await self._reach(server, places)
                except ClosedError as error:
                    server.error = str(error)
                    await self._fail(handler, command, data, f"Connection killed: {error}")
                except (OSError, asyncio.CancelledError) as error:
                    server.error = str(error) or "connection cancelled"
                    await self._fail(handler, command, data, server.error)
                    if isinstance(error, asyncio.CancelledError):
                        raise
                else:
                    assert io.writer is not None
                    sock = io.writer.get_extra_info("socket", None)
                    held.callback(fair_selector.assign(sock, peer_text(handler.client.peername)))
                    await self._serve(handler, command, data, io)

    @contextlib.asynccontextmanager
    async def _turn(self, turns: asyncio.Semaphore) -> AsyncIterator[None]:
        """Wait for a turn, but not for good: five long polls would keep their client from all else there."""
        async with self._next.setdefault(turns, asyncio.Lock()):  # who is next; the others wait behind it
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TURN_S):
                    await turns.acquire()
        try:
            yield
        finally:
            turns.release()  # where none was free in time, there is one more from now on

    @contextlib.contextmanager
    def _one_more(self) -> Iterator[None]:
        """Count a connection from its first attempt on, which takes a descriptor; raise OSError for want."""
        if self._most is not None and self._open >= self._most:
            raise OSError(errno.EMFILE, "too many connections to origins are open")
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    async def _serve(
        self,
        handler: ConnectionHandler,
        command: commands.OpenConnection,
        data: server_hooks.ServerConnectionHookData,
        io: ConnectionIO,
    ) -> None:
        server = data.server
        assert io.writer is not None
        if server.transport_protocol == "tcp":
            server.timestamp_tcp_setup = time.time()
        server.state = ConnectionState.OPEN
        server.peername = io.writer.get_extra_info("peername")
        server.sockname = io.writer.get_extra_info("sockname")
        handler.transports[server] = io
        where = human.format_address(server.address)
        handler.log(f"server connect {where} ({human.format_address(server.peername)})")
        await handler.handle_hook(server_hooks.ServerConnectedHook(data))
        await handler.server_event(events.OpenConnectionCompleted(command, None))
        try:
            await handler.handle_connection(server)
        finally:
            handler.log(f"server disconnect {where}")
            server.timestamp_end = time.time()
            await handler.handle_hook(server_hooks.ServerDisconnectedHook(data))

    @staticmethod
    async def _fail(
        handler: ConnectionHandler,
        command: commands.OpenConnection,
        data: server_hooks.ServerConnectionHookData,
        error: str,
    ) -> None:
        handler.log(f"cannot connect to {human.format_address(data.server.address)}: {error}")
        await handler.handle_hook(server_hooks.ServerConnectErrorHook(data))
        await handler.server_event(events.OpenConnectionCompleted(command, error))

    async def _places(self, handler: ConnectionHandler, server: Server) -> Sequence[Place]:
        """Return the addresses that are open to a client; raise OSError."""
        assert server.address is not None
        host, port = server.address[:2]
        client = peer_text(handler.client.peername)
        found = await self._resolver.places(host, asker=client or "")
        places, reason = self._access.judged(client, (host, port), found, listening(handler.client))
        if not places:
            raise ClosedError(reason)
        return places

    @staticmethod
    async def _reach(server: Server, places: Sequence[Place]) -> ConnectionIO:
        """Connect to the first judged address that answers; raise OSError."""
        assert server.address is not None
        port = server.address[1]
        task = asyncio.current_task()
        if server.transport_protocol == "udp":
            stream = await mitmproxy_rs.udp.open_udp_connection(
                places[0].text, port, local_addr=server.sockname
            )
            return ConnectionIO(handler=task, reader=stream, writer=stream)
        sock = await connect(places, port, server.sockname)
        try:
            reader, writer = await asyncio.open_connection(sock=sock)
        except BaseException:
            sock.close()
            raise
        return ConnectionIO(handler=task, reader=reader, writer=writer)


async def connect(
    places: Sequence[Place], port: int, local: tuple[str, int] | None = None, *, stagger_s: float = STAGGER_S
) -> socket.socket:
    """Connect to whichever address answers first; raises the first address' OSError where none does."""
    if len(places) == 1:
        return await _attempt(places[0], port, local)
    rest = collections.deque(_in_turn(places))
    attempts: list[asyncio.Task[socket.socket]] = []
    try:
        while True:
            running = [attempt for attempt in attempts if not attempt.done()]
            if rest:
                attempts.append(asyncio.ensure_future(_attempt(rest.popleft(), port, local)))
                running.append(attempts[-1])
            elif not running:
                break
            await asyncio.wait(
                running, timeout=stagger_s if rest else None, return_when=asyncio.FIRST_COMPLETED
            )
            for attempt in attempts:
                if attempt.done() and attempt.exception() is None:
                    attempts.remove(attempt)
                    return attempt.result()
    finally:
        for attempt in attempts:
            attempt.add_done_callback(_drop)
            attempt.cancel()
    raise attempts[0].exception() or OSError("no address")


def _in_turn(places: Sequence[Place]) -> Iterable[Place]:
    """Order addresses so that families alternate, beginning with the best one's."""
    first = [place for place in places if place.family == places[0].family]
    others = [place for place in places if place.family != places[0].family]
    return (place for place in chain.from_iterable(zip_longest(first, others)) if place is not None)


def _drop(attempt: asyncio.Task[socket.socket]) -> None:
    """Close what nobody will use; look at an error so that asyncio does not log it."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


async def _attempt(place: Place, port: int, local: tuple[str, int] | None) -> socket.socket:
    # asyncio switches Nagle's algorithm off where it sees that this is TCP
    sock = socket.socket(place.family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setblocking(False)
        if local is not None:
            sock.bind(local)
        await asyncio.get_running_loop().sock_connect(sock, place.socket_address(port))
    except BaseException:
        sock.close()
        raise
    return sock
