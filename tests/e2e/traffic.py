"""Continuous traffic through a proxy: an origin and clients on an event loop of their own.

The clients write down what they saw of every request. They also measure how late their own loop is, so
that a busy machine is not taken for a slow proxy.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from e2e.fronts import end_connections, stop_accepting

PATIENCE_S = 60.0
PULSE_S = 0.02
BODY = b"<h1>origin</h1>"


@dataclass(frozen=True, slots=True)
class Visit:
    """One request as its client saw it; status 0 when the connection ended without an answer."""

    url: str
    started: float  # monotonic
    took_s: float
    status: int
    mark: str | None  # X-Second-Look

    @property
    def let_through(self) -> bool:
        """Whether the origin's page came."""
        return self.status == 200


@dataclass
class Traffic:
    """Clients that ask for a page never seen before, each again and again, until told to stop.

    `proxy` gives `host:port` anew for each connection. `clients` are the source addresses, one client each.
    """

    proxy: Callable[[], str]
    clients: tuple[str, ...] = ("127.0.0.1",) * 4
    pause_s: float = 0.0
    visits: list[Visit] = field(default_factory=list)
    latest_s: float = 0.0  # how late the loop was at worst
    name: str = "t"
    keep: bool = True  # a client's connection for its next request

    def __enter__(self) -> Self:
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(PATIENCE_S + 10)
            assert not self._thread.is_alive()

    def url(self, path: str) -> str:
        """A URL on the origin."""
        return f"http://127.0.0.1:{self._port}{path}"

    def mark(self) -> int:
        """Remember a moment: give it to `since`."""
        return len(self.visits)

    def since(self, mark: int) -> list[Visit]:
        """Visits that ended after a moment."""
        return self.visits[mark:]

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
        finally:
            self._loop.close()

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        self._served: set[asyncio.StreamWriter] = set()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        pulse = asyncio.create_task(self._pulse())
        clients = [
            asyncio.create_task(self._client(number, address)) for number, address in enumerate(self.clients)
        ]
        await self._stop.wait()
        await asyncio.gather(*clients)
        pulse.cancel()
        await asyncio.gather(pulse, return_exceptions=True)
        await stop_accepting(server)
        for writer in self._served:
            writer.transport.abort()
        await server.wait_closed()
        await end_connections()

    async def _pulse(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(PULSE_S)
            self.latest_s = max(self.latest_s, time.monotonic() - before - PULSE_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._served.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s"
                    % (len(BODY), BODY)
                )
        self._served.discard(writer)
        writer.close()

    async def _client(self, number: int, address: str) -> None:
        count = 0
        link: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while not self._stop.is_set():
            url = self.url(f"/{self.name}/{number}/{count}")
            count += 1
            started = time.monotonic()
            status, mark = 0, None
            try:
                async with asyncio.timeout(PATIENCE_S):
                    if link is None:
                        host, _, port = self.proxy().rpartition(":")
                        link = await asyncio.open_connection(host, int(port), local_addr=(address, 0))
                    status, mark = await self._get(*link, url)
                    if not self.keep:
                        link[1].close()
                        link = None
            except (OSError, asyncio.IncompleteReadError, ValueError):
                if link is not None:
                    link[1].close()
                link = None
            self.visits.append(Visit(url, started, time.monotonic() - started, status, mark))
            if self.pause_s or status == 0:
                await asyncio.sleep(self.pause_s or PULSE_S)
        if link is not None:
            link[1].close()
            with contextlib.suppress(OSError):
                await link[1].wait_closed()

    async def _get(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, url: str
    ) -> tuple[int, str | None]:
        host = url.split("/")[2]
        writer.write(f"GET {url} HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])
        }
        await reader.readexactly(int(headers.get("content-length", "0")))
        return int(head[0].split()[1]), headers.get("x-second-look")
