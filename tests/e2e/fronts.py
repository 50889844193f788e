"""A front before a Smart Protection Server that can do everything a broken server does.

It relays whole requests to the real server behind it, or hangs, is slow, answers 500, answers bytes that
are no answer, or drops its connections. It remembers when it may first have told about a prefix.
"""

import asyncio
import base64
import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import Literal, Self
from urllib.parse import parse_qs, urlsplit

from secondlook.wire import safebrowsing_pb2 as pb

type Manner = Literal["relay", "hang", "slow", "error", "garbage", "short", "drop"]
FAULTS: tuple[Manner, ...] = ("hang", "slow", "error", "garbage", "short", "drop")
PATIENCE_S = 60.0
SLOW_S = 5.0  # longer than anybody waits


@dataclass
class Front:
    """Listens on `address` (any free port) before the server at `behind` (`host:port`)."""

    behind: str
    address: str = "127.0.0.1"
    manner: Manner = "relay"
    answered: dict[bytes, float] = field(default_factory=dict)  # prefix: first answered (monotonic)
    asked: int = 0
    port: int = 0

    def __enter__(self) -> Self:
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    @property
    def url(self) -> str:
        """Where agents reach it."""
        return f"http://{self.address}:{self.port}"

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
        finally:
            self._loop.close()

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._accept, self.address, 0, backlog=512)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        await stop_accepting(server)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await server.wait_closed()
        await end_connections()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while await self._one(reader, writer):
                    pass
        except asyncio.CancelledError:
            pass
        finally:
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Handle one request; whether the connection stays."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        match self.manner:
            case "hang":
                await reader.read()
                return False
            case "drop":
                return False
            case "slow":
                await asyncio.sleep(SLOW_S)
                return await self._relay(head, writer)
            case "error":
                _answer(writer, b"500 Internal Server Error", b"text/plain", b"out of order")
            case "garbage":
                _answer(writer, b"200 OK", b"application/x-protobuf", b"\xff\xfe<html>no answer</html>")
            case "short":  # promises more than it sends
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 900\r\n\r\n\x0a"
                )
                await writer.drain()
                return False
            case "relay":
                return await self._relay(head, writer)
        await writer.drain()
        return True

    async def _relay(self, head: bytes, writer: asyncio.StreamWriter) -> bool:
        host, _, port = self.behind.rpartition(":")
        upstream, send = await asyncio.open_connection(host, int(port))
        try:
            first, _, rest = head.partition(b"\r\n")
            send.write(first + b"\r\nConnection: close\r\n" + rest)
            answer = await upstream.read()
        finally:
            send.close()
        if answer.startswith(b"HTTP/1.1 200"):
            self._note(first.split()[1].decode())
        writer.write(answer)
        await writer.drain()
        return False

    def _note(self, target: str) -> None:
        parts = urlsplit(target)
        if parts.path == "/v5/hashes:search":
            request = pb.SearchHashesRequest()
            request.ParseFromString(base64.urlsafe_b64decode(parse_qs(parts.query)["$req"][0]))
            now = time.monotonic()
            for prefix in request.hash_prefixes:
                self.answered.setdefault(prefix, now)


async def stop_accepting(server: asyncio.Server) -> None:
    """Close a server once what it accepted belongs to it; asyncio leaves open what is accepted as it closes."""
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        loop.remove_reader(listening.fileno())
    for _ in range(2):  # a task for each connection, which begins in the next round
        await asyncio.sleep(0)
    server.close()


async def end_connections() -> None:
    """End every connection of this loop, also one that was accepted at the last moment and served by nobody."""
    for transport in list(asyncio.get_running_loop()._transports.values()):
        transport.abort()
    await asyncio.sleep(0)


def _answer(writer: asyncio.StreamWriter, status: bytes, kind: bytes, body: bytes) -> None:
    writer.write(
        b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (status, kind, len(body), body)
    )
