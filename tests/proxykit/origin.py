"""A programmable origin on a raw socket: HTTP/1 as the test wants it, with or without TLS."""

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from proxykit.loop import LoopThread

CHUNK = 65536


@dataclass
class Asked:
    """One request as the origin got it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body_bytes: int = 0

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)


type Reply = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Origin:
    """Counts connections and requests; `reply` writes the response, raw."""

    reply: Reply
    tls: ssl.SSLContext | None = None
    connections: int = 0
    requests: list[Asked] = field(default_factory=list)
    broken: int = 0  # writes that met a closed connection
    host: str = "127.0.0.1"

    def start(self) -> None:
        self._thread = LoopThread()
        self._writers: set[asyncio.StreamWriter] = set()
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._socket = socket.create_server((self.host, 0), family=family)
        self.port = self._socket.getsockname()[1]
        self._server = self._thread.call(self._serve())

    async def _serve(self) -> asyncio.Server:
        return await asyncio.start_server(self._handle, sock=self._socket, ssl=self.tls)

    def close(self) -> None:
        self._thread.call(self._stop())
        self._thread.close()

    async def _stop(self) -> None:
        self._server.close()
        for writer in self._writers:
            # One that closed with bytes to be written, and has written them by now, knows no loop any more.
            with contextlib.suppress(AttributeError):
                writer.transport.abort()  # TLS would wait for the other side to agree

    def soon(self, call: Callable[[], object]) -> None:
        """Have something done in the origin's loop."""
        self._thread.soon(call)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.decode("latin-1").split("\r\n")
                method, target, _ = lines[0].split(" ", 2)
                headers = [
                    (name, value)
                    for name, found, value in (line.partition(": ") for line in lines[1:])
                    if found
                ]
                asked = Asked(method, target, headers)
                await self._read_body(asked, reader)
                self.requests.append(asked)
                await self.reply(asked, writer)
                await writer.drain()
                if asked.header("connection") == "close" or writer.is_closing():
                    break
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            self.broken += 1
        finally:
            writer.close()

    @staticmethod
    async def _read_body(asked: Asked, reader: asyncio.StreamReader) -> None:
        if "chunked" in (asked.header("transfer-encoding") or ""):
            while (size := int((await reader.readline()).strip() or b"0", 16)) > 0:
                asked.body_bytes += len(await reader.readexactly(size))
                await reader.readline()
            await reader.readline()
            return
        left = int(asked.header("content-length") or 0)
        while left:
            got = await reader.read(min(left, CHUNK))
            if not got:
                raise asyncio.IncompleteReadError(b"", left)
            asked.body_bytes += len(got)
            left -= len(got)


async def send(
    writer: asyncio.StreamWriter, body: bytes, *headers: str, status: str = "200 OK", length: bool = True
) -> None:
    """Write a whole response."""
    lines = [f"HTTP/1.1 {status}", *headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)


def one_range(asked: Asked, size: int) -> tuple[int, int] | None:
    """Give the first and the last byte of the range that is wanted; None: all, or several ranges."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", asked.header("range") or "")
    if found is None:
        return None
    if not found[1]:
        return max(0, size - int(found[2])), size - 1
    return int(found[1]), min(int(found[2] or size - 1), size - 1)


async def send_piece(
    writer: asyncio.StreamWriter, body: bytes, wanted: tuple[int, int], *headers: str
) -> None:
    """Write a 206 with a piece of a body."""
    first, last = wanted
    told = f"Content-Range: bytes {first}-{last}/{len(body)}"
    await send(writer, body[first : last + 1], *headers, told, status="206 Partial Content")


def ranged(body: bytes, *headers: str) -> Reply:
    """Serve one range as an honest origin does."""

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        wanted = one_range(asked, len(body))
        if wanted is None:
            await send(writer, body, *headers)
        else:
            await send_piece(writer, body, wanted, *headers)

    return reply


async def send_chunked(
    writer: asyncio.StreamWriter, pieces: list[bytes], *headers: str, trailers: tuple[str, ...] = ()
) -> None:
    """Write a chunked response, each piece a chunk."""
    writer.write(
        "\r\n".join(["HTTP/1.1 200 OK", *headers, "Transfer-Encoding: chunked", "", ""]).encode("latin-1")
    )
    for piece in pieces:
        if piece:
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
    writer.write("\r\n".join(["0", *trailers, "", ""]).encode("latin-1"))
