"""Connections of the server, bounded: how long a request may take to come, how large its head is, how many.

```
made ──► receiving ──complete──► answering ──► idle ──first byte──► receiving …
             │ timeout_s                         │ keep-alive
             └──────────────► closed ◄───────────┘
```

A connection that would be one too many takes the place of one that keeps nobody waiting: the one that has
been receiving longest, else the one idle longest, of the same address where that has its share already.
So connections that send nothing, or a request that never ends, cost their own address and nobody else.
"""

import asyncio
import logging
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any, Final, Protocol, override

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from secondlook.config.service import LimitsSettings
from secondlook.core.url.address import counted_address

HEADER_OVERHEAD_BYTES: Final = 4  # ": " and the line's end
STALLED_S: Final = 300.0  # a slow line empties the system's own buffer before more is asked for


class Counted(Protocol):
    """A connection as it is counted."""

    address: str
    since: float

    @property
    def is_receiving(self) -> bool:
        """Return whether something is awaited of the other side."""

    @property
    def is_answering(self) -> bool:
        """Return whether the other side awaits something."""

    def end(self) -> None:
        """Close it now."""


class Connections:
    """The open connections of one server, counted by address; `is_shared` recognizes load balancers."""

    def __init__(self, limits: LimitsSettings, is_shared: Callable[[str], bool]) -> None:
        self.limits = limits
        self._is_shared = is_shared
        self._open: set[Counted] = set()
        self._of: dict[str, set[Counted]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: Counted, host: str) -> bool:
        """Count a connection in, at the cost of another where there are too many; False: there is no room."""
        address = counted_address(host)
        all_of = self.limits.connections
        share = all_of if self._is_shared(host) else self.limits.connections_per_address
        for limit, among in ((share, self._of.get(address, set())), (all_of, self._open)):
            if len(among) >= limit:
                spared = _longest_waiting(among)
                if spared is None:
                    return False
                spared.end()
        self._open.add(connection)
        self._of.setdefault(address, set()).add(connection)
        connection.address = address
        return True

    def drop(self, connection: Counted) -> None:
        """Count a connection out."""
        self._open.discard(connection)
        of_address = self._of.get(connection.address, set())
        of_address.discard(connection)
        if not of_address:
            self._of.pop(connection.address, None)


def _longest_waiting(among: Iterable[Counted]) -> Counted | None:
    waiting = (connection for connection in among if not connection.is_answering)
    return min(waiting, key=lambda each: (not each.is_receiving, each.since), default=None)


class _HeadTooLong(Exception):  # noqa: N818 - never leaves this module
    """The request line and headers are longer than allowed."""


_OF_PEERS = logging.getLogger("uvicorn.error.peers")
_OF_PEERS.setLevel(logging.ERROR)  # what a peer does wrong is answered to it; a fault of ours is logged


class BoundedConnection(HttpToolsProtocol):
    """Uvicorn's protocol with a deadline for each request, a bound for its head, and its count."""

    shared: Connections  # set by `bounded`

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.logger = _OF_PEERS
        self.address = ""
        self.since = self.loop.time()
        self._limits = self.shared.limits
        self._deadline: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._in_head = False
        self._read_bytes = 0  # of pieces that came before the head's end
        self._head_bytes = 0  # of its lines that have ended

    @property
    def is_receiving(self) -> bool:
        """Return whether a request is awaited that has not come as a whole."""
        return self._deadline is not None

    @property
    def is_answering(self) -> bool:
        """Return whether a request is being answered."""
        cycle: RequestResponseCycle | None = self.cycle  # none before the first request
        return cycle is not None and not cycle.response_complete

    def end(self) -> None:
        """Close it now; what the other side does not take is dropped."""
        self._cancel()
        self.shared.drop(self)
        self.transport.abort()  # with TLS, `close` would wait for the other side, and nobody counts it then

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.shared.admit(self, self.client[0] if self.client else ""):
            self._await_request()
        else:
            self._respond(b"503 Service Unavailable", b"too many connections\n")

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel()
        self._unset_keepalive_if_required()
        self.shared.drop(self)
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._await_request()
        in_head = self._in_head
        super().data_received(data)
        if in_head and self._in_head:  # a line that does not end is reported to nobody before it does
            self._read_bytes += len(data)
            if self._is_too_long and not self.transport.is_closing():
                self.send_400_response("")

    @override
    def on_message_begin(self) -> None:
        self._await_request()
        self._in_head, self._read_bytes, self._head_bytes = True, 0, 0
        super().on_message_begin()

    @override
    def on_url(self, url: bytes) -> None:
        self._grow(len(url))
        super().on_url(url)

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        self._grow(len(name) + len(value) + HEADER_OVERHEAD_BYTES)
        super().on_header(name, value)

    @override
    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    @override
    def on_message_complete(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self.since = self.loop.time()
        super().on_message_complete()

    @override
    def send_400_response(self, msg: str) -> None:
        if self._is_too_long:
            self._respond(b"431 Request Header Fields Too Large", b"the request's headers are too long\n")
        else:
            self._respond(b"400 Bad Request", b"not a request of HTTP/1.1\n")

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        if self._writing is None:
            self._writing = self.loop.call_later(STALLED_S, self.transport.abort)

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    @override
    def timeout_keep_alive_handler(self) -> None:
        self.end()

    def _await_request(self) -> None:
        if self._deadline is None:
            self.since = self.loop.time()
            self._deadline = self.loop.call_later(self._limits.timeout, self._too_late)

    def _too_late(self) -> None:
        if self.is_answering:
            self.shutdown()  # the answer goes out, then it ends
        else:
            self.end()

    def _grow(self, size: int) -> None:
        self._head_bytes += size
        if self._is_too_long:
            raise _HeadTooLong

    @property
    def _is_too_long(self) -> bool:
        return max(self._head_bytes, self._read_bytes) > self._limits.headers

    def _respond(self, status: bytes, text: bytes) -> None:
        self.transport.write(
            b"HTTP/1.1 %b\r\ncontent-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (status, len(text), text)
        )
        self.transport.close()

    def _cancel(self) -> None:
        for timer in (self._deadline, self._writing):
            if timer is not None:
                timer.cancel()
        self._deadline = self._writing = None


def bounded(connections: Connections) -> type[BoundedConnection]:
    """Make the protocol of one server's connections."""

    class Connection(BoundedConnection):
        shared = connections

    return Connection


class Server(uvicorn.Server):
    """Uvicorn without its signal handlers: the process around it has its own."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals to the process."""
        yield


def server_settings(app: Any, protocol: type[asyncio.Protocol], **more: Any) -> uvicorn.Config:
    """Return what all our servers have in common: HTTP alone, quiet, no trust in what a client names."""
    return uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        **more,
    )
