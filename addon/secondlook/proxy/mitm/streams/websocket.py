"""WebSocket between a client and its origin: bytes are passed on as they come.

mitmproxy's layer inflates and collects every message before it goes on: 306 kB that inflate to 300 MB take
1.5 GB of memory and hold the event loop for seconds. Nobody here reads messages (the address was checked
before the connection was made), so nothing is collected, inflated or written anew. Whatever extensions the
two sides agreed on (RFC 6455, 9; RFC 7692) stay theirs, frames keep their limits and masks, and a connection
that ends without a Close frame ends so on the other side too (RFC 6455, 7.1.5: 1006).
"""

import time

from mitmproxy.http import HTTPFlow
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.websocket import WebsocketEndHook, WebsocketStartHook

from secondlook.proxy.mitm.commands import Commands


class WebSocketRelay(layer.Layer):
    """A WebSocket connection after its handshake."""

    def __init__(self, context: Context, flow: HTTPFlow) -> None:
        super().__init__(context)
        self.flow = flow

    def _handle_event(self, event: events.Event) -> Commands:
        client, origin = self.context.client, self.context.server
        if isinstance(event, events.DataReceived):
            other = origin if event.connection == client else client
            yield commands.SendData(other, event.data)
        elif isinstance(event, events.ConnectionClosed):
            yield from self._end(by_client=event.connection == client)
        elif isinstance(event, events.Start):
            yield WebsocketStartHook(self.flow)

    def _end(self, *, by_client: bool) -> Commands:
        """Close both sides; what was received is on its way already."""
        self._handle_event = self._ended  # type: ignore[assignment]
        yield commands.CloseConnection(self.context.client)
        yield commands.CloseConnection(self.context.server)
        assert self.flow.websocket is not None
        self.flow.websocket.timestamp_end = time.time()
        self.flow.websocket.closed_by_client = by_client
        yield WebsocketEndHook(self.flow)
        self.flow.live = False

    def _ended(self, _: events.Event) -> Commands:
        yield from ()
