"""The ICAP listener of a gate worker: who may ask, how many at a time, and how it ends."""

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable

from secondlook.core.rules.client import network_of
from secondlook.gateway.icap.connection import IcapConnection
from secondlook.gateway.icap.heads import IcapError
from secondlook.gateway.icap.messages import Request
from secondlook.gateway.icap.service import IcapService
from secondlook.ground.tcp import BACKLOG

logger = logging.getLogger(__name__)

FORBIDDEN, OVERLOADED = 403, 503


class IcapListener:
    """Accepts gateways on an inherited socket that the other gate workers accept on too."""

    def __init__(
        self,
        service: IcapService,
        sock: socket.socket,
        *,
        clients: Iterable[str],
        max_connections: int,
        complain: Callable[[str], None],
    ) -> None:
        self._service = service
        self._socket = sock
        self._networks = [network for each in clients if (network := network_of(each)) is not None]
        self._max_connections = max_connections
        self._complain = complain
        self._connections: set[IcapConnection] = set()
        self._refused: set[IcapConnection] = set()
        self._server: asyncio.Server | None = None
        self._empty: asyncio.Future[None] | None = None  # of whoever waits until nobody is connected

    async def start(self) -> None:
        """Begin to accept."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: IcapConnection(self), sock=self._socket, backlog=BACKLOG
        )

    def admit(self, connection: IcapConnection, peer: str) -> int | None:
        """Count a connection; return the status of its only answer where it is not wanted."""
        if not self._allows(peer):
            self._refused.add(connection)
            self._complain(f"expected a gateway of gateway.icap.clients, not {peer}")
            return FORBIDDEN
        if len(self._connections) >= self._max_connections:
            self._refused.add(connection)
            return OVERLOADED
        self._connections.add(connection)
        return None

    def forget(self, connection: IcapConnection) -> None:
        """Count one less."""
        self._connections.discard(connection)
        self._refused.discard(connection)
        if not self._connections and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    def unread(self, error: IcapError) -> None:
        """Note that something was not understood, without what it was."""
        self._complain(str(error).partition(", got ")[0])

    def answer(self, link: IcapConnection, request: Request) -> Awaitable[None]:
        """Answer one request."""
        return self._service.answer(link, request)

    async def drain(self, timeout_s: float) -> None:
        """Accept no more, answer what is under way, hang up."""
        if self._server is not None:
            self._server.close()
        for connection in [*self._connections, *self._refused]:
            connection.end()
        if self._connections:
            self._empty = asyncio.get_running_loop().create_future()
            await asyncio.wait({self._empty}, timeout=timeout_s)
        for connection in [*self._connections, *self._refused]:
            connection.abort()

    def _allows(self, peer: str) -> bool:
        address = ipaddress.ip_address(peer.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return address.is_loopback or any(address in network for network in self._networks)
