"""Contexts of streams and clients of origins, made without what mitmproxy makes beside them."""

from collections.abc import Callable
from functools import partial
from typing import Any

from mitmproxy.options import Options
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import HttpClient, RegisterHttpConnection
from mitmproxy.proxy.layers.http._base import HttpConnection
from mitmproxy.proxy.layers.tls import ServerTLSLayer

from secondlook.proxy.mitm.commands import Commands
from secondlook.proxy.mitm.tls.tls_layers import OriginTls

type OriginSide = Callable[[Context], HttpConnection]
"""Makes what speaks to an origin that is connected to."""


class SettledOptions:
    """Options as they stand when a connection begins: asking mitmproxy takes a microsecond each time."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.proxy_debug = getattr(options, "proxy_debug", False)

    def __getattr__(self, name: str) -> Any:
        value = self.__dict__[name] = getattr(self._options, name)
        return value


def fork(context: Context, options: Options) -> Context:
    """Fork a context without making the server that mitmproxy makes first and forgets."""
    made = Context.__new__(Context)
    made.client, made.server, made.options = context.client, context.server, options
    made.layers = context.layers.copy()
    return made


def adopt(child: layer.Layer, origin_side: OriginSide) -> None:
    """Let an HTTP client layer that is about to start speak through our connections."""
    while type(child) is not HttpClient:
        if type(child) is ServerTLSLayer:
            child.__class__ = OriginTls  # it has only methods to add, and nothing has run yet
        below = getattr(child, "child_layer", None)
        if not isinstance(below, layer.Layer):
            return
        child = below
    # `HttpClient` makes mitmproxy's own connection at its start, and nobody can choose: the start is replaced
    child._handle_event = partial(_start_origin, child, origin_side)  # noqa: SLF001


def _start_origin(client: HttpClient, origin_side: OriginSide, event: events.Event) -> Commands:
    """Do what `HttpClient` does at its start, with our connections."""
    server = client.context.server
    error: str | None = None
    if not server.connected:
        error = yield commands.OpenConnection(server)
    if not error:
        client.child_layer = origin_side(client.context)
        # nothing is left to do for the layer between
        client.handle_event = client._handle_event = client.child_layer.handle_event  # type: ignore[method-assign]  # noqa: SLF001
        yield from client.child_layer.handle_event(event)
    yield RegisterHttpConnection(server, error)
