"""A tunnel from its first byte until it is known what runs through it, and one that is not opened at all.

Theory. Who speaks first shows the protocol, and only the client's bytes decide whether a tunnel is opened: a
server could otherwise turn its checks off by a greeting.

```
undecided ─┬─ the client speaks TLS or HTTP ──────────► opened (`layers.py`); after a greeting: closed
           ├─ the client speaks something else ───────► RawTunnel
           └─ the client is silent for a while ► host judged ► origin connected ─┐
                ┌────────────────────────────────────────────────────────────────┘
                ├─ the server speaks: its bytes go on ► the client answers ► as above
                └─ nobody speaks: the client may yet begin ► as above, over the connection that is open
```

A mode decides what stands before the tunnel; `own_top` and `own_tunnel` put our first layer behind it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from mitmproxy import flow as mitm_flow
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import modes
from mitmproxy.proxy.layers.tcp import TcpErrorHook, TCPLayer, TcpStartHook
from mitmproxy.proxy.layers.tls import HTTP1_ALPNS, HTTP2_ALPN
from mitmproxy.proxy.mode_specs import ReverseMode
from mitmproxy.proxy.tunnel import TunnelLayer

from secondlook.proxy.mitm.commands import Commands

HTTP_OVER_TCP = (HTTP2_ALPN, *HTTP1_ALPNS)  # of the protocols of ALPN: those of mitmproxy's have HTTP/3 too
SILENCE_S = 1.0  # a client that sends nothing for so long may wait for the server to begin
BEGINNING_S = 30.0  # what a client begins to send may be so long undecided
GREETING_BYTES = 256  # kept of what a server sends first, to name its protocol
TUNNEL = "secondlook.tunnel"  # key of a raw flow's metadata: what it is taken for
_RAW_SCHEMES = ("tcp", "tls")  # of a reverse proxy
REFUSED = "secondlook.tunnel_refused"  # … and whether it may not go on, whatever its host


class Silence(Enum):
    """What becomes of a tunnel whose client sends nothing."""

    CONNECT = "connect"  # the server may begin
    WAIT = "wait"  # it goes nowhere, but what the client begins may deserve a page
    REFUSE = "refuse"


@dataclass
class SecondlookSilenceHook(commands.StartHook):
    """A client sends nothing: its host is to be judged before it is connected to (`opening.silence`)."""

    opening: "Opening"


class Opening(layer.NextLayer):
    """The undecided beginning of a tunnel."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.patient = True
        self.greeting = b""  # what the server sent before the client did
        self.silence: Silence | None = None  # set by the hook
        self.silences = 0
        self._timers: set[commands.Command] = set()
        self._overdue: commands.RequestWakeup | None = None
        self._ours = False  # the server connection

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, events.Wakeup):
            if event.command is self._overdue:
                yield commands.Log(f"no protocol was recognized within {BEGINNING_S:g} s")
                yield commands.CloseConnection(self.context.client)
                return
            self._timers.discard(event.command)
            if not self._timers:  # an earlier one: something was sent since
                yield from self._silent()
        elif isinstance(event, events.ConnectionEvent) and event.connection == self.context.server:
            yield from self._from_server(event)
        else:
            self.patient = True
            yield from super()._handle_event(event)
            if isinstance(event, events.ConnectionClosed):
                if self._ours and self.context.server.connected:
                    yield commands.CloseConnection(self.context.server)
            elif self.layer is None:
                yield from self._listen()

    def _ask(self) -> Commands:
        yield from super()._ask()
        if self.layer is not None and self._overdue is not None:
            self._timers.add(self._overdue)
        # `NextLayer` puts the layer it found in all three places, which would then get our wake-ups
        if self.layer is not None and self._timers:
            self.handle_event = self._handle_event = self._handle = self._outlive  # type: ignore[method-assign]

    def _outlive(self, event: events.Event) -> Commands:
        """Keep the timers that still run from the layer that was decided on."""
        assert self.layer is not None
        if not isinstance(event, events.Wakeup) or event.command not in self._timers:
            yield from self.layer.handle_event(event)
            return
        self._timers.discard(event.command)
        if not self._timers:
            self.handle_event = self._handle_event = self._handle = self.layer.handle_event  # type: ignore[method-assign]

    def _listen(self) -> Commands:
        """Notice it when the client falls silent; one whose protocol is known already may take its time."""
        if self._overdue is None and self.data_client():
            self._overdue = commands.RequestWakeup(BEGINNING_S)
            yield self._overdue
        mode = self.context.client.proxy_mode
        waits = mode.scheme in _RAW_SCHEMES if isinstance(mode, ReverseMode) else True
        if waits and self.context.client.alpn not in HTTP_OVER_TCP:
            timer = commands.RequestWakeup(SILENCE_S)
            self._timers.add(timer)
            yield timer

    def _silent(self) -> Commands:
        client, server = self.context.client, self.context.server
        if self.data_client() or isinstance(client.proxy_mode, ReverseMode):
            self.patient = False
            yield from self._ask()
            return
        if server.connected or server.address is None or not client.connected:
            return
        self.silences += 1
        yield SecondlookSilenceHook(self)
        if self._paused_event_queue:  # it has begun after all
            return
        if self.silence is Silence.CONNECT:
            self._ours = True
            error = yield commands.OpenConnection(server)
            if error and not self._paused_event_queue:
                yield commands.CloseConnection(client)
        elif self.silence is Silence.WAIT:
            yield from self._listen()
        else:
            yield commands.CloseConnection(client)

    def _from_server(self, event: events.ConnectionEvent) -> Commands:
        if isinstance(event, events.DataReceived):
            self.greeting = self.greeting or event.data[:GREETING_BYTES]
            yield commands.SendData(self.context.client, event.data)
        elif isinstance(event, events.ConnectionClosed):
            yield commands.CloseConnection(event.connection)
            yield commands.CloseConnection(self.context.client)


class RawTunnel(TCPLayer):
    """A tunnel that is not opened: its host is judged before a byte of the client goes on."""

    def __init__(self, context: Context, what: str, *, refused: bool = False) -> None:
        super().__init__(context)
        assert self.flow is not None
        self.flow.metadata[TUNNEL] = what
        self.flow.metadata[REFUSED] = refused

    def start(self, _: events.Event) -> Commands:
        """Judge and connect; mitmproxy would not heed the verdict where the origin is connected already."""
        assert self.flow is not None
        yield TcpStartHook(self.flow)
        server = self.context.server
        error = self.flow.error.msg if self.flow.error is not None else None
        if error is None and server.timestamp_start is None:
            error = yield commands.OpenConnection(server)
        elif error is None and server.state is ConnectionState.CLOSED:  # it failed in the client's silence
            error = server.error or "the connection is closed"
        if error is None:
            self._handle_event = self.relay_messages  # type: ignore[method-assign]
            return
        self.flow.error = mitm_flow.Error(str(error))
        yield TcpErrorHook(self.flow)
        self.flow.live = False
        if server.state is not ConnectionState.CLOSED:
            yield commands.CloseConnection(server)
        yield commands.CloseConnection(self.context.client)
        self._handle_event = self.done  # type: ignore[method-assign]

    _handle_event = start


def own_tunnel(first: layer.Layer, context: Context) -> layer.Layer:
    """Put our beginning at the end of what stands before a tunnel (an upstream proxy's CONNECT)."""
    if isinstance(first, layer.NextLayer):
        return Opening(context)
    if isinstance(first, TunnelLayer):
        first.child_layer = own_tunnel(first.child_layer, first.context)
    return first


class _Passing(layer.Layer):
    """A layer that stands above others until it is known what is spoken, and is left out then."""

    def handle_event(self, event: events.Event) -> Commands:
        yield from super().handle_event(event)
        first = getattr(self._handle_event, "__self__", None)
        if isinstance(first, layer.NextLayer) and first.layer is getattr(first._handle, "__self__", self):  # noqa: SLF001
            self.handle_event = first.layer.handle_event  # type: ignore[method-assign]


class _Regular(_Passing, modes.HttpProxy):
    pass


class _Upstream(_Passing, modes.HttpUpstreamProxy):
    pass


class _Destined(_Passing, modes.DestinationKnown):
    """A mode that knows where a connection leads before anything is sent."""

    def finish_start(self) -> layer.CommandGenerator[str | None]:
        self.child_layer = own_tunnel(self.child_layer, self.context)
        return (yield from super().finish_start())


class _Socks5(_Destined, modes.Socks5Proxy):
    """SOCKS5 whose greeting and request have to be over in time."""

    _overdue: commands.RequestWakeup | None = None

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, events.Wakeup):
            yield from self.socks_err(f"SOCKS5 did not begin within {BEGINNING_S:g} s")
            return
        if self._overdue is None and isinstance(event, events.DataReceived):
            self._overdue = commands.RequestWakeup(BEGINNING_S)
            yield self._overdue
        yield from super()._handle_event(event)

    def finish_start(self) -> layer.CommandGenerator[str | None]:
        """Begin what comes behind; the timer that still runs is none of its own."""
        error = yield from super().finish_start()
        if error is None:
            self._handle_event = self._outlive  # type: ignore[method-assign]
        return error

    def _outlive(self, event: events.Event) -> Commands:
        if isinstance(event, events.Wakeup) and event.command is self._overdue:
            self._handle_event = self.child_layer.handle_event  # type: ignore[method-assign]
            return self.done(event)
        return self.child_layer.handle_event(event)

    def done(self, _: events.Event) -> Commands:
        """Do nothing any more."""
        yield from ()


class _Transparent(_Destined, modes.TransparentProxy):
    pass


class _Reverse(_Destined, modes.ReverseProxy):
    pass


_TOPS: dict[type[layer.Layer], Callable[[Context], layer.Layer]] = {
    modes.HttpProxy: _Regular,
    modes.HttpUpstreamProxy: _Upstream,
    modes.Socks5Proxy: _Socks5,
    modes.TransparentProxy: _Transparent,
    modes.ReverseProxy: _Reverse,
}


def own_top(top: layer.Layer) -> layer.Layer:
    """Return our layer for the top of a connection in a mode of mitmproxy's; nothing of it has run yet."""
    ours = _TOPS.get(type(top))
    if ours is None:
        return top
    top.context.layers.remove(top)
    return ours(top.context)
