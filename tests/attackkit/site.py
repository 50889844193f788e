"""A hostile site: on each path, over HTTP and HTTPS (HTTP/1.1), what an attack wants there."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Self

from proxykit.origin import Asked, Origin, Reply, send

PIECE = 65_536


class Site:
    """Paths and what they answer; `asked` has every request that came."""

    def __init__(self, certificate: tuple[Path, Path]) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        self.replies: dict[str, Reply] = {}
        self.plain = Origin(self._reply)
        self.tls = Origin(self._reply, context)
        self.sent = 0  # bytes of bodies that `flow` has written

    def __enter__(self) -> Self:
        self.plain.start()
        self.tls.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.plain.close()
        self.tls.close()

    @property
    def asked(self) -> list[Asked]:
        """Every request, over either."""
        return self.plain.requests + self.tls.requests

    def url(self, path: str, *, tls: bool = False) -> str:
        """Where a path is."""
        return (
            f"https://127.0.0.1:{self.tls.port}{path}" if tls else f"http://127.0.0.1:{self.plain.port}{path}"
        )

    def put(self, path: str, body: bytes, *headers: str, status: str = "200 OK", chunked: int = 0) -> None:
        """Have a path answer with a body, in chunks of so many bytes where that is said."""

        async def reply(_: Asked, writer: asyncio.StreamWriter) -> None:
            if not chunked:
                await send(writer, body, *headers, status=status)
                return
            lines = [f"HTTP/1.1 {status}", *headers, "Transfer-Encoding: chunked", "", ""]
            writer.write("\r\n".join(lines).encode("latin-1"))
            for start in range(0, len(body), chunked):
                piece = body[start : start + chunked]
                writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                if start % PIECE < chunked:
                    await writer.drain()
            writer.write(b"0\r\n\r\n")

        self.replies[path] = reply

    def flow(self, path: str, make: Callable[[], AsyncIterator[bytes]]) -> None:
        """Have a path answer with raw bytes, head and all, as long as somebody takes them; then close."""

        async def reply(_: Asked, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                async for piece in make():
                    writer.write(piece)
                    await writer.drain()
                    self.sent += len(piece)
            writer.close()

        self.replies[path] = reply

    async def _reply(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        path = (
            "/" + asked.target.partition("://")[2].partition("/")[2]
            if "://" in asked.target
            else asked.target
        )
        known = self.replies.get(path.partition("?")[0])
        if known is None:
            await send(writer, b"ok", "Content-Type: text/html")
        else:
            await known(asked, writer)


async def again(begin: bytes, piece: bytes, total: int, pause_s: float = 0.0) -> AsyncIterator[bytes]:
    """Give a beginning, then a piece again and again until there are `total` bytes."""
    yield begin
    for _ in range(total // len(piece)):
        yield piece
        if pause_s:
            await asyncio.sleep(pause_s)


def ranged(body: bytes, asked: Asked, tag: str = '"x"') -> bytes:
    """Answer with a body, or with the range of it that was asked for."""
    wanted = (asked.header("range") or "").removeprefix("bytes=")
    if not wanted:
        return (
            b"HTTP/1.1 200 OK\r\n"
            + f"ETag: {tag}\r\nAccept-Ranges: bytes\r\nContent-Type: application/octet-stream\r\n".encode()
            + (b"Content-Length: %d\r\n\r\n" % len(body))
            + body
        )
    first, _, last = wanted.partition("-")
    begin, end = int(first or 0), min(int(last or len(body) - 1), len(body) - 1)
    return (
        f"HTTP/1.1 206 Partial Content\r\nETag: {tag}\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Range: bytes {begin}-{end}/{len(body)}\r\nContent-Length: {end + 1 - begin}\r\n\r\n"
    ).encode() + body[begin : end + 1]
