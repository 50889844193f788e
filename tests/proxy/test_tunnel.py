"""Tunnels without sockets: nothing of a client goes on before its host was judged."""

from collections.abc import Callable

import pytest
from mitmproxy import flow as mitm_flow
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import modes
from mitmproxy.proxy.layers.tcp import TcpErrorHook, TcpStartHook
from mitmproxy.proxy.mode_specs import ProxyMode

from proxykit.sides import around
from secondlook.proxy.mitm.tls.tunnel import (
    BEGINNING_S,
    GREETING_BYTES,
    SILENCE_S,
    Opening,
    RawTunnel,
    SecondlookSilenceHook,
    Silence,
    own_top,
)

type Answer = Callable[[commands.Command], object]


@pytest.fixture
def context() -> Context:
    context = around()
    context.client.state, context.server.state = ConnectionState.OPEN, ConnectionState.CLOSED
    context.client.alpn = None
    context.client.proxy_mode = ProxyMode.parse("regular")
    return context


def happens(
    top: layer.Layer, *happened: events.Event, answer: Answer = lambda _: None
) -> list[commands.Command]:
    """Give the commands of a layer; each that is waited for is answered at once."""
    done: list[commands.Command] = []
    waiting = list(happened)
    while waiting:
        for command in top.handle_event(waiting.pop(0)):
            done.append(command)
            if isinstance(command, commands.StartHook):
                waiting.insert(0, events.HookCompleted(command, answer(command)))
            elif isinstance(command, commands.OpenConnection):
                error = answer(command)
                command.connection.state = ConnectionState.CLOSED if error else ConnectionState.OPEN
                waiting.insert(0, events.OpenConnectionCompleted(command, error))
    return done


def kinds(done: list[commands.Command]) -> list[type]:
    return [type(command) for command in done if not isinstance(command, commands.Log)]


# ---- a tunnel that is not opened


def test_a_tunnel_is_judged_before_it_is_connected(context):
    tunnel = RawTunnel(context, "SSH")
    assert kinds(happens(tunnel, events.Start())) == [TcpStartHook, commands.OpenConnection]
    sent = happens(tunnel, events.DataReceived(context.client, b"SSH-2.0-x\r\n"))
    assert [(each.connection, each.data) for each in sent if isinstance(each, commands.SendData)] == [
        (context.server, b"SSH-2.0-x\r\n")
    ]


@pytest.mark.parametrize("connected", [False, True])
def test_a_tunnel_that_is_refused_connects_nowhere_and_passes_nothing(context, connected):
    tunnel = RawTunnel(context, "SSH")
    if connected:  # its server spoke first
        context.server.state, context.server.timestamp_start = ConnectionState.OPEN, 1.0

    def refuse(command: commands.Command) -> None:
        if isinstance(command, TcpStartHook):
            command.flow.error = mitm_flow.Error("blocked")

    done = happens(tunnel, events.Start(), answer=refuse)
    closed = [commands.CloseConnection] * (2 if connected else 1)
    assert kinds(done) == [TcpStartHook, TcpErrorHook, *closed]
    assert done[-1].connection is context.client
    assert tunnel.flow.live is False
    assert kinds(happens(tunnel, events.DataReceived(context.client, b"more"))) == []


def test_no_byte_goes_on_while_a_tunnel_is_judged(context):
    tunnel = RawTunnel(context, "SSH")
    (hook,) = tunnel.handle_event(events.Start())
    assert isinstance(hook, TcpStartHook)
    assert list(tunnel.handle_event(events.DataReceived(context.client, b"early"))) == []


def test_a_tunnel_whose_origin_cannot_be_reached_ends(context):
    tunnel = RawTunnel(context, "SSH")
    done = happens(
        tunnel, events.Start(), answer=lambda each: isinstance(each, commands.OpenConnection) and "refused"
    )
    assert kinds(done) == [TcpStartHook, commands.OpenConnection, TcpErrorHook, commands.CloseConnection]
    assert tunnel.flow.error.msg == "refused"


@pytest.mark.parametrize("error", ["[Errno 111] refused", None])
def test_a_tunnel_whose_origin_was_lost_in_its_silence_ends(context, error):
    """The client speaks while it is being connected to: what it said went nowhere, and nothing came back."""
    context.server.timestamp_start, context.server.error = 1.0, error
    done = happens(RawTunnel(context, "SSH"), events.Start())
    assert kinds(done) == [TcpStartHook, TcpErrorHook, commands.CloseConnection]
    assert done[-1].connection is context.client


def test_an_origin_that_is_connected_already_is_not_connected_again(context):
    context.server.state, context.server.timestamp_start = ConnectionState.OPEN, 1.0
    assert kinds(happens(RawTunnel(context, "SMTP"), events.Start())) == [TcpStartHook]


# ---- its beginning


def _silent(opening: Opening) -> events.Wakeup:
    """Begin, and have the client say nothing until the timer ends."""
    (timer,) = happens(opening, events.Start())
    assert isinstance(timer, commands.RequestWakeup)
    assert timer.delay == SILENCE_S
    return events.Wakeup(timer)


def _says(what: Silence) -> Answer:
    def answer(command: commands.Command) -> None:
        if isinstance(command, SecondlookSilenceHook):
            command.opening.silence = what

    return answer


def test_a_silent_client_is_connected_only_once_its_host_was_judged(context):
    opening = Opening(context)
    done = happens(opening, _silent(opening), answer=_says(Silence.CONNECT))
    assert kinds(done) == [SecondlookSilenceHook, commands.OpenConnection]
    assert opening.silences == 1


@pytest.mark.parametrize(
    ("what", "then"), [(Silence.REFUSE, commands.CloseConnection), (Silence.WAIT, commands.RequestWakeup)]
)
def test_a_silent_client_whose_host_is_refused_is_not_connected(context, what, then):
    opening = Opening(context)
    assert kinds(happens(opening, _silent(opening), answer=_says(what))) == [SecondlookSilenceHook, then]


def test_where_nobody_judged_nothing_is_connected(context):
    opening = Opening(context)
    done = happens(opening, _silent(opening))
    assert kinds(done) == [SecondlookSilenceHook, commands.CloseConnection]


def test_a_silent_client_whose_origin_cannot_be_reached_is_closed(context):
    opening = Opening(context)

    def unreachable(command: commands.Command) -> object:
        _says(Silence.CONNECT)(command)
        return "refused" if isinstance(command, commands.OpenConnection) else None

    done = happens(opening, _silent(opening), answer=unreachable)
    assert kinds(done) == [SecondlookSilenceHook, commands.OpenConnection, commands.CloseConnection]


def test_what_a_server_says_first_goes_on_and_is_kept_in_part(context):
    opening = Opening(context)
    happens(opening, _silent(opening), answer=_says(Silence.CONNECT))
    said = b"220 " + bytes(1000)
    (sent,) = happens(opening, events.DataReceived(context.server, said))
    assert (sent.connection, sent.data) == (context.client, said)
    happens(opening, events.DataReceived(context.server, b"more"))
    assert opening.greeting == said[:GREETING_BYTES]


def test_a_client_that_goes_takes_the_connection_along_that_was_made_for_it(context):
    opening = Opening(context)
    happens(opening, _silent(opening), answer=_says(Silence.CONNECT))
    done = happens(opening, events.ConnectionClosed(context.client))
    assert context.server in [each.connection for each in done if isinstance(each, commands.CloseConnection)]


def test_a_server_that_goes_ends_the_tunnel(context):
    opening = Opening(context)
    happens(opening, _silent(opening), answer=_says(Silence.CONNECT))
    done = happens(opening, events.ConnectionClosed(context.server))
    assert [each.connection for each in done] == [context.server, context.client]


def test_what_cannot_be_told_ends_in_time(context):
    opening = Opening(context)
    happens(opening, events.Start())
    begun = happens(opening, events.DataReceived(context.client, b"\x16"))
    (overdue,) = [
        each for each in begun if isinstance(each, commands.RequestWakeup) and each.delay == BEGINNING_S
    ]
    assert kinds(happens(opening, events.Wakeup(overdue))) == [commands.CloseConnection]


def test_a_client_that_began_is_asked_about_without_patience_once_it_falls_silent(context):
    opening = Opening(context)
    first = _silent(opening)
    begun = happens(opening, events.DataReceived(context.client, b"EH"))
    (second,) = [
        each for each in begun if isinstance(each, commands.RequestWakeup) and each.delay == SILENCE_S
    ]
    happens(opening, first)  # ended while the client spoke
    assert opening.patient
    happens(opening, events.Wakeup(second))
    assert not opening.patient


@pytest.mark.parametrize(
    "mode",
    [
        modes.HttpProxy,
        modes.HttpUpstreamProxy,
        modes.Socks5Proxy,
        modes.TransparentProxy,
        modes.ReverseProxy,
    ],
)
def test_each_mode_begins_by_our_layer(context, mode):
    ours = own_top(mode(context))
    assert isinstance(ours, mode)
    assert type(ours) is not mode
    assert context.layers == [ours]


def test_other_layers_stay_mitmproxys(context):
    top = layer.NextLayer(context)
    assert own_top(top) is top


class _Spoken(layer.Layer):
    """What a connection turns out to speak."""

    def _handle_event(self, event):
        self.last = event
        yield from ()


def test_what_stands_above_is_left_out_once_it_is_known_what_is_spoken(context):
    top = own_top(modes.HttpProxy(context))
    spoken = _Spoken(context)

    def choose(command: commands.Command) -> None:
        assert isinstance(command, layer.NextLayerHook)
        command.data.layer = spoken

    happens(top, events.Start())
    early = top.handle_event
    assert kinds(happens(top, events.DataReceived(context.client, b"G"), answer=choose)) == [
        layer.NextLayerHook
    ]
    later = events.DataReceived(context.client, b"E")
    happens(top, later)
    assert spoken.last is later
    assert top.handle_event.__self__ is spoken, "nothing is left above it"
    list(early(events.ConnectionClosed(context.client)))
    assert isinstance(spoken.last, events.ConnectionClosed), "who still knows the old way reaches it too"
