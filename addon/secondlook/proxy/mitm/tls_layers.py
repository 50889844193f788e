"""TLS with both sides: bounded in time, and ended by an alert whenever it comes.

mitmproxy waits for a handshake as long as the peer likes, and only logs an alert that comes after it: in TLS
1.3 that is how an origin says that it wants a client certificate, and the request would wait for good. See
docs/upstream.md.
"""

import re

from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.tls import ClientTLSLayer, ServerTLSLayer, TlsFailedServerHook, TLSLayer
from mitmproxy.proxy.tunnel import TunnelState
from mitmproxy.tls import TlsData

from secondlook.proxy.mitm.tunnel import Opening

type Commands = layer.CommandGenerator[None]

HANDSHAKE_S = 20.0
NO_HANDSHAKE = "no TLS handshake within the time for it"
ALERT = "TLS ended: "
_BROKEN = "TLS Error: "  # begins what mitmproxy logs of it
_LAST_REASON = re.compile(r"'([^']*)'\)\]$")


class _Bounded(TLSLayer):
    """TLS whose handshake has to be over in time."""

    _timer: commands.RequestWakeup | None = None

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, events.Wakeup) and event.command is self._timer:
            self._timer = None
            if self.tunnel_state is TunnelState.ESTABLISHING:
                yield from self.on_handshake_error(NO_HANDSHAKE)
                yield from self._handshake_finished(NO_HANDSHAKE)
            return
        yield from super()._handle_event(event)

    def start_handshake(self) -> Commands:
        """Begin, and note when it has to be over."""
        self._timer = commands.RequestWakeup(HANDSHAKE_S)
        yield self._timer
        yield from super().start_handshake()


class OriginTls(_Bounded, ServerTLSLayer):
    """TLS towards an origin."""

    def receive_data(self, data: bytes) -> Commands:
        """Take data; what breaks TLS, an alert above all, ends the connection."""
        broken: str | None = None
        for command in super().receive_data(data):
            if isinstance(command, commands.Log) and command.message.startswith(_BROKEN):
                broken = command.message
            yield command
        if broken is None or self.tunnel_state is not TunnelState.OPEN:
            return
        reason = _LAST_REASON.search(broken)
        self.conn.error = ALERT + (reason[1] if reason is not None else broken.removeprefix(_BROKEN))
        self.tunnel_state = TunnelState.CLOSED
        yield TlsFailedServerHook(TlsData(self.conn, self.context, self.tls))
        yield commands.CloseConnection(self.conn)
        yield from self.event_to_child(events.ConnectionClosed(self.conn))


class BoundedClientTls(_Bounded, ClientTLSLayer):
    """TLS towards a client that speaks it with the proxy itself, or of a mode that begins with it."""


class ClientTls(BoundedClientTls):
    """TLS towards a client, inside a tunnel."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.child_layer = Opening(self.context)

    def start_tls(self) -> Commands:
        """Open the origin's TLS first where its connection stands already, as its client was silent."""
        server = self.context.server
        if server.connected and not server.tls_established and self.server_tls_available:
            yield from self.start_server_tls()
        yield from super().start_tls()
