"""Our protocol layers in mitmproxy's stack: the HTTP layer with gated streams, and its addon.

mitmproxy's `NextLayer` addon decides which protocol comes next; `GatedLayers` runs before it, decides by more
of the bytes (`recognizer.py`) and swaps each `HttpLayer` for ours. The connections of HTTP/1 (`http1.py`) and
HTTP/2 (`http2.py`) are ours too.
"""

from typing import Any, cast

from mitmproxy import ctx
from mitmproxy.connection import Client, Connection, ConnectionState, Server
from mitmproxy.exceptions import AddonHalt
from mitmproxy.options import Options
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import (
    DropStream,
    GetHttpConnection,
    HttpLayer,
    HTTPMode,
    HttpStream,
    RegisterHttpConnection,
    SendHttp,
    is_h3_alpn,
)
from mitmproxy.proxy.layers.http._base import HttpConnection, ReceiveHttp
from mitmproxy.proxy.layers.http._events import RequestHeaders
from mitmproxy.proxy.layers.http._http3 import Http3Client
from mitmproxy.proxy.layers.tcp import TCPLayer
from mitmproxy.proxy.layers.tls import ClientTLSLayer
from mitmproxy.proxy.mode_specs import UpstreamMode

from secondlook.proxy.mitm.addon_port import AddonPort
from secondlook.proxy.mitm.commands import Commands
from secondlook.proxy.mitm.http.http1 import Http1ClientSide
from secondlook.proxy.mitm.http.http1_origin import Http1OriginSide
from secondlook.proxy.mitm.http.http2 import Acknowledge, Http2ClientSide, Upload
from secondlook.proxy.mitm.http.http2_origin import UNSENT_MAX_BYTES, Http2OriginSide
from secondlook.proxy.mitm.stream_contexts import SettledOptions, adopt, fork
from secondlook.proxy.mitm.streams.gated_stream import GatedStream
from secondlook.proxy.mitm.streams.response_stream import ResponseStream
from secondlook.proxy.mitm.tls.recognizer import Recognizer
from secondlook.proxy.mitm.tls.tls_layers import BoundedClientTls
from secondlook.proxy.mitm.tls.tunnel import RawTunnel, own_top

HELD_MAX_BYTES = 1 << 20  # of one stream whose client does not read, before its origin is paused


class GatedHttpLayer(HttpLayer):
    """mitmproxy's HTTP layer with gated streams, our connections and back-pressure by stream.

    A stream is *pressed* while its client has more than `HELD_MAX_BYTES` unread, or while it waits in the
    middle of its body. An HTTP/2 origin is then not acknowledged; an HTTP/1 origin is not read, which needs
    our `Connection` (there is none in `mitmdump -s`). It is *full* while more of its upload than
    `UNSENT_MAX_BYTES` waits for an HTTP/2 origin, or while it waits for a hook or a connection; its client
    is then not acknowledged. Only clients of HTTP/2 meet such origins; one of HTTP/1 that does not read keeps
    its client's connection from being read.
    """

    def __init__(self, context: Context, mode: HTTPMode, addon: AddonPort) -> None:
        super().__init__(context, mode)
        self.addon = addon
        self._options = context.options
        if hasattr(context.client, "begin"):  # in `mitmdump -s` they may change
            self._options = cast("Options", SettledOptions(context.options))
        self._stalled: dict[int, ResponseStream] = {}
        self._waiting: set[int] = set()
        self._full: dict[int, Upload] = {}
        self._connected_for: tuple[str, int] | None = None
        self._opened: layer.Layer | None = None  # what runs through the tunnel that was asked for
        self._tunnel: layer.Layer | None = None  # … once nothing but its bytes comes from the client

    def handle_event(self, event: events.Event) -> Commands:
        """Handle an event at once: nothing is waited for here, but below."""
        if self.debug is not None:
            return super().handle_event(event)
        if self._tunnel is None or (
            isinstance(event, events.CommandCompleted) and event.command in self.command_sources
        ):
            return self._handle_event(event)
        return self._pass_through(self._tunnel, event)

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, events.Start) and not is_h3_alpn(self.context.client.alpn):
            yield from self._start(event)
            return
        if type(event) is events.DataReceived:
            side = self.connections.get(event.connection)
            if side is None and event.connection == self.context.server:
                # an HTTP/2 origin sends its settings before the first request comes
                side = self.connections[self.context.server] = self.origin_side(self.context.fork())
                yield from self.event_to_child(side, events.Start())
            if side is not None:  # else it was let go a moment ago
                yield from self.event_to_child(side, event)
        elif type(event) is events.ConnectionClosed and isinstance(event.connection, Server):
            yield from self._lose(event)
        else:
            yield from super()._handle_event(event)
            if type(event) is events.OpenConnectionCompleted and event.reply is not None:
                self._forget(event.command.connection)
        if self._stalled or self._full:
            yield from self._let_all_on()
        if self._opened is not None:
            self._shorten()

    def tunnel(self, first: layer.Layer) -> None:
        """Note that a tunnel is open for a client of HTTP/1: what is asked for is asked through it."""
        self._opened = first

    def _shorten(self) -> None:
        """Leave the side of the client and its stream out, once they would only pass on what comes."""
        side = self.connections.get(self.context.client)
        if isinstance(side, Http1ClientSide) and side.state == side.passthrough:
            self._tunnel, self._opened = self._opened, None

    def _pass_through(self, tunnel: layer.Layer, event: events.Event) -> Commands:
        """Pass an event on; a connection is closed in both directions, as a stream would close it."""
        client = self.context.client
        for command in tunnel.handle_event(event):
            if not isinstance(command, commands.CloseConnection):
                yield command
            elif command.connection is not client or client.state & ConnectionState.CAN_WRITE:
                yield commands.CloseConnection(command.connection)

    def _let_all_on(self) -> Commands:
        """Let go on what waited for room and has it now: origins of streams, and clients of uploads."""
        for stream in list(self._stalled.values()):
            if stream.stream_id not in self.streams or self._unread(stream) < HELD_MAX_BYTES // 2:
                del self._stalled[stream.stream_id]
                yield from self._let_on(stream)
        for stream_id, origin in list(self._full.items()):
            if stream_id not in self.streams or origin.unsent(stream_id) < UNSENT_MAX_BYTES // 2:
                yield from self._empty(stream_id)

    def _start(self, event: events.Start) -> Commands:
        """Begin as mitmproxy does, which first makes a connection of its own."""
        client = self.context.client
        side = self.connections[client] = self._client_side()
        yield from self.event_to_child(side, event)
        if self.mode is HTTPMode.upstream:
            mode = client.proxy_mode
            assert isinstance(mode, UpstreamMode)
            self.context.server.via = (mode.scheme, mode.address)

    def _client_side(self) -> HttpConnection:
        context = fork(self.context, self._options)
        if self.context.client.alpn == b"h2":
            return Http2ClientSide(context, self, self.addon.limits)
        return Http1ClientSide(context, self.addon.limits, self.addon.problem)

    def origin_side(self, context: Context) -> HttpConnection:
        """Make what speaks to an origin that is connected to."""
        if is_h3_alpn(context.server.alpn):
            return Http3Client(context)
        context.options = self._options
        if context.server.alpn == b"h2":
            return Http2OriginSide(context, self, self.addon.limits)
        return Http1OriginSide(context, self.addon.limits)

    def ready(self, wanted: GetHttpConnection) -> Server | None:
        """Return a connection that takes a request at once; None where one has to be got, or is not sure."""
        if self._connected_for != self.context.client.peername:
            return None
        for peer in self.connections:
            if wanted.connection_spec_matches(peer):
                whole = self.context.client.alpn != b"h2" or peer.alpn == b"h2"
                sure = peer.connected and not peer.error and peer not in self.waiting_for_establishment
                return cast("Server", peer) if sure and whole else None
        return None

    def get_connection(self, event: GetHttpConnection, *, reuse: bool = True) -> Commands:
        """Get a connection to an origin; that an earlier one failed is reported once, not for good."""
        yield from super().get_connection(event, reuse=reuse)
        if self.context.server.error and self.context.server not in self.connections:
            self.context.server.error = None

    def _lose(self, event: events.ConnectionClosed) -> Commands:
        """Let go of an origin that has gone: a client of HTTP/2 has a new connection for each request."""
        peer = event.connection
        side = self.connections.get(peer)
        if side is None:
            yield commands.CloseConnection(peer)
            return
        yield from self.event_to_child(side, event)
        if peer.state is ConnectionState.CLOSED and self.context.client.state is not ConnectionState.CLOSED:
            self._forget(peer)  # else all is taken apart together (`teardown.py`)

    def register_connection(self, command: RegisterHttpConnection) -> Commands:
        """Note that an origin is connected to, or cannot be: the next request may try again."""
        yield from super().register_connection(command)
        if command.err:
            self._forget(command.connection)

    def _forget(self, peer: Connection) -> None:
        """Forget a connection, and that to the next proxy behind it: the same layers have both."""
        side = self.connections.pop(peer, None)
        if not isinstance(side, HttpStream):  # else a tunnel, with whatever was connected to in it
            for other in [each for each, its in self.connections.items() if its is side]:
                del self.connections[other]

    def watch(self, stream: ResponseStream) -> None:
        """Look how much a client has left unread of a stream, after more was sent."""
        if stream.flow.request.is_http2 and self._unread(stream) > HELD_MAX_BYTES:
            self._stalled[stream.stream_id] = stream
            self._pause(stream)

    def press(self, stream: ResponseStream) -> None:
        """Pause the origin of a stream that waits."""
        self._waiting.add(stream.stream_id)
        self._pause(stream)

    def ease(self, stream: ResponseStream) -> Commands:
        """Let the origin of a stream go on."""
        self._waiting.discard(stream.stream_id)
        yield from self._let_on(stream)

    def is_stalled(self, stream_id: int) -> bool:
        """Return whether the client leaves too much of a stream unread."""
        return stream_id in self._stalled

    def is_pressed(self, stream_id: int) -> bool:
        """Return whether a stream's origin should not send more."""
        if stream_id in self._stalled or stream_id in self._waiting:
            return True
        stream = self.streams.get(stream_id)
        # a layer of mitmproxy is `_paused` while it waits for a command: what comes meanwhile piles up in it
        return stream is not None and stream._paused is not None  # noqa: SLF001

    def is_full(self, stream_id: int) -> bool:
        """Return whether a stream's client should not send more."""
        stream = self.streams.get(stream_id)
        if stream is not None and stream._paused is not None:  # noqa: SLF001 - as in `is_pressed`
            self._full.setdefault(stream_id, _Waiting(stream))
        return stream_id in self._full

    def fill(self, stream_id: int, origin: Upload) -> None:
        """Note that more of an upload waits for its origin than should."""
        self._full[stream_id] = origin

    def _empty(self, stream_id: int) -> Commands:
        del self._full[stream_id]
        side = self.connections.get(self.context.client)
        if isinstance(side, Http2ClientSide):
            yield from self.event_to_child(side, Acknowledge(stream_id))

    def _pause(self, stream: ResponseStream) -> None:
        pressure = getattr(self.context.client, "pressure", None)
        if pressure is not None and stream.context.server.alpn != b"h2":
            pressure.press(stream.context.server, stream.stream_id)

    def _let_on(self, stream: ResponseStream) -> Commands:
        if stream.stream_id in self._stalled or stream.stream_id in self._waiting:
            return
        server = stream.context.server
        pressure = getattr(self.context.client, "pressure", None)
        if pressure is not None:
            pressure.ease(server, stream.stream_id)
        origin = self.connections.get(server)
        # mitmproxy has the outermost layer of a connection: ours lies below those of TLS and a next proxy
        while origin is not None and not isinstance(origin, Http2OriginSide):
            origin = getattr(origin, "child_layer", None)
        if origin is not None:
            yield from self.event_to_child(self.connections[server], Acknowledge(stream.stream_id))

    def _unread(self, stream: ResponseStream) -> int:
        side = self.connections.get(self.context.client)
        if not isinstance(side, Http2ClientSide):
            return 0
        waiting = side.h2_conn.stream_buffers.get(stream.stream_id)
        return sum(len(piece.data) for piece in waiting) if waiting else 0

    def event_to_child(self, child: layer.Layer, event: events.Event) -> Commands:
        """Pass an event down, and what comes of it where it belongs: mitmproxy's way, exact types first."""
        if type(event) is events.Start:
            adopt(child, self.origin_side)
        command: Any
        for command in child.handle_event(event):
            kind = type(command)
            if kind is ReceiveHttp:
                http_event = command.event
                if type(http_event) is RequestHeaders:
                    self._begin_stream(http_event.stream_id)
                stream = self.streams.get(http_event.stream_id)
                if stream is not None:  # else it has been dropped already
                    yield from self.event_to_child(stream, http_event)
            elif kind is SendHttp:
                side = self.connections.get(command.connection)
                if side is not None:  # else it has gone
                    yield from self.event_to_child(side, command.event)
            elif kind is commands.SendData:
                yield command
            elif kind is DropStream:
                self.streams.pop(command.stream_id, None)
            else:
                yield from self._obey(child, command)

    def _obey(self, child: layer.Layer, command: commands.Command) -> Commands:
        if command.blocking or isinstance(command, commands.RequestWakeup):
            self.command_sources[command] = child  # who waits for it
        if isinstance(command, GetHttpConnection):
            yield from self._leave_others()
            yield from self.get_connection(command)
        elif isinstance(command, RegisterHttpConnection):
            yield from self.register_connection(command)
        else:
            if isinstance(command, commands.OpenConnection):
                self.connections[command.connection] = child
            yield command

    def _leave_others(self) -> Commands:
        """Close what was connected for another client of the same load balancer (`access/forwarding.py`)."""
        now = self.context.client.peername
        if self._connected_for not in {None, now}:
            for peer in [each for each in self.connections if isinstance(each, Server) and each.connected]:
                yield commands.CloseConnection(peer)
        self._connected_for = now

    def _begin_stream(self, stream_id: int) -> None:
        """Make the stream of a new request: ours."""
        self.streams[stream_id] = GatedStream(fork(self.context, self._options), stream_id, self.addon, self)


class GatedLayers:
    """Addon: decides what comes next in a connection, with our layers in the place of mitmproxy's own."""

    def __init__(self, addon: AddonPort) -> None:
        self._addon = addon
        self._decide = Recognizer()

    def configure(self, updated: set[str]) -> None:
        """Pass option changes on."""
        self._decide.configure(updated)

    def client_connected(self, client: Client) -> None:
        """Put our beginning behind a mode that knows where a connection leads before anything is sent."""
        handler = ctx.master.addons.get("proxyserver").connections.get(client.id)
        if handler is not None:
            handler.layer = own_top(handler.layer)

    def next_layer(self, data: layer.NextLayer) -> None:
        """Decide what comes next in a connection."""
        if data.layer:
            return
        self._decide.next_layer(data)
        if data.layer is None:
            raise AddonHalt  # mitmproxy's own addon would decide by what is here
        data.layer = self._swap(data.layer)

    def _swap(self, found: layer.Layer) -> layer.Layer:
        """Replace the HTTP layer of a stack, wherever in it; nothing of it has run yet."""
        if type(found) is HttpLayer:
            ours = GatedHttpLayer(found.context, found.mode, self._addon)
            stack = found.context.layers
            stack[stack.index(found)] = stack.pop()  # __init__ appended it; it belongs where the other was
            return ours
        if type(found) is ClientTLSLayer:
            found.__class__ = BoundedClientTls  # it has only methods to add, and nothing has run yet
        if type(found) is TCPLayer and found.flow is not None:
            stack = found.context.layers
            at = stack.index(found)
            raw = RawTunnel(found.context, "as the mode says")
            stack[at] = stack.pop()
            return raw
        child = getattr(found, "child_layer", None)
        if isinstance(child, layer.Layer) and not isinstance(child, layer.NextLayer):
            found.child_layer = self._swap(child)  # type: ignore[attr-defined]
        return found


class _Waiting:
    """A stream that takes nothing of its upload while it waits for something."""

    def __init__(self, stream: HttpStream) -> None:
        self._stream = stream

    def unsent(self, _stream_id: int) -> int:
        """Return more than may wait, while it does."""
        return UNSENT_MAX_BYTES if self._stream._paused is not None else 0  # noqa: SLF001
