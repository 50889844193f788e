"""Serving a listening socket that somebody else opened.

`ServerInstance` of mitmproxy opens its own sockets; a worker gets its socket from the supervisor, so the
accept loop is ours and only the top layer comes from mitmproxy's instance.

Taking a client in costs next to nothing: layers and tasks are made when its turn comes (`fair_selector.py`),
and where clients speak first not before it has sent something. Thousands that only connect keep nobody
waiting.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Sequence
from ipaddress import ip_network
from typing import Any

from mitmproxy import platform
from mitmproxy.proxy import mode_specs
from mitmproxy.proxy.mode_servers import ServerInstance

from secondlook.agent import metrics
from secondlook.core.proxy_header import (
    LONGEST_BYTES,
    Place,
    ProxyHeader,
    ProxyHeaderError,
    begins_request,
    read_proxy_header,
)
from secondlook.core.url.address import parse_address
from secondlook.ground.tcp import BACKLOG
from secondlook.proxy.mitm.master import STREAMED_MODES, LeanMaster
from secondlook.proxy.mitm.transport import fair_selector
from secondlook.proxy.mitm.transport.connection import Connection
from secondlook.proxy.mitm.transport.connection_limits import Complaint, Crowd
from secondlook.proxy.mitm.transport.spread import AHEAD, Spread

_CUT_S = 1.0  # a connection that is cut may tidy up for so long
_OWED_S = 1.0  # a balancer's header that is on its way when a drain begins
_LOOK_S = 0.02
_AT_A_TIME = 64  # clients taken in before others are served
_AGAIN_S = 0.2
_HEADER_S = 10.0  # a balancer that has to name whose connection it is, and has not
_SILENT_S = 60.0  # a client that has to speak first, and has not
_SILENT_MODES = mode_specs.TransparentMode | mode_specs.ReverseMode  # there the origin may speak first
_HTTP_MODES = mode_specs.RegularMode | mode_specs.UpstreamMode | mode_specs.ReverseMode
_READ_BYTES = 1 << 16
_TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 46\r\n"
    b"Retry-After: 5\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    b"this proxy has too many connections from here\n"
)

logger = logging.getLogger(__name__)


class Listener:
    """Accepts connections on inherited sockets and serves them in one of mitmproxy's modes."""

    def __init__(
        self,
        master: LeanMaster,
        mode: str,
        sockets: Sequence[socket.socket],
        crowd: Crowd,
        balancers: Sequence[str] = (),
        spread: Spread | None = None,
    ) -> None:
        self._master = master
        self._mode = mode_specs.ProxyMode.parse(mode)
        if self._mode.type_name not in STREAMED_MODES:
            raise ValueError(f"mode {mode} does not listen on a TCP socket that can be passed on")
        self._instance: ServerInstance[Any] = ServerInstance.make(self._mode, master.proxyserver)
        self._sockets = tuple(sockets)
        self._crowd = crowd
        self._spread = spread
        self._balancers = tuple(map(ip_network, balancers))
        self._connections: set[asyncio.Task[None]] = set()
        self._guests: set[_Guest] = set()  # whose turn has not come
        self._accepting = False
        self._complain = Complaint(logger.warning)

    async def start(self) -> None:
        """Begin to accept."""
        self._accepting = True
        for sock in self._sockets:
            sock.setblocking(False)
            sock.listen(BACKLOG)
            self._listen(sock)

    def _listen(self, sock: socket.socket) -> None:
        if self._accepting:
            asyncio.get_running_loop().add_reader(sock, self._accept, sock)

    def _accept(self, sock: socket.socket) -> None:
        """Accept the connections that wait, or leave them to the other workers first."""
        room = self._spread.room() if self._spread is not None else _AT_A_TIME
        if room:
            self._take(sock, min(room, _AT_A_TIME))
        else:
            loop = asyncio.get_running_loop()
            loop.remove_reader(sock)
            assert self._spread is not None
            loop.call_later(self._spread.pause_s, self._take_after_all, sock)

    def _take_after_all(self, sock: socket.socket) -> None:
        if self._accepting:
            self._listen(sock)
            self._take(sock, AHEAD)

    def _take(self, sock: socket.socket, most: int) -> None:
        """Accept the connections that wait, a few at a time.

        Where descriptors are wanting, asyncio's own loop tries again as often as its backlog is long, with a
        traceback and a timer each time.
        """
        loop = asyncio.get_running_loop()
        for _ in range(most):
            try:
                client, address = sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptors or memory: those that wait go on waiting
                self._complain(f"cannot take in a client, trying again in {_AGAIN_S:g} s: {error}")
                loop.remove_reader(sock)
                loop.call_later(_AGAIN_S, self._listen, sock)
                return
            client.setblocking(False)
            balancer = self._is_balancer(address[0])
            if not self._crowd.admits(address[0], for_many=balancer):
                self._turn_away(client, address[0])
                continue
            guest = _Guest(client, self._guests)
            self._count(guest, address[0])
            if balancer:
                self._await_header(guest)
            else:
                self._welcome(guest)

    def _is_balancer(self, address: str) -> bool:
        place = parse_address(address) if self._balancers else None
        return place is not None and any(place in network for network in self._balancers)

    def _count(self, guest: "_Guest", address: str) -> None:
        guest.leaves = (fair_selector.assign(guest.socket, address), self._crowd.add(guest, address))

    def _welcome(self, guest: "_Guest") -> None:
        """Have a client wait for its turn."""
        loop = asyncio.get_running_loop()
        if isinstance(self._mode, _SILENT_MODES):
            loop.add_writer(guest.socket, self._begin, guest)
        else:
            loop.add_reader(guest.socket, self._hear, guest)
            guest.timer = loop.call_later(_SILENT_S, guest.end)

    def _await_header(self, guest: "_Guest") -> None:
        """Have a connection of a balancer wait until that has named whose it is, or speaks HTTP."""
        loop = asyncio.get_running_loop()
        guest.owes_header = True
        loop.add_reader(guest.socket, self._hear_header, guest)
        guest.timer = loop.call_later(
            _HEADER_S,
            self._close_balancers,
            guest,
            f"it sent neither a PROXY header nor a request within {_HEADER_S:g} s",
        )

    def _close_balancers(self, guest: "_Guest", why: object) -> None:
        self._complain(f"a load balancer's connection is closed: {why} (see `clients.balancers`)")
        guest.end()

    def _hear_header(self, guest: "_Guest") -> None:
        try:
            header = guest.read_header()
        except ProxyHeaderError as error:
            self._close_balancers(guest, error)
            return
        except OSError:  # a health check that only connects, or what the balancer gave up
            guest.end()
            return
        if header is None:
            return
        if not header.size and not isinstance(self._mode, _HTTP_MODES):
            self._close_balancers(guest, "it does not begin with a PROXY header")
            return
        guest.owes_header = False
        guest.stop_listening()
        if header.source is not None:
            guest.peer, guest.target = header.source, header.destination
            guest.left()
            if not self._crowd.admits(header.source[0]):
                guest.stop_waiting()
                self._turn_away(guest.socket, header.source[0])
                return
            self._count(guest, header.source[0])
        self._welcome(guest)

    def _hear(self, guest: "_Guest") -> None:
        if guest.has_gone():
            guest.end()
        else:
            self._begin(guest)

    def _begin(self, guest: "_Guest") -> None:
        guest.stop_waiting()
        task = asyncio.get_running_loop().create_task(self._serve(guest), name="client")
        task.add_done_callback(guest.left)
        if not task.done():
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

    def _turn_away(self, client: socket.socket, address: str) -> None:
        """Report to a client that there are too many, where it speaks HTTP first, and close."""
        self._complain(
            f"{address} has too many connections, or all clients together have: one is refused "
            "(see `limits.connections` in proxy.yaml)"
        )
        metrics.CLIENTS_REFUSED.inc()
        with client:
            if isinstance(self._mode, mode_specs.RegularMode | mode_specs.UpstreamMode):
                with contextlib.suppress(OSError):
                    client.send(_TOO_MANY)
                    client.shutdown(socket.SHUT_WR)
                with contextlib.suppress(OSError):
                    client.recv(_READ_BYTES)  # what is left unread would take the answer back

    def addresses(self) -> list[tuple[str, int]]:
        """List the addresses that are listened on."""
        return [sock.getsockname()[:2] for sock in self._sockets]

    @property
    def open_connections(self) -> int:
        """How many clients are connected."""
        return len(self._crowd)

    async def drain(self, timeout_s: float) -> None:
        """Accept no more, and give the connections that are open `timeout_s` to end."""
        self._accepting = False
        sockets, self._sockets = self._sockets, ()
        for sock in sockets:
            self._take(sock, BACKLOG)  # who is connected already is served; of the others all may stop
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()
        now = asyncio.get_running_loop().time
        end = now() + _OWED_S
        while any(guest.owes_header for guest in self._guests) and now() < end:  # noqa: ASYNC110 - short
            await asyncio.sleep(_LOOK_S)
        for guest in tuple(self._guests):
            if guest.owes_header:
                guest.end()  # nothing of it can be served
            elif guest in self._guests:
                self._begin(guest)
        if self._connections:
            await asyncio.wait(self._connections, timeout=timeout_s)
        for task in tuple(self._connections):
            task.cancel("the proxy stops")
        if self._connections:
            await asyncio.wait(self._connections, timeout=_CUT_S)

    async def _serve(self, guest: "_Guest") -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        reader.feed_data(guest.heard)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        try:
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, guest.socket)
        except OSError:
            guest.socket.close()
            return
        if transport.get_extra_info("peername") is None:  # it has gone
            transport.abort()
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        handler = Connection(self._master, reader, writer, self._master.options, self._mode)
        context = handler.layer.context
        if guest.peer is not None and guest.target is not None:
            context.client.peername, context.client.sockname = guest.peer, guest.target
        handler.layer = self._instance.make_top_layer(context)
        if isinstance(self._mode, mode_specs.TransparentMode):
            destination = _destination(writer)
            if destination is None:
                writer.close()
                return
            context.client.sockname = destination
            context.server.address = destination
        guest.handler = handler
        with self._master.proxyserver.register_connection(context.client.id, handler):
            await handler.handle_client()


class _Guest:
    """A client from the moment it is taken in; until its turn comes it is a socket and a timer."""

    handler: Connection | None = None
    timer: asyncio.TimerHandle | None = None
    leaves: tuple[Callable[[], None], ...] = ()
    owes_header = False  # a balancer has not yet named whose connection it is
    peer: Place | None = None  # who connected to the balancer in front
    target: Place | None = None  # and to which of its addresses

    def __init__(self, sock: socket.socket, waiting: "set[_Guest]") -> None:
        self.socket = sock
        self.heard = b""  # of the first words of a balancer
        self._waiting = waiting
        waiting.add(self)

    def is_idle(self) -> bool:
        """Return whether nobody waits for anything here."""
        return self in self._waiting if self.handler is None else self.handler.is_idle()

    def end(self) -> None:
        """Close it now."""
        if self.handler is not None:
            self.handler.end()
        elif self in self._waiting:
            self.stop_waiting()
            self.socket.close()
            self.left()

    def has_gone(self) -> bool:
        """Return whether it has closed its connection without a word."""
        try:
            return not self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def read_header(self) -> ProxyHeader | None:
        """Take a PROXY header off the connection, and nothing behind it; None while it is not whole.

        One of no size where a request begins instead: `heard` has what was taken of that.
        Raises ProxyHeaderError, OSError.
        """
        try:
            came = self.socket.recv(LONGEST_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            return None
        if not came:
            if self.heard:
                raise ProxyHeaderError("it ended within its PROXY header")
            raise ConnectionAbortedError
        if begins_request(self.heard + came):
            return ProxyHeader(0)
        header = read_proxy_header(self.heard + came)
        size = len(came) if header is None else header.size - len(self.heard)
        self.heard += self.socket.recv(size)
        if header is not None:
            self.heard = b""
        return header

    def stop_waiting(self) -> None:
        """Be served, or be gone."""
        self._waiting.discard(self)
        self.stop_listening()

    def stop_listening(self) -> None:
        """Be called by nothing any more."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self.socket)
        loop.remove_writer(self.socket)
        if self.timer is not None:
            self.timer.cancel()

    def left(self, _: object = None) -> None:
        """Count it out, and let go of what served it."""
        leaves, self.leaves, self.handler = self.leaves, (), None
        for leave in leaves:
            leave()


def _destination(writer: asyncio.StreamWriter) -> tuple[str, int] | None:
    """Return where a redirected connection was going; None, and a line in the log, when nowhere."""
    try:
        assert platform.original_addr is not None
        destination = platform.original_addr(writer.get_extra_info("socket"))
    except (OSError, ValueError, RuntimeError, AssertionError) as error:
        logger.warning("it is not known where a redirected connection was going: %r", error)
        return None
    if destination[:2] == writer.get_extra_info("sockname")[:2]:  # we would connect to ourselves, without end
        logger.warning("a client asked the transparent proxy itself: its connections must be redirected")
        return None
    return destination
