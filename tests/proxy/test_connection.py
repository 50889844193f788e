"""A client connection without sockets: events in, what is written and closed out; back-pressure."""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable
from types import SimpleNamespace

import pytest
from mitmproxy.connection import Server
from mitmproxy.options import Options
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers.http import HttpRequestHeadersHook
from mitmproxy.proxy.layers.modes import Socks5AuthHook
from mitmproxy.proxy.layers.tls import TlsClienthelloHook
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.test.tflow import tflow

from secondlook.proxy.mitm.hook_table import HookTable
from secondlook.proxy.mitm.streams.body_hooks import SecondlookBodyHook
from secondlook.proxy.mitm.tls.tunnel import SecondlookSilenceHook
from secondlook.proxy.mitm.transport import connection
from secondlook.proxy.mitm.transport.connection import Connection, Pressure


class Scripted(layer.Layer):
    """Answers data that its script knows with commands, and notes what it was given and went on after."""

    script: dict[bytes, Callable[[], Iterable[commands.Command]]]

    def _handle_event(self, event):
        if isinstance(event, events.DataReceived):
            LOG.append(event.data)
            for step in self.script.get(event.data, list)():
                yield step
                if step.blocking:
                    LOG.append(f"after {step.name}")


LOG: list[object] = []  # what happened in a story, in its order


async def _drained() -> None:
    """Take everything at once."""


def scene(script, *, go_on: asyncio.Event | None = None, hook: str = "requestheaders") -> Connection:
    """Make a connection whose one layer follows a script; a hook waits for `go_on`."""
    LOG.clear()
    options = Options()
    options.add_option("tcp_timeout", int, 60, "of mitmproxy's Proxyserver")
    registry = SimpleNamespace(collect_commands=lambda _: None)
    hooks = HookTable(SimpleNamespace(commands=registry, options=options))
    waits = (lambda _flow: go_on.wait()) if go_on is not None else lambda _flow: None
    hooks.add(SimpleNamespace(name="addon", **{hook: waits}))
    places = {"peername": ("127.0.0.1", 5), "sockname": ("127.0.0.1", 8080)}
    writer = SimpleNamespace(
        write=LOG.append, drain=_drained, is_closing=lambda: False, get_extra_info=places.get
    )
    made = Connection(SimpleNamespace(addons=hooks), None, writer, options, ProxyMode.parse("regular"))
    made.transports[made.client].handler = SimpleNamespace(cancel=LOG.append)  # type: ignore[assignment]
    made.layer = Scripted(made.layer.context)
    made.layer.script = script(made.client)
    return made


def come(made: Connection, *pieces: bytes) -> list[object]:
    """Let bytes of the client arrive; give what this made a reader wait for."""
    held: list[object] = []
    for piece in pieces:
        made._arrived(made.client, SimpleNamespace(hold=held.append), piece)
    return held


def asking(client):
    """Run a hook for `ask`, then answer."""
    return {b"ask": lambda: [HttpRequestHeadersHook(tflow()), commands.SendData(client, b"answer")]}


def test_what_a_round_sends_goes_out_in_one_piece_before_it_closes():
    def script(client):
        pieces = [commands.SendData(client, part) for part in (b"one ", b"two ", b"three")]
        return {b"go": lambda: [*pieces, commands.CloseConnection(client)]}

    come(scene(script), b"go")
    assert LOG == [b"go", b"one two three", "closed by command"]


def test_a_hook_that_waits_for_nothing_is_over_in_the_round_that_began_it():
    made = scene(asking)
    assert come(made, b"ask", b"more") == []
    assert LOG == [b"ask", "after requestheaders", b"answer", b"more"]


@pytest.mark.parametrize(
    "hook",
    [HttpRequestHeadersHook, TlsClienthelloHook, Socks5AuthHook, SecondlookSilenceHook, SecondlookBodyHook],
)
def test_what_comes_while_a_hook_waits_is_kept_in_its_order_up_to_a_bound(monkeypatch, hook):
    monkeypatch.setattr(connection, "EARLY_MAX_BYTES", len(b"ask") + 10)

    def asking(client):
        return {b"ask": lambda: [hook(None), commands.SendData(client, b"answer")]}

    async def story() -> None:
        made = scene(asking, go_on=(go_on := asyncio.Event()), hook=hook.name)
        assert come(made, b"ask", b"x" * 10) == []
        assert not made.is_idle()
        [catching_up] = come(made, b"y")  # one byte past the bound: nothing is read until the hook is over
        await asyncio.sleep(0)
        assert not catching_up.done()
        assert LOG == [b"ask"]
        go_on.set()
        await catching_up
        assert [b"ask", f"after {hook.name}", b"x" * 10, b"y", b"answer"] == LOG
        assert come(made, b"z" * 14) == []

    asyncio.run(story())


def test_a_layer_that_breaks_closes_the_connection(caplog):
    def script(client):
        def breaks():
            yield commands.SendData(client, b"before")
            raise ZeroDivisionError

        return {b"go": breaks}

    made = scene(script)
    with caplog.at_level(logging.ERROR):
        come(made, b"go")
    assert LOG == [b"go", "a protocol layer failed", b"before"]
    assert made.client.error == "a protocol layer failed"
    assert "a protocol layer failed, closing the connection: ZeroDivisionError()" in caplog.text


def test_what_is_sent_behind_the_end_of_a_side_harms_nothing():
    """TLS knows nothing of that end, and sends alerts: the connection, and its descriptor, stayed for good."""

    def script(client):
        return {
            b"ask": lambda: [
                commands.SendData(client, b"answer"),
                commands.CloseTcpConnection(client, half_close=True),
            ],
            b"no TLS": lambda: [commands.SendData(client, b"alert")],
        }

    async def story():
        ours, theirs = socket.socketpair()
        with theirs:
            _, writer = await asyncio.open_connection(sock=ours)
            made = scene(script)
            made.transports[made.client].writer = writer
            come(made, b"ask", b"no TLS", b"more")
            assert LOG == [b"ask", b"no TLS", b"more"]
            writer.close()
            await writer.wait_closed()
            assert theirs.recv(100) == b"answer"

    asyncio.run(story())


def test_an_origin_is_pressed_as_long_as_one_of_its_streams_is():
    async def story():
        pressure, origin, other = Pressure(), Server(address=None), Server(address=None)
        pressure.press(origin, 1)
        pressure.press(origin, 3)
        await pressure.room(other)
        waiting = asyncio.ensure_future(pressure.room(origin))
        for stream in (1, 5):
            pressure.ease(origin, stream)
            await asyncio.sleep(0)
        assert pressure
        assert not waiting.done()
        pressure.ease(origin, 3)
        await waiting
        assert not pressure

    asyncio.run(story())
