"""Running the application: sockets, TLS, taking up new generations, and stopping in order."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from secondlook.ground.errors import ConfigError, SecondLookError
from secondlook.ground.tasks import Tasks, woken
from secondlook.server.http.app import ServerApp
from secondlook.server.http.connection import Connections, Server, bounded, server_settings
from secondlook.server.http.handshake import secured, server_context
from secondlook.server.reader import Reader

log = logging.getLogger(__name__)
REFRESH_S = 0.5
REFRESH_AGAIN_S = 5.0  # after an error that was not foreseen
DRAIN_S = 10
FOLLOW_S = 1.0  # between two looks whether the access log was moved away
KEEP_ALIVE_S = 75  # longer than agents and load balancers keep a connection that is idle


class Serving:
    """An application on its sockets, in the running event loop; signals are the caller's matter.

    `on_generation` hears the number of each generation that is taken up.
    """

    def __init__(
        self,
        app: ServerApp,
        sockets: Sequence[socket.socket],
        *,
        certificate: Path | None = None,
        key: Path | None = None,
        on_generation: Callable[[int], None] | None = None,
    ) -> None:
        self.app = app
        self.sockets = list(sockets)
        for listening in self.sockets:
            # Accepted connections inherit it. asyncio sets it only where the socket names its protocol, and
            # without it every answer waits 40 ms for the client's delayed acknowledgement.
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._on_generation = on_generation
        self._fault: str | None = None
        self._answering: asyncio.Task[None] | None = None
        self._tasks = Tasks()
        self._look_again = asyncio.Event()
        connections = Connections(app.limits, app.is_balancer)
        protocol = (
            secured(connections, server_context(certificate, key)) if certificate else bounded(connections)
        )
        self._server = Server(
            server_settings(app, protocol, timeout_keep_alive=KEEP_ALIVE_S, timeout_graceful_shutdown=DRAIN_S)
        )

    @property
    def reader(self) -> Reader:
        """Where the application reads from."""
        return self.app.reader

    @property
    def port(self) -> int:
        """The port of the first socket."""
        port: int = self.sockets[0].getsockname()[1]
        return port

    async def start(self) -> None:
        """Take up the current generation, if there is one, and begin to answer."""
        await self._refresh()
        self._answering = asyncio.create_task(self._server.serve(sockets=self.sockets), name="server")
        self._tasks.keep("taking up generations", self._watch, again_s=REFRESH_AGAIN_S)
        while not self._server.started:
            if self._answering.done():
                self._answering.result()
                raise ConfigError("the server ended before it began to answer")
            await asyncio.sleep(0.005)

    async def wait(self) -> None:
        """Wait until the server has ended."""
        assert self._answering is not None
        await self._answering

    def look_again(self) -> None:
        """Look for another generation now instead of within half a second."""
        self._look_again.set()

    async def stop(self) -> None:
        """Answer what is begun, then end."""
        self._server.should_exit = True
        await self._tasks.aclose()
        if self._answering is not None:
            await self._answering
        for listening in self.sockets:
            listening.close()
        await self.reader.aclose()

    async def _watch(self) -> None:
        while True:
            await woken(self._look_again, REFRESH_S)
            self._look_again.clear()
            await self._refresh()

    async def _refresh(self) -> None:
        try:
            changed = await self.reader.refresh()
        except SecondLookError as error:
            if str(error) != self._fault:
                log.warning("no new generation is taken up: %s", error)
                self._fault = str(error)
            return
        self._fault = None
        if changed and self._on_generation and self.reader.number is not None:
            log.info("serving generation %d", self.reader.number)
            self._on_generation(self.reader.number)


class JsonAccessLog:
    """One JSON object a line for each request; there is no URL in it, as none is ever sent to us.

    Where the file was moved away (`logrotate`), the next line is in a new one, within `FOLLOW_S`; while none
    can be made, the file that was moved away goes on.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._file = path.open("ab", buffering=0)  # each line is there at once
        self._now = now
        self._followed_at = now()
        self._fault: str | None = None
        self._stray: str | None = None  # why no new file is begun
        self._torn = _ends_in_a_line(path)  # whether the last line was taken in part

    def __call__(self, method: str, status: int, size: int, took_s: float, client: str) -> None:
        """Write one line; what the disk does not take is lost, and no answer waits for it."""
        now = self._now()
        if abs(now - self._followed_at) >= FOLLOW_S:
            self._followed_at = now
            self._follow()
        line = (
            f'{{"time": {now:.3f}, "method": "{method}", "status": {status}, "bytes": {size}, '
            f'"ms": {took_s * 1000:.2f}, "client": "{client}"}}\n'
        )
        try:
            data = b"\n" * self._torn + line.encode("ascii", "replace")
            written = self._file.write(data)
            self._torn = not data[:written].endswith(b"\n")
            self._fault = None
        except OSError as error:
            if str(error) != self._fault:
                log.warning("the access log cannot be written: %s", error.strerror)
            self._fault = str(error)

    def _follow(self) -> None:
        """Turn to the file that has the name now."""
        try:
            with suppress(FileNotFoundError):
                if os.path.samestat(self._path.stat(), os.fstat(self._file.fileno())):
                    self._stray = None
                    return
            file = self._path.open("ab", buffering=0)
        except OSError as error:
            if str(error) != self._stray:
                log.warning("the access log was moved away, and no new one can be begun: %s", error.strerror)
            self._stray = str(error)
            return
        self._file.close()
        self._file, self._torn, self._stray = file, _ends_in_a_line(self._path), None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _ends_in_a_line(path: Path) -> bool:
    """Return whether a file ends within a line, as what was stopped by a crash left it."""
    try:
        if not path.is_file():  # a pipe, for instance, must not be read
            return False
        with path.open("rb") as file:
            return file.seek(0, os.SEEK_END) > 0 and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n"
    except OSError:
        return False
