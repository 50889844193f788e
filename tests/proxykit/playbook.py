"""A connection without sockets: events go into our HTTP layer, commands come out, hooks go to the real add-on."""

import asyncio
import inspect
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from mitmproxy import ctx, http
from mitmproxy.connection import Client, Connection, ConnectionState, Server
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import HTTPMode

from proxykit.gatekeeper import FakeGatekeeper
from proxykit.sides import around
from secondlook.config.traffic import DownloadsSettings, TrafficLimitsSettings
from secondlook.download.gate.spool import SpoolRoom
from secondlook.download.judged_files import JudgedFiles
from secondlook.proxy.access.access import Access
from secondlook.proxy.addon import SecondLookAddon
from secondlook.proxy.bodies import Bodies
from secondlook.proxy.mitm.layers import GatedHttpLayer
from secondlook.refusal.block_page import BlockPage, Pages
from secondlook.refusal.language import ENGLISH, Language
from secondlook.refusal.refusal import INTERNAL_HOST, Refusals

BUDGET = 1 << 24
OPTIONS = {
    "body_size_limit": None,
    "connection_strategy": "lazy",
    "http2": True,
    "http_connect_send_host_header": True,
    "keep_host_header": False,
    "rawtcp": True,
    "store_streamed_bodies": False,
    "stream_large_bodies": None,
    "upstream_cert": True,
    "websocket": True,
}


class Site:
    """The proxy's own site, of which only its way to report a problem is wanted."""

    def problem(self, _request: http.Request, status: int, told: str, **_: object) -> http.Response:
        return http.Response.make(status, told)

    def language(self, _facts: object) -> Language:
        return ENGLISH


@dataclass
class Pressure:
    """What holds back the reading of an origin of HTTP/1: notes what it is asked for."""

    asked: list[str] = field(default_factory=list)

    def press(self, _server: Connection, _stream_id: int) -> None:
        self.asked.append("press")

    def ease(self, _server: Connection, _stream_id: int) -> None:
        self.asked.append("ease")


class Playbook:
    """Drives one connection of a client; `log` names commands and hooks in their order."""

    def __init__(
        self, folder: Path, gatekeeper: FakeGatekeeper, *, alpn: bytes | None = None, **downloads: object
    ) -> None:
        self.loop = asyncio.new_event_loop()
        self.room = SpoolRoom(folder / "spool", BUDGET, 1 << 10)
        judged = JudgedFiles(folder / "judged", b"k" * 32, self.room.thread)
        settings = DownloadsSettings.model_validate({"patience": 0, **downloads})
        bodies = Bodies(gatekeeper, settings, self.room, None, judged)
        refusals = Refusals(BlockPage(Pages(), INTERNAL_HOST), lambda *_: None)
        access = Access(("127.0.0.0/8",), lambda: ())
        limits = TrafficLimitsSettings()
        self.edge = SecondLookAddon(gatekeeper, access, refusals, Site(), bodies, limits)  # type: ignore[arg-type]
        self.context = self._context(alpn)
        self.layer = GatedHttpLayer(self.context, HTTPMode.regular, self.edge)
        self.sent: dict[Connection, bytes] = {}
        self.log: list[str] = []
        self.flow: http.HTTPFlow | None = None
        self._kept_master = getattr(ctx, "master", None)
        ctx.master = SimpleNamespace(  # type: ignore[assignment]  # where the pump asks for the client's transport
            addons=SimpleNamespace(get=lambda _: SimpleNamespace(connections={}))
        )
        self.happens(events.Start())

    @staticmethod
    def _context(alpn: bytes | None) -> Context:
        context = around()
        for name, value in OPTIONS.items():
            context.options.add_option(name, type(value) if value is not None else str | None, value, "")
        client: Client = context.client
        client.peername, client.sockname, client.alpn = ("127.0.0.1", 4711), ("127.0.0.1", 8080), alpn
        client.state = ConnectionState.OPEN
        client.tls = False
        client.pressure = Pressure()  # type: ignore[attr-defined]
        context.server = Server(address=None)
        return context

    @property
    def client(self) -> Client:
        return self.context.client

    @property
    def origin(self) -> Server:
        return next(connection for connection in self.layer.connections if isinstance(connection, Server))

    @property
    def pressure(self) -> list[str]:
        return self.client.pressure.asked  # type: ignore[attr-defined]

    def to_client(self) -> bytes:
        return self.sent.pop(self.client, b"")

    def to_origin(self) -> bytes:
        return self.sent.pop(self.origin, b"")

    def from_client(self, data: bytes) -> None:
        self.happens(events.DataReceived(self.client, data))

    def from_origin(self, data: bytes) -> None:
        self.happens(events.DataReceived(self.origin, data))

    def closed_by(self, connection: Connection) -> None:
        connection.state &= ~ConnectionState.CAN_READ
        self.happens(events.ConnectionClosed(connection))

    def happens(self, event: events.Event) -> None:
        self.loop.run_until_complete(self._happens(event))

    async def _happens(self, event: events.Event) -> None:
        waiting = [event]
        while waiting:
            replies = [await self._obey(command) for command in self.layer.handle_event(waiting.pop(0))]
            waiting += [reply for reply in replies if reply is not None]

    async def _obey(self, command: commands.Command) -> events.Event | None:
        match command:
            case commands.SendData():
                self.sent[command.connection] = self.sent.get(command.connection, b"") + command.data
            case commands.OpenConnection():
                self.log.append("open")
                command.connection.state = ConnectionState.OPEN
                return events.OpenConnectionCompleted(command, None)
            case commands.CloseConnection():
                self.log.append("close client" if command.connection is self.client else "close origin")
                command.connection.state = ConnectionState.CLOSED
            case commands.RequestWakeup(delay=0):
                return events.Wakeup(command)  # it had its turn
            case commands.StartHook():
                self.log.append(command.name)
                (data,) = command.args()
                if isinstance(data, http.HTTPFlow):
                    self.flow = data
                done = getattr(self.edge, command.name, lambda _: None)(data)
                if inspect.isawaitable(done):
                    await done
                return events.HookCompleted(command)
            case _:
                pass
        return None

    def is_freed(self) -> bool:
        """Whether nothing of any body is held any more."""
        self.loop.run_until_complete(self.loop.run_in_executor(self.room.thread, lambda: None))
        self.loop.run_until_complete(asyncio.sleep(0))
        return self.room.left_bytes == BUDGET

    def close(self) -> None:
        self.is_freed()
        self.loop.run_until_complete(self.edge.bodies.aclose())
        self.loop.close()
        ctx.master = self._kept_master  # type: ignore[assignment]
