"""Our protocol layers in mitmproxy's stack: the HTTP layer with gated streams, and who puts it there.

mitmproxy's `NextLayer` addon decides which protocol comes next; `GatedLayers` runs before it, decides by more
of the bytes (`recogniser.py`) and swaps each `HttpLayer` for ours. HTTP/1 (`http1.py`) and HTTP/2 connections
are ours too. An HTTP/2 upload to a refused URL is ended with RST_STREAM(NO_ERROR) after the answer (RFC 9113,
8.1).
"""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import h2.errors
import h2.events
from mitmproxy import ctx, http
from mitmproxy.connection import Client
from mitmproxy.exceptions import AddonHalt
from mitmproxy.options import Options
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import HttpClient, HttpLayer, HTTPMode, RegisterHttpConnection, is_h3_alpn
from mitmproxy.proxy.layers.http._base import HttpEvent, ReceiveHttp
from mitmproxy.proxy.layers.http._events import ResponseData
from mitmproxy.proxy.layers.http._http2 import Http2Client, Http2Server, StreamState
from mitmproxy.proxy.layers.http._http3 import Http3Client
from mitmproxy.proxy.layers.tcp import TCPLayer
from mitmproxy.proxy.layers.tls import ServerTLSLayer

from secondlook.proxy.gated import GatedStream
from secondlook.proxy.http1 import Http1ClientSide, Http1OriginSide
from secondlook.proxy.recogniser import Recogniser
from secondlook.proxy.stream import InterimResponse, StopUpload, Withdrawn
from secondlook.proxy.tls_layers import OriginTls
from secondlook.proxy.tunnel import RawTunnel, own_top

if TYPE_CHECKING:
    from secondlook.proxy.addon import SecondLookAddon

type Commands = layer.CommandGenerator[None]

HELD_MAX_BYTES = 1 << 20  # of one stream whose client does not read, before its origin is paused
ORIGIN_WINDOW_BYTES = 2 << 20  # what an HTTP/2 origin may send of a stream unacknowledged


class _Http2ClientSide(Http2Server):
    """HTTP/2 towards the client."""

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, InterimResponse):
            if self.is_open_for_us(event.stream_id):
                fields = [(name.lower(), value) for name, value in event.response.data.headers.fields]
                status = b"%d" % event.response.data.status_code
                self.h2_conn.send_headers(event.stream_id, [(b":status", status), *fields])
                yield commands.SendData(self.conn, self.h2_conn.data_to_send())
            return
        if isinstance(event, StopUpload):
            if not self.is_closed(event.stream_id):
                self.h2_conn.reset_stream(event.stream_id, h2.errors.ErrorCodes.NO_ERROR)
                yield commands.SendData(self.conn, self.h2_conn.data_to_send())
            return
        yield from super()._handle_event(event)


@dataclass
class _Acknowledge(HttpEvent):
    """A stream has room again: let the origin send more of it."""


class _Http2OriginSide(Http2Client):
    """HTTP/2 towards the origin, with a window that closes while a stream's client does not read.

    mitmproxy opens windows of 2 GiB and acknowledges everything at once: a client that stops reading would
    have the whole file buffered.
    """

    def __init__(self, context: Context, http: "GatedHttpLayer") -> None:
        super().__init__(context)
        self._http = http
        self._unacknowledged: dict[int, int] = {}
        self.h2_conn.local_settings.initial_window_size = ORIGIN_WINDOW_BYTES
        self.h2_conn.local_settings.acknowledge()

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, Withdrawn):
            theirs = event.stream_id
            yield from super()._handle_event(event)
            ours = self.our_stream_id.pop(theirs, None)  # the next request of this stream gets another
            if ours is not None:
                self.streams.pop(ours, None)
                self._unacknowledged.pop(ours, None)
            return
        if isinstance(event, _Acknowledge):
            ours = self.our_stream_id.get(event.stream_id)
            count = self._unacknowledged.pop(ours, 0) if ours is not None else 0
            if count and ours is not None and not self.is_closed(ours):
                self.h2_conn.acknowledge_received_data(count, ours)
                yield commands.SendData(self.conn, self.h2_conn.data_to_send())
            return
        yield from super()._handle_event(event)

    def handle_h2_event(self, event: h2.events.Event) -> layer.CommandGenerator[bool]:
        """Acknowledge data only while its client keeps up."""
        if isinstance(event, h2.events.InformationalResponseReceived):
            (_, status), *fields = event.headers
            if status != b"101":  # there is none in HTTP/2 (RFC 9113, 8.6)
                interim = http.Response(b"HTTP/2.0", int(status), b"", http.Headers(fields), None, None, 0, 0)
                yield ReceiveHttp(InterimResponse(self.their_stream_id[event.stream_id], interim))
            return False
        if (
            not isinstance(event, h2.events.DataReceived)
            or self.streams.get(event.stream_id) is not StreamState.HEADERS_RECEIVED
        ):
            return (yield from super().handle_h2_event(event))
        theirs = self.their_stream_id[event.stream_id]
        if event.data or not event.stream_ended:
            yield ReceiveHttp(ResponseData(event.stream_id, event.data))
        count = event.flow_controlled_length or 0
        if self._http.is_pressed(theirs):
            self._unacknowledged[event.stream_id] = self._unacknowledged.get(event.stream_id, 0) + count
        else:
            self.h2_conn.acknowledge_received_data(count, event.stream_id)
        return False


class GatedHttpLayer(HttpLayer):
    """mitmproxy's HTTP layer with gated streams, our connections and back-pressure by stream.

    A stream is *pressed* while its client has more than `HELD_MAX_BYTES` unread, or while it waits in the
    middle of its body. An HTTP/2 origin is then not acknowledged; an HTTP/1 origin is not read, which needs
    our `Connection` (there is none in `mitmdump -s`).
    """

    def __init__(self, context: Context, mode: HTTPMode, edge: "SecondLookAddon") -> None:
        super().__init__(context, mode)
        self.edge = edge
        self._options = context.options
        if hasattr(context.client, "begin"):  # in `mitmdump -s` they may change
            self._options = cast("Options", _Settled(context.options))
        self._stalled: dict[int, GatedStream] = {}
        self._waiting: set[int] = set()

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, events.Start) and not is_h3_alpn(self.context.client.alpn):
            context = self.context.fork()
            self.connections[self.context.client] = (
                _Http2ClientSide(context)
                if self.context.client.alpn == b"h2"
                else Http1ClientSide(context, self.edge.limits, self.edge.site.problem)
            )
        yield from super()._handle_event(event)
        if self._stalled:
            for stream in list(self._stalled.values()):
                if stream.stream_id not in self.streams or self._unread(stream) < HELD_MAX_BYTES // 2:
                    del self._stalled[stream.stream_id]
                    yield from self._let_on(stream)

    def watch(self, stream: GatedStream) -> None:
        """Look how much a client has left unread of a stream, after more was sent."""
        if stream.flow.request.is_http2 and self._unread(stream) > HELD_MAX_BYTES:
            self._stalled[stream.stream_id] = stream
            self._pause(stream)

    def press(self, stream: GatedStream) -> None:
        """Pause the origin of a stream that waits."""
        self._waiting.add(stream.stream_id)
        self._pause(stream)

    def ease(self, stream: GatedStream) -> Commands:
        """Let the origin of a stream go on."""
        self._waiting.discard(stream.stream_id)
        yield from self._let_on(stream)

    def is_stalled(self, stream_id: int) -> bool:
        """Tell whether the client leaves too much of a stream unread."""
        return stream_id in self._stalled

    def is_pressed(self, stream_id: int) -> bool:
        """Tell whether a stream's origin should not send more."""
        if stream_id in self._stalled or stream_id in self._waiting:
            return True
        stream = self.streams.get(stream_id)
        return stream is not None and stream._paused is not None  # noqa: SLF001

    def _pause(self, stream: GatedStream) -> None:
        pressure = getattr(self.context.client, "pressure", None)
        if pressure is not None and stream.context.server.alpn != b"h2":
            pressure.press(stream.context.server, stream.stream_id)

    def _let_on(self, stream: GatedStream) -> Commands:
        if stream.stream_id in self._stalled or stream.stream_id in self._waiting:
            return
        server = stream.context.server
        pressure = getattr(self.context.client, "pressure", None)
        if pressure is not None:
            pressure.ease(server, stream.stream_id)
        origin = self.connections.get(server)
        while origin is not None and not isinstance(origin, _Http2OriginSide):
            origin = getattr(origin, "child_layer", None)
        if origin is not None:
            yield from self.event_to_child(self.connections[server], _Acknowledge(stream.stream_id))

    def _unread(self, stream: GatedStream) -> int:
        side = self.connections.get(self.context.client)
        if not isinstance(side, _Http2ClientSide):
            return 0
        waiting = side.h2_conn.stream_buffers.get(stream.stream_id)
        return sum(len(piece.data) for piece in waiting) if waiting else 0

    def event_to_child(self, child: layer.Layer, event: events.Event) -> Commands:
        """Pass an event down, looking only at the first."""
        if type(event) is events.Start:
            _adopt(child, self)
        return super().event_to_child(child, event)

    def make_stream(self, stream_id: int) -> Commands:
        """Make the stream of a new request: ours."""
        stream = GatedStream(_fork(self.context, self._options), stream_id, self.edge)
        self.streams[stream_id] = stream
        yield from self.event_to_child(stream, events.Start())


class GatedLayers:
    """Addon: decides what comes next in a connection, with our layers in the place of mitmproxy's own."""

    def __init__(self, edge: "SecondLookAddon") -> None:
        self._edge = edge
        self._decide = Recogniser()

    def configure(self, updated: set[str]) -> None:
        """Pass option changes on."""
        self._decide.configure(updated)

    def client_connected(self, client: Client) -> None:
        """Put our beginning behind a mode that knows where a connection leads before anything is said."""
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
            ours = GatedHttpLayer(found.context, found.mode, self._edge)
            stack = found.context.layers
            stack[stack.index(found)] = stack.pop()  # __init__ appended it; it belongs where the other was
            return ours
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


class _Settled:
    """Options as they stand when a connection begins: asking mitmproxy takes a microsecond each time."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.proxy_debug = getattr(options, "proxy_debug", False)

    def __getattr__(self, name: str) -> Any:
        value = self.__dict__[name] = getattr(self._options, name)
        return value


def _fork(context: Context, options: Options) -> Context:
    """Fork a context without making the server that mitmproxy makes first and forgets."""
    fork = Context.__new__(Context)
    fork.client, fork.server, fork.options = context.client, context.server, options
    fork.layers = context.layers.copy()
    return fork


def _adopt(child: layer.Layer, http: GatedHttpLayer) -> None:
    """Let an HTTP client layer that is about to start speak through our connections."""
    while type(child) is not HttpClient:
        if type(child) is ServerTLSLayer:
            child.__class__ = OriginTls  # it has only methods to add, and nothing has run yet
        below = getattr(child, "child_layer", None)
        if not isinstance(below, layer.Layer):
            return
        child = below
    child._handle_event = partial(_start_origin, child, http)  # noqa: SLF001


def _start_origin(client: HttpClient, http: GatedHttpLayer, event: events.Event) -> Commands:
    """Do what `HttpClient` does at its start, with our connections."""
    server = client.context.server
    error: str | None = None
    if not server.connected:
        error = yield commands.OpenConnection(server)
    if not error:
        if is_h3_alpn(server.alpn):
            client.child_layer = Http3Client(client.context)
        elif server.alpn == b"h2":
            client.child_layer = _Http2OriginSide(client.context, http)
        else:
            client.child_layer = Http1OriginSide(client.context, http.edge.limits)
        # nothing is left to do for the layer between
        client.handle_event = client._handle_event = client.child_layer.handle_event  # type: ignore[method-assign]  # noqa: SLF001
        yield from client.child_layer.handle_event(event)
    yield RegisterHttpConnection(server, error)
