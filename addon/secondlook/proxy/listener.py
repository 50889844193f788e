"""Serving a listening socket that somebody else opened.

`ServerInstance` of mitmproxy opens its own sockets; a worker gets its socket from the supervisor, so the
accept loop is ours and only the top layer comes from mitmproxy's instance.
"""

import asyncio
import logging
import socket
from collections.abc import Sequence
from typing import Any

from mitmproxy import platform
from mitmproxy.proxy import mode_specs
from mitmproxy.proxy.mode_servers import ServerInstance

from secondlook.proxy.connection import Connection
from secondlook.proxy.master import STREAMED_MODES, LeanMaster

BACKLOG = 1024
_CUT_S = 1.0  # a connection that is cut may tidy up for so long

logger = logging.getLogger(__name__)


class Listener:
    """Accepts connections on inherited sockets and serves them in one of mitmproxy's modes."""

    def __init__(self, master: LeanMaster, mode: str, sockets: Sequence[socket.socket]) -> None:
        self._master = master
        self._mode = mode_specs.ProxyMode.parse(mode)
        if self._mode.type_name not in STREAMED_MODES:
            raise ValueError(f"mode {mode} does not listen on a TCP socket that can be passed on")
        self._instance: ServerInstance[Any] = ServerInstance.make(self._mode, master.proxyserver)
        self._sockets = tuple(sockets)
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to accept."""
        for sock in self._sockets:
            sock.setblocking(False)
            server = await asyncio.start_server(self._serve, sock=sock, backlog=BACKLOG)
            self._servers.append(server)

    def addresses(self) -> list[tuple[str, int]]:
        """List the addresses that are listened on."""
        return [sock.getsockname()[:2] for sock in self._sockets]

    @property
    def open_connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    async def drain(self, timeout_s: float) -> None:
        """Accept no more, and give the connections that are open `timeout_s` to end."""
        for server in self._servers:
            server.close()
        if self._connections:
            await asyncio.wait(self._connections, timeout=timeout_s)
        for task in tuple(self._connections):
            task.cancel("the proxy stops")
        if self._connections:
            await asyncio.wait(self._connections, timeout=_CUT_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        handler = Connection(self._master, reader, writer, self._master.options, self._mode)
        context = handler.layer.context
        handler.layer = self._instance.make_top_layer(context)
        if isinstance(self._mode, mode_specs.TransparentMode):
            destination = _destination(writer)
            if destination is None:
                writer.close()
                return
            context.client.sockname = destination
            context.server.address = destination
        with self._master.proxyserver.register_connection(context.client.id, handler):
            await handler.handle_client()


def _destination(writer: asyncio.StreamWriter) -> tuple[str, int] | None:
    """Tell where a redirected connection was going; None, and a line in the log, when nowhere."""
    try:
        assert platform.original_addr is not None
        destination = platform.original_addr(writer.get_extra_info("socket"))
    except (OSError, ValueError, RuntimeError, AssertionError) as error:
        logger.warning("cannot tell where a redirected connection was going: %r", error)
        return None
    if destination[:2] == writer.get_extra_info("sockname")[:2]:  # we would connect to ourselves, without end
        logger.warning("a client asked the transparent proxy itself: its connections must be redirected")
        return None
    return destination
