"""Our protocol layers in mitmproxy's stack: the HTTP layer with gated streams, and who puts it there.

mitmproxy's `NextLayer` addon decides which protocol comes next; `GatedLayers` runs before it, takes its
decision and swaps each `HttpLayer` for ours. HTTP/1 and HTTP/2 connections are ours too:

- HTTP/1.1 trailers raise NotImplementedError in mitmproxy and truncate clean files; they are read and
  dropped (RFC 9110, 6.5.1 allows it).
- An HTTP/2 body without a length goes to an HTTP/1 origin in chunks; mitmproxy would send none.
- An HTTP/2 upload to a refused URL is ended with RST_STREAM(NO_ERROR) after the answer (RFC 9113, 8.1).
"""

from functools import partial
from typing import TYPE_CHECKING, Any

import h2.errors
import h11
from h11._readers import ChunkedReader
from mitmproxy.addons.next_layer import NextLayer
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import HttpClient, HttpLayer, HTTPMode, RegisterHttpConnection, is_h3_alpn
from mitmproxy.proxy.layers.http._base import HttpEvent
from mitmproxy.proxy.layers.http._events import (
    RequestHeaders,
    RequestTrailers,
    ResponseData,
    ResponseTrailers,
)
from mitmproxy.proxy.layers.http._http1 import Http1Client, Http1Server
from mitmproxy.proxy.layers.http._http2 import Http2Client, Http2Server
from mitmproxy.proxy.layers.http._http3 import Http3Client

from secondlook.proxy.stream import GatedStream, StopUpload

if TYPE_CHECKING:
    from secondlook.proxy.addon import SecondLookAddon

type Commands = layer.CommandGenerator[None]


class _TrailerlessReader(ChunkedReader):
    """h11's reader of chunked bodies, forgetting the trailers."""

    def __call__(self, buf: Any) -> Any:
        event = super().__call__(buf)
        return h11.EndOfMessage() if isinstance(event, h11.EndOfMessage) and event.headers else event


class _Http1ClientSide(Http1Server):
    """HTTP/1 towards the client."""

    def send(self, event: HttpEvent) -> Commands:
        if isinstance(event, ResponseTrailers | StopUpload):
            return
        if isinstance(event, ResponseData) and not event.data:
            return  # an empty chunk would end a chunked body
        yield from super().send(event)

    def read_body(self, event: events.Event) -> Commands:
        if type(self.body_reader) is ChunkedReader:
            self.body_reader = _TrailerlessReader()
        return super().read_body(event)


class _Http1OriginSide(Http1Client):
    """HTTP/1 towards the origin."""

    def send(self, event: HttpEvent) -> Commands:
        if isinstance(event, RequestTrailers):
            return
        if isinstance(event, RequestHeaders) and not event.end_stream and event.request.is_http2:
            headers = event.request.headers
            if "content-length" not in headers and "transfer-encoding" not in headers:
                headers["transfer-encoding"] = "chunked"
        yield from super().send(event)

    def read_body(self, event: events.Event) -> Commands:
        if type(self.body_reader) is ChunkedReader:
            self.body_reader = _TrailerlessReader()
        return super().read_body(event)


class _Http2ClientSide(Http2Server):
    """HTTP/2 towards the client."""

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, StopUpload):
            if not self.is_closed(event.stream_id):
                self.h2_conn.reset_stream(event.stream_id, h2.errors.ErrorCodes.NO_ERROR)
                yield commands.SendData(self.conn, self.h2_conn.data_to_send())
            return
        yield from super()._handle_event(event)


class GatedHttpLayer(HttpLayer):
    """mitmproxy's HTTP layer with gated streams and our connections."""

    def __init__(self, context: Context, mode: HTTPMode, edge: "SecondLookAddon") -> None:
        super().__init__(context, mode)
        self.edge = edge

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, events.Start) and not is_h3_alpn(self.context.client.alpn):
            side = _Http2ClientSide if self.context.client.alpn == b"h2" else _Http1ClientSide
            self.connections[self.context.client] = side(self.context.fork())
        yield from super()._handle_event(event)

    def event_to_child(self, child: layer.Layer, event: events.Event) -> Commands:
        """Pass an event down, looking only at the first."""
        if type(event) is events.Start:
            _adopt(child)
        return super().event_to_child(child, event)

    def make_stream(self, stream_id: int) -> Commands:
        """Make the stream of a new request: ours."""
        stream = GatedStream(self.context.fork(), stream_id, self.edge)
        self.streams[stream_id] = stream
        yield from self.event_to_child(stream, events.Start())


class GatedLayers:
    """Addon: asks mitmproxy's `NextLayer` and puts our HTTP layer in the place of its own."""

    def __init__(self, edge: "SecondLookAddon") -> None:
        self._edge = edge
        self._decide = NextLayer()

    def configure(self, updated: set[str]) -> None:
        """Pass option changes on."""
        self._decide.configure(updated)

    def next_layer(self, data: layer.NextLayer) -> None:
        """Decide what comes next in a connection."""
        if data.layer:
            return
        self._decide.next_layer(data)
        if data.layer is not None:
            data.layer = self._swap(data.layer)

    def _swap(self, found: layer.Layer) -> layer.Layer:
        """Replace the HTTP layer of a stack, wherever in it; nothing of it has run yet."""
        if type(found) is HttpLayer:
            ours = GatedHttpLayer(found.context, found.mode, self._edge)
            stack = found.context.layers
            stack[stack.index(found)] = stack.pop()  # __init__ appended it; it belongs where the other was
            return ours
        child = getattr(found, "child_layer", None)
        if isinstance(child, layer.Layer) and not isinstance(child, layer.NextLayer):
            found.child_layer = self._swap(child)  # type: ignore[attr-defined]
        return found


def _adopt(child: layer.Layer) -> None:
    """Let an HTTP client layer that is about to start speak through our HTTP/1 connection."""
    while type(child) is not HttpClient:
        below = getattr(child, "child_layer", None)
        if not isinstance(below, layer.Layer):
            return
        child = below
    child._handle_event = partial(_start_origin, child)  # noqa: SLF001


def _start_origin(client: HttpClient, event: events.Event) -> Commands:
    """Do what `HttpClient` does at its start, with our HTTP/1 connection."""
    server = client.context.server
    error: str | None = None
    if not server.connected:
        error = yield commands.OpenConnection(server)
    if not error:
        if is_h3_alpn(server.alpn):
            client.child_layer = Http3Client(client.context)
        elif server.alpn == b"h2":
            client.child_layer = Http2Client(client.context)
        else:
            client.child_layer = _Http1OriginSide(client.context)
        client._handle_event = client.child_layer.handle_event  # noqa: SLF001
        yield from client.child_layer.handle_event(event)
    yield RegisterHttpConnection(server, error)
