"""What ends a connection of HTTP/1, what frames a body, and how much of a head is taken. A second."""

import itertools

import pytest
from mitmproxy.http import Headers, Request, Response
from mitmproxy.options import Options
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import Layer
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
)
from mitmproxy.test.tflow import tclient_conn, tresp

from secondlook.config.traffic import TrafficLimitsSettings
from secondlook.proxy.mitm.http.framing import Field
from secondlook.proxy.mitm.http.http1 import AHEAD_MAX_BYTES, Http1ClientSide
from secondlook.proxy.mitm.streams.early_stream import LINGER_S
from secondlook.proxy.mitm.streams.stream_events import InterimResponse

CONNECTIONS = ((), (b"keep-alive",), (b"close",), (b"Close",), (b"keep-alive, close",), (b"x", b"close"))
LIMITS = TrafficLimitsSettings(head=4096, head_lines=100)


def context() -> Context:
    return Context(tclient_conn(), Options())


def tell(_request: Request, status: int, told: str) -> Response:
    return Response.make(status, told.encode())


def client_side() -> Http1ClientSide:
    side = Http1ClientSide(context(), LIMITS, tell)
    list(side.handle_event(events.Start()))
    return side


def sent(side: Layer, *happened: events.Event) -> list[object]:
    """What a side makes of events: the bytes that it sends, and the kinds of its other commands."""
    return [
        command if isinstance(command, commands.RequestWakeup) else getattr(command, "data", type(command))
        for event in happened
        for command in side.handle_event(event)
    ]


def exchange(method: str, version: str, asked: tuple[bytes, ...], framing: Field | None, said: bytes | None):
    """What one exchange makes a client side send, and the state that it is left in."""
    side = client_side()
    lines = [f"{method} http://example.com/ HTTP/{version}".encode(), b"Host: example.com"]
    lines += [b"Connection: " + value for value in asked]
    sent(side, events.DataReceived(side.conn, b"\r\n".join([*lines, b"", b""])))
    fields = [*([framing] if framing else []), *([(b"Connection", said)] if said else [])]
    told = sent(
        side,
        ResponseHeaders(1, tresp(http_version=b"HTTP/1.1", headers=Headers(fields))),
        *([ResponseData(1, b"abc")] if method == "GET" else []),
        ResponseEndOfMessage(1),
    )
    return told, side.state.__name__


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_connection_lasts_as_its_client_and_the_body_allow(method, version):
    length, chunked = (b"Content-Length", b"3"), (b"Transfer-Encoding", b"chunked")
    for asked, said, framing in itertools.product(CONNECTIONS, (None, b"close"), (None, length, chunked)):
        told, state = exchange(method, version, asked, framing, said)
        closes = any(b"close" in value.lower() for value in asked) or said is not None or version == "1.0"
        ends = closes or (framing is None and method == "GET")
        assert state == ("done" if ends else "read_headers")
        head, *rest = told
        assert (b"\r\nconnection: close\r\n" in head.lower()) == ends
        assert head.lower().count(b"connection") == ends
        in_chunks = framing == chunked and version == "1.1"
        assert (b"transfer-encoding" in head.lower()) == in_chunks
        body = [b"3\r\nabc\r\n", b"0\r\n\r\n"] if in_chunks else [b"abc"]
        assert rest == [*(body if method == "GET" else []), *([commands.CloseConnection] if ends else [])]


@pytest.mark.parametrize("status", [204, 304])
def test_nothing_follows_an_answer_without_content(status):
    side = client_side()
    sent(side, events.DataReceived(side.conn, b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"))
    response = tresp(status_code=status, headers=Headers([(b"Transfer-Encoding", b"chunked")]))
    told = sent(side, ResponseHeaders(1, response), ResponseEndOfMessage(1))
    assert len(told) == 1
    assert told[0].endswith(b"chunked\r\n\r\n")
    assert side.state == side.read_headers


@pytest.mark.parametrize("cuts", [(1,), (4, 9), (10,), (3, 3, 3, 1), (14,)])
def test_a_body_in_pieces_arrives_whole_and_once(cuts):
    side = client_side()
    head = b"POST /up HTTP/1.1\r\nHost: example.com\r\nContent-Length: 10\r\n\r\n"
    body, following = b"0123456789", b"GET /next HTTP/1.1\r\nHost: example.com\r\n\r\n"
    data, pieces, start = body + following, [], 0
    for size in cuts:
        pieces.append(data[start : start + size])
        start += size
    received = b""
    ends = 0
    for piece in (head, *pieces, data[start:]):
        for command in side.handle_event(events.DataReceived(side.conn, piece)):
            if isinstance(command, ReceiveHttp):
                received += command.event.data if isinstance(command.event, RequestData) else b""
                ends += isinstance(command.event, RequestEndOfMessage)
    assert (received, ends) == (body, 1)
    assert side.state == side.wait  # what follows waits for the answer


def test_a_part_for_another_stream_is_refused():
    side = client_side()
    for event in (ResponseData(3, b"x"), ResponseEndOfMessage(3)):
        with pytest.raises(AssertionError):
            list(side.handle_event(event))


def test_a_length_said_twice_in_a_request_stays_refused():
    side = client_side()
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"
    assert sent(side, events.DataReceived(side.conn, head))[1].startswith(b"HTTP/1.1 400 ")


HEADS = {
    "line": b"GET /" + b"a" * 5000,
    "one header": b"GET / HTTP/1.1\r\nX: " + b"a" * 5000,
    "headers": b"GET / HTTP/1.1\r\n" + b"X: aaaaaaa\r\n" * 500,
    "lines": b"GET / HTTP/1.1\r\n" + b"a:\n" * 200 + b"\n",
}


@pytest.mark.parametrize("kind", HEADS)
def test_a_head_beyond_its_limit_is_told_and_nothing_of_it_is_kept(kind):
    side = client_side()
    told = []
    for byte in HEADS[kind] + b"b" * 10_000:
        told += sent(side, events.DataReceived(side.conn, bytes([byte])))
    late, _log, answer, lingering = told
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"Connection: close\r\n" in answer
    assert (late.delay, lingering.delay) == (LIMITS.head_time, LINGER_S)
    assert not side.buf
    assert sent(side, events.Wakeup(late)) == []
    assert sent(side, events.Wakeup(lingering)) == [commands.CloseConnection]


def test_requests_ahead_of_an_answer_are_bounded():
    side = client_side()
    request = b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"
    sent(side, events.DataReceived(side.conn, request))
    told = []
    for _ in range(3 * AHEAD_MAX_BYTES // 65_536):
        told += sent(side, events.DataReceived(side.conn, request * (65_536 // len(request))))
    assert told[0] == commands.CloseConnection
    assert len(side.buf) <= AHEAD_MAX_BYTES


def test_empty_lines_before_a_request_are_nothing():
    side = client_side()
    told = side.handle_event(events.DataReceived(side.conn, b"\r\n\nGET http://a/ HTTP/1.1\r\n\r\n"))
    assert isinstance(next(told).event, RequestHeaders)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_interim_answer_goes_on_to_who_knows_of_it(version):
    side = client_side()
    sent(side, events.DataReceived(side.conn, f"GET http://a/ HTTP/{version}\r\nHost: a\r\n\r\n".encode()))
    hints = tresp(status_code=103, reason=b"Early Hints", headers=Headers([(b"Link", b"</a>")]))
    told = sent(
        side, InterimResponse(1, hints), ResponseHeaders(1, tresp(status_code=100, headers=Headers()))
    )
    assert bool(told) == (version == "1.1")
    if told:
        assert told[0] == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
