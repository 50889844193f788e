"""Heads that begin and do not end: each side of each protocol lets go in time. About 3 s."""

import asyncio
import contextlib
import socket
import ssl

import h2.config
import h2.connection
import pytest
from mitmproxy.connection import ConnectionState
from mitmproxy.http import Headers, Request, Response
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    RequestEndOfMessage,
    RequestHeaders,
    ResponseProtocolError,
)
from mitmproxy.test.tflow import treq

from proxykit.origin import Asked
from proxykit.sides import NoStreams, around
from secondlook.config.traffic import TrafficLimitsSettings
from secondlook.proxy.mitm.http.http1 import Http1ClientSide
from secondlook.proxy.mitm.http.http1_origin import Http1OriginSide
from secondlook.proxy.mitm.http.http2 import Http2ClientSide
from secondlook.proxy.mitm.http.http2_origin import Http2OriginSide
from secondlook.proxy.mitm.tls import tls_layers, tunnel

LIMITS = TrafficLimitsSettings(head_time=7.0)
GET = b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"


def told(_request: Request, status: int, text: str) -> Response:
    return Response.make(status, text.encode())


class Side:
    """One side, its clock held: what it has asked to be woken for rings when the test says so."""

    def __init__(self, side, *begin: events.Event) -> None:
        self.side = side
        side.conn.state = ConnectionState.OPEN
        self.timers: list[commands.RequestWakeup] = []
        self.sent = b""
        self.closed = False
        self.made: list[object] = []
        for event in (events.Start(), *begin):
            self.happen(event)

    def happen(self, event: events.Event) -> None:
        turns: list[commands.RequestWakeup] = []
        for command in self.side.handle_event(event):
            match command:
                case commands.RequestWakeup(delay=7.0):
                    self.timers.append(command)
                case commands.RequestWakeup(delay=0):
                    turns.append(command)
                case commands.SendData(data=data):
                    self.sent += data
                case commands.CloseConnection():
                    self.closed = True
                case ReceiveHttp(event=made):
                    self.made.append(made)
                case _:
                    pass
        for turn in turns:
            self.happen(events.Wakeup(turn))

    def come(self, data: bytes) -> None:
        self.happen(events.DataReceived(self.side.conn, data))

    def ring(self) -> None:
        timers, self.timers = self.timers, []
        for timer in timers:
            self.happen(events.Wakeup(timer))

    @property
    def errors(self) -> list[str]:
        return [made.message for made in self.made if isinstance(made, ResponseProtocolError)]


def asked(version: bytes) -> tuple[events.Event, ...]:
    request = treq(http_version=version, headers=Headers())
    return RequestHeaders(1, request, end_stream=True), RequestEndOfMessage(1)


def client1() -> Side:
    return Side(Http1ClientSide(around(), LIMITS, told))


def origin1() -> Side:
    context = around()
    return Side(Http1OriginSide(context, LIMITS), *asked(b"HTTP/1.1"))


def client2() -> Side:
    return Side(Http2ClientSide(around(), NoStreams(), LIMITS))


def origin2() -> Side:
    side = Side(Http2OriginSide(around(), NoStreams(), LIMITS), *asked(b"HTTP/2.0"))
    side.come(b"\0\0\0\4\0\0\0\0\0")
    return side


def as_client(*, cut: bool = False) -> bytes:
    """What a client of HTTP/2 sends for one request; `cut`: with a head in two frames, the last not there."""
    state = h2.connection.H2Connection(h2.config.H2Configuration())
    state.initiate_connection()
    head = [(":method", "GET"), (":scheme", "https"), (":authority", "a.test"), (":path", "/")]
    if cut:
        state.max_outbound_frame_size = 20
        head.append(("x-long", "%%" * 500))
    begun = state.data_to_send()
    state.send_headers(1, head, end_stream=True)
    data = state.data_to_send()
    return begun + (data[: 29 + 20] if cut else data)


def test_a_request_of_http1_has_to_be_whole_in_time():
    side = client1()
    for byte in GET[:-1]:
        side.come(bytes([byte]))
    assert len(side.timers) == 1  # from the first byte on, whatever drips behind it
    side.ring()
    assert side.sent.startswith(b"HTTP/1.1 408 ")
    assert b"its head was not whole within 7 s" in side.sent
    assert b"Connection: close" in side.sent


def test_the_time_of_one_head_is_not_that_of_the_next():
    side = client1()
    side.come(GET[:5])
    side.come(GET[5:])
    side.ring()
    assert (side.sent, side.closed) == (b"", False)
    idle = client1()
    assert not idle.timers  # who says nothing at all is merely idle


def test_an_answer_of_http1_has_to_be_whole_in_time():
    side = origin1()
    assert not side.timers  # an origin may think as long as it likes
    side.come(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nX: ")
    side.come(b"a")
    side.ring()
    assert side.closed
    assert side.errors == ["Cannot parse HTTP response: its head was not whole within 7 s"]


def test_an_interim_answer_leaves_the_final_one_its_time():
    side = origin1()
    side.come(b"HTTP/1.1 102 Proc")
    side.come(b"essing\r\n\r\n")
    side.ring()
    assert not side.closed
    side.come(b"HTTP/1.1 2")
    side.ring()
    assert side.closed


def test_what_ended_already_does_not_end_again():
    side = origin1()
    side.come(b"HTTP/1.1 2")
    side.side.conn.state = ConnectionState.CLOSED
    side.happen(events.ConnectionClosed(side.side.conn))
    side.ring()
    assert len(side.errors) == 1


@pytest.mark.parametrize(
    "data",
    [as_client()[:5], as_client()[:30], as_client()[:-1], as_client(cut=True), as_client() + b"\0\0"],
    ids=["preface", "settings", "head", "header block", "beginning of a frame"],
)
def test_a_client_of_http2_has_to_send_its_frames_whole_in_time(data):
    side = client2()
    for byte in data:
        side.come(bytes([byte]))
    side.ring()
    assert side.closed
    assert b"a head was not whole within 7 s" in side.sent


@pytest.mark.parametrize("rest", [b"", b"\0\0\5\0\0\0\0\0\1ab"], ids=["idle", "body"])
def test_a_client_of_http2_that_is_idle_or_sends_a_body_slowly_may(rest):
    state = as_client()
    if rest:
        state = state[:-1].replace(b"\1\5\0\0\0\1", b"\1\4\0\0\0\1") + state[-1:]  # without END_STREAM
    side = client2()
    side.come(state[:40])
    side.come(state[40:] + rest)
    side.ring()
    assert not side.closed


def test_an_answer_of_http2_has_to_be_whole_in_time():
    side = origin2()
    assert not side.timers
    side.come(b"\0\0\5\1\4\0\0\0\1\x88")
    side.come(b"a")
    side.ring()
    assert side.closed
    assert side.errors == ["HTTP/2 protocol error: a head was not whole within 7 s"]


def test_a_head_that_drips_on_a_real_connection(make_proxy, make_origin):
    proxy = make_proxy(limits={"head_time": 0.3})
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as client:
        client.sendall(GET[:-2])
        assert client.recv(1000).startswith(b"HTTP/1.1 408 ")

    async def drip(_asked: Asked, writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")

    origin = make_origin(drip)
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as client:
        client.sendall(f"GET http://127.0.0.1:{origin.port}/ HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        answer = client.recv(10_000)
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"its head was not whole within 0.3 s" in answer


def test_a_client_that_begins_tls_with_the_proxy_itself_has_to_end_it(proxy, monkeypatch):
    monkeypatch.setattr(tls_layers, "HANDSHAKE_S", 0.3)
    hello = ssl.MemoryBIO()
    shaking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(
        ssl.MemoryBIO(), hello, server_hostname="a.test"
    )
    with contextlib.suppress(ssl.SSLWantReadError):
        shaking.do_handshake()
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as client:
        client.sendall(hello.read()[:100])
        assert client.recv(1000) == b""


@pytest.mark.parametrize("beginning", [b"G", b"PUT /", b"\x16"], ids=["method", "path", "TLS"])
def test_a_tunnel_whose_protocol_cannot_be_told_is_closed(proxy, monkeypatch, beginning):
    monkeypatch.setattr(tunnel, "BEGINNING_S", 0.3)
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as client:
        client.sendall(b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n")
        assert b" 200 " in client.recv(1000)
        client.sendall(beginning)
        assert client.recv(1000) == b""


def test_a_socks_client_has_to_begin_in_time_and_then_has_all_of_it(make_proxy, make_origin, monkeypatch):
    monkeypatch.setattr(tunnel, "BEGINNING_S", 0.3)
    proxy = make_proxy(mode="socks5")
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as client:
        client.sendall(b"\5\1")
        assert client.recv(1000) == b""

    monkeypatch.setattr(tunnel, "BEGINNING_S", 2.0)  # a busy machine too gets as far as the request in this

    async def late(_asked: Asked, writer) -> None:
        await asyncio.sleep(2.5)  # the client's timer has rung by then
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    origin = make_origin(late)
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as client:
        client.sendall(b"\5\1\0")
        assert client.recv(1000) == b"\5\0"
        client.sendall(b"\5\1\0\1\x7f\0\0\1" + origin.port.to_bytes(2))
        assert client.recv(1000)[:2] == b"\5\0"
        client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
