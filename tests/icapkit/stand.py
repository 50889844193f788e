"""An ICAP listener over a fake gatekeeper, and a gateway that talks to it over a real connection."""

import asyncio
import contextlib
from collections.abc import Awaitable
from pathlib import Path

from gatewaykit.gate import gate_of
from icapkit.wire import Reply, chunked, message
from proxykit.gatekeeper import FakeGatekeeper
from secondlook.config.scan import ScanSettings
from secondlook.config.traffic import DownloadsSettings
from secondlook.core.event import Event
from secondlook.download.examination.examination import Examiner
from secondlook.download.judging import BodyJudge
from secondlook.gateway.icap.listener import IcapListener
from secondlook.gateway.icap.service import IcapService
from secondlook.ground.tcp import listen_on
from secondlook.refusal.block_page import Pages
from secondlook.site.internal_site import InternalSite, SiteFacts

ANSWERED_S = 30.0
URL = "http://site.test"


class Stand:
    """A listener on a free port; `run` runs a story on its loop."""

    def __init__(
        self,
        folder: Path,
        gatekeeper: FakeGatekeeper,
        *,
        downloads: DownloadsSettings | None = None,
        clients: tuple[str, ...] = (),
        max_connections: int = 100,
        encoded_users: bool = False,
    ) -> None:
        self.runner = asyncio.Runner()
        self.gatekeeper = gatekeeper
        self.events: list[Event] = []
        self.gateways: list[Gateway] = []
        self.complaints: list[str] = []
        self.gate = gate_of(gatekeeper, folder, self.events.append)
        self.gate.tag = lambda: "tag-1"
        if downloads is not None:
            old = self.gate.bodies
            examiner = Examiner(downloads.archives, ScanSettings(), folder)
            self.gate.bodies = BodyJudge(gatekeeper, downloads, old.room, examiner, old.judged)
        service = IcapService(
            self.gate, preview=1024, max_connections=max_connections, encoded_users=encoded_users
        )
        self.socket = listen_on("127.0.0.1", 0)
        self.listener = IcapListener(
            service,
            self.socket,
            clients=clients,
            max_connections=max_connections,
            complain=self.complaints.append,
        )
        self.runner.run(self.listener.start())

    def run[T](self, story: Awaitable[T]) -> T:
        async def bounded() -> T:
            async with asyncio.timeout(ANSWERED_S):
                return await story

        return self.runner.run(bounded())

    async def connect(self) -> "Gateway":
        reader, writer = await asyncio.open_connection(*self.socket.getsockname()[:2], limit=1 << 20)
        self.gateways.append(Gateway(reader, writer))
        return self.gateways[-1]

    async def ask(self, data: bytes) -> Reply:
        """Ask one thing on a connection of its own."""
        gateway = await self.connect()
        await gateway.send(data)
        reply = await gateway.reply()
        gateway.close()
        return reply

    def close(self) -> None:
        for gateway in self.gateways:
            gateway.close()
        self.run(self.listener.drain(0.0))
        self.run(self.gate.bodies.aclose())
        self.runner.close()


def make_site(gatekeeper: FakeGatekeeper, folder: Path) -> InternalSite:
    """Make the internal site; exceptions last ten minutes."""
    facts = SiteFacts(
        ca_pem=folder / "none.pem",
        key=b"k" * 32,
        override_s=lambda *_: 600.0,
        unopened_s=lambda *_: None,
        not_ready=lambda: None,
    )
    return InternalSite(facts, gatekeeper, Pages())


class Gateway:
    """A connection of a gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.got = b""  # of the body of the reply that is read

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> Reply:
        """Read the head of the next answer."""
        data = await self.reader.readuntil(b"\r\n\r\n")
        first, *rest = data.decode("latin-1").rstrip("\r\n").split("\r\n")
        reply = Reply(int(first.split(" ")[1]), dict(line.lower().split(": ", 1) for line in rest))
        if reply.status == 100:
            return reply
        kind, size = reply.fields["encapsulated"].split(",")[-1].strip().split("=")
        reply.head = await self.reader.readexactly(int(size))
        reply.whole = kind == "null-body"
        return reply

    async def reply(self) -> Reply:
        """Read a whole answer, or what comes of it."""
        reply = await self.head()
        while reply.status == 100:
            reply = await self.head()
            reply.interim.append(100)
        await self.body(reply)
        return reply

    async def body(self, reply: Reply, up_to: int | None = None) -> None:
        """Read the body of an answer, to its end or so far."""
        parts = [reply.body]
        try:
            while not reply.whole and (up_to is None or sum(map(len, parts)) < up_to):
                line = await self.reader.readuntil(b"\r\n")
                size, _, extension = line.strip().partition(b";")
                data = await self.reader.readexactly(int(size, 16) + 2)
                parts.append(data[:-2])
                if not int(size, 16):
                    reply.whole = True
                    if extension:
                        reply.original = int(extension.decode().partition("use-original-body=")[2])
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        reply.body = b"".join(parts)

    async def gone(self) -> bool:
        """Whether the other side hangs up now, saying nothing more."""
        try:
            return await self.reader.read() == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        self.writer.close()


def reqmod(
    url: str = f"{URL}/", *, method: str = "GET", headers: str = "", icap: str = "", body: bool = False
) -> bytes:
    """Write a REQMOD as Squid does."""
    request = f"{method} {url} HTTP/1.1\r\nHost: {url.split('/')[2]}\r\n{headers}\r\n".encode()
    return message(
        "REQMOD",
        "reqmod",
        request=request,
        body="req-body" if body else None,
        headers=f"Allow: 204\r\nX-Client-IP: 10.0.0.9\r\n{icap}",
    )


def respmod(
    path: str = "/",
    *,
    kind: str | None = "text/html",
    length: int | None = None,
    headers: str = "",
    asked: str = "",
    status: int = 200,
    method: str = "GET",
    version: str = "1.1",
    icap: str = "Allow: 204\r\nPreview: 1024\r\n",
    body: bool = True,
) -> bytes:
    """Write the heads of a RESPMOD."""
    request = f"{method} {URL}{path} HTTP/{version}\r\nHost: site.test\r\n{asked}\r\n".encode()
    said = f"Content-Type: {kind}\r\n" if kind else ""
    said += f"Content-Length: {length}\r\n" if length is not None else ""
    response = f"HTTP/1.1 {status} OK\r\n{said}{headers}\r\n".encode()
    return message(
        "RESPMOD",
        "respmod",
        request=request,
        response=response,
        body="res-body" if body else None,
        headers=f"X-Client-IP: 10.0.0.9\r\n{icap}",
    )


async def pass_body(gateway: Gateway, head: bytes, body: bytes, preview: int = 1024) -> Reply:
    """Send a response as Squid does: the preview, and the rest where it is asked for; return the answer."""
    if len(body) <= preview:
        await gateway.send(head + chunked(body) + b"0; ieof\r\n\r\n")
        return await gateway.reply()
    await gateway.send(head + chunked(body[:preview]) + b"0\r\n\r\n")
    reply = await gateway.head()
    if reply.status != 100:
        await gateway.body(reply)
        return reply

    async def rest() -> None:
        with contextlib.suppress(ConnectionError):
            await gateway.send(chunked(body[preview:], 16 << 10) + b"0\r\n\r\n")

    sending = asyncio.ensure_future(rest())
    try:
        answer = await gateway.reply()
    except (asyncio.IncompleteReadError, ConnectionError):
        answer = Reply(0, {})
    await sending
    answer.interim.append(100)
    return answer
