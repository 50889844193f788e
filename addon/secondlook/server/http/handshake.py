"""TLS of the server, taken up after a connection is counted: a slow handshake costs its own address alone.

asyncio hands a protocol its TLS connection only when its handshake is over, so connections that never get so
far would be counted by nobody. Here the plain connection is counted first, as one that is awaited, and
becomes a `BoundedConnection` when the handshake is done.
"""

import asyncio
import ssl
from pathlib import Path
from typing import Any, Final, override

from secondlook.server.http.connection import BoundedConnection, Connections, bounded

LOOSE_TASKS: Final[set[asyncio.Task[None]]] = set()  # the event loop alone would let go of them


def server_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """Make the TLS context of a server; OSError for files that cannot be served with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


class Handshake(asyncio.Protocol):
    """A connection until its handshake is done; then it is handed to a `BoundedConnection`."""

    shared: Connections  # set by `secured`
    context: ssl.SSLContext
    protocol: type[BoundedConnection]
    _transport: asyncio.Transport  # from `connection_made` on, and nothing counts it before
    is_answering = False
    is_receiving = True

    def __init__(self, *args: Any, **options: Any) -> None:
        self._inner = self.protocol(*args, **options)
        self._open = options["server_state"].connections  # what is ended when the server stops
        self._early: list[bytes] = []  # came after the handshake, before that was reported
        self.address = ""
        self.since = self._inner.since

    def end(self) -> None:
        """Close it now."""
        self._forget()
        self._transport.abort()

    shutdown = end

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        transport.pause_reading()  # what comes is TLS, and nobody reads that yet
        self._transport = transport
        peer = transport.get_extra_info("peername")
        if not self.shared.admit(self, peer[0] if peer else ""):
            transport.abort()
            return
        self._open.add(self)
        task = asyncio.get_running_loop().create_task(self._shake_hands(transport))
        LOOSE_TASKS.add(task)
        task.add_done_callback(LOOSE_TASKS.discard)

    @override
    def data_received(self, data: bytes) -> None:
        self._early.append(data)

    async def _shake_hands(self, transport: asyncio.Transport) -> None:
        try:
            secured = await asyncio.get_running_loop().start_tls(
                transport,
                self,
                self.context,
                server_side=True,
                ssl_handshake_timeout=self.shared.limits.timeout,
            )
        except OSError:  # it never came, was none, or the other side left
            return
        finally:
            self._forget()
        if secured is None or self._transport.is_closing():  # it may have made room at this very moment
            return
        secured.set_protocol(self._inner)
        self._inner.connection_made(secured)
        for data in self._early:
            self._inner.data_received(data)

    def _forget(self) -> None:
        self.shared.drop(self)
        self._open.discard(self)


def secured(connections: Connections, made: ssl.SSLContext) -> type[Handshake]:
    """Make the protocol of one server's TLS connections."""

    class Secured(Handshake):
        shared = connections
        context = made
        protocol = bounded(connections)

    return Secured
