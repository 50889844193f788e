"""What comes next in a TCP connection, decided by enough of its bytes.

mitmproxy decides by the first segment: a ClientHello cut after its first byte, or a port that it gives to
another protocol, turns its interception off. Here a decision waits until the bytes show it
(`core/protocol.py`), and what is not opened becomes a `RawTunnel`, whose host is judged: docs/upstream.md.
"""

import contextlib

from mitmproxy.addons.next_layer import NeedsMoreData, NextLayer
from mitmproxy.proxy import layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import HttpLayer, modes
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.proxy.mode_specs import ProxyMode, WireGuardMode

from secondlook.core.protocol import Protocol, name_of, recognise
from secondlook.proxy.mitm.tls.tls_layers import ClientTls, OriginTls
from secondlook.proxy.mitm.tls.tunnel import HTTP_OVER_TCP, Opening, RawTunnel

_ENDPOINTS = modes.HttpProxy | modes.HttpUpstreamProxy | modes.ReverseProxy  # asked themselves
_RESOLVER = ("10.0.0.53", 53)
GREETED = "a server spoke before its client began TLS or HTTP"


class Recognizer(NextLayer):
    """mitmproxy's decisions, with ours for what is inside a tunnel."""

    def next_layer(self, nextlayer: layer.NextLayer) -> None:
        """Decide what comes next; nothing where more bytes are needed."""
        with contextlib.suppress(NeedsMoreData):
            nextlayer.layer = self._choose(nextlayer)

    def _choose(self, nextlayer: layer.NextLayer) -> layer.Layer | None:
        context, data = nextlayer.context, nextlayer.data_client()
        mode = context.client.proxy_mode
        stock = context.client.transport_protocol != "tcp" or is_virtual_resolver(
            mode, context.server.address
        )
        if stock or self._ignore_connection(context, data, b""):
            return self._next_layer(context, data, b"")
        greeting, patient = b"", True
        if isinstance(nextlayer, Opening):
            greeting, patient = nextlayer.greeting, nextlayer.patient
        if isinstance(context.layers[-1], _ENDPOINTS):
            if patient and b"\x16\x03".startswith(data[:2]) and recognise(data) is None:
                return None
            return self._next_layer(context, data, b"")
        if context.client.alpn in HTTP_OVER_TCP:
            return HttpLayer(context, HTTPMode.transparent)
        protocol = recognise(data, patient=patient)
        if protocol is None and (patient or not greeting):
            return None
        if protocol is None or protocol is Protocol.OTHER:
            return RawTunnel(context, _description(context, greeting, data))
        if greeting:
            return RawTunnel(context, GREETED, refused=True)
        return _tls(context) if protocol is Protocol.TLS else HttpLayer(context, HTTPMode.transparent)


def is_virtual_resolver(mode: ProxyMode, address: tuple[str, int] | None) -> bool:
    """Return whether this is the resolver that mitmproxy plays for WireGuard clients."""
    return isinstance(mode, WireGuardMode) and address == _RESOLVER


def _tls(context: Context) -> layer.Layer:
    outer = OriginTls(context)
    outer.child_layer = ClientTls(context)
    return outer


def _description(context: Context, greeting: bytes, data: bytes) -> str:
    """Return what a tunnel is that is not opened, by who spoke first."""
    inside = " inside TLS" if context.client.tls_established else ""
    return f"{name_of(greeting or data)}{inside}{', its server spoke first' if greeting else ''}"
