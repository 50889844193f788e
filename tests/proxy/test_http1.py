"""What ends a connection of HTTP/1, what frames a body, and how much of a head is taken. A second."""

import itertools

import pytest
from mitmproxy.connection import Server
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
    ResponseProtocolError,
)
from mitmproxy.test.tflow import tclient_conn, treq, tresp

from secondlook.config import TrafficLimitsSettings
from secondlook.proxy.mitm.http.head import Field
from secondlook.proxy.mitm.http.http1 import AHEAD_MAX_BYTES, BROKEN, Http1ClientSide, Http1OriginSide
from secondlook.proxy.mitm.streams.stream import LINGER_S, InterimResponse

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


def origin_side() -> Http1OriginSide:
    """A side towards an origin that has sent a GET and waits for the answer."""
    around = context()
    around.server = Server(address=("192.0.2.1", 80))
    side = Http1OriginSide(around, LIMITS)
    request = treq(http_version=b"HTTP/1.1", headers=Headers())
    for event in (events.Start(), RequestHeaders(1, request, end_stream=True), RequestEndOfMessage(1)):
        list(side.handle_event(event))
    return side


def answered(side: Http1OriginSide, *pieces: bytes) -> list[object]:
    """What a side makes of an origin's bytes: statuses, data, errors and the end."""
    found: list[object] = []
    for piece in pieces:
        found += seen(side, events.DataReceived(side.conn, piece))
    return found


def seen(side: Http1OriginSide, event: events.Event) -> list[object]:
    found: list[object] = []
    for command in side.handle_event(event):
        match command:
            case ReceiveHttp(event=ResponseHeaders(response=response)):
                found.append(response.status_code)
            case ReceiveHttp(event=ResponseData(data=data)):
                found.append(data)
            case ReceiveHttp(event=ResponseEndOfMessage()):
                found.append("end")
            case ReceiveHttp(event=ResponseProtocolError(message=message)):
                found.append(message.split(":")[0])
    return found


WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
INTERIM = (
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 102 Processing\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n",
    b"HTTP/1.1 103\r\nContent-Length: 5\r\n\r\n",
)


@pytest.mark.parametrize("before", [*((each,) for each in INTERIM), INTERIM], ids=str)
def test_the_answer_is_what_comes_after_interim_responses(before):
    data = b"".join(before) + WHOLE
    assert answered(origin_side(), data) == [200, b"ok", "end"]
    assert answered(origin_side(), *(bytes([byte]) for byte in data)) == [200, b"o", b"k", "end"]


def test_the_next_answer_on_a_connection_may_have_an_interim_one_too():
    side = origin_side()
    answered(side, WHOLE)
    request = treq(http_version=b"HTTP/1.1", headers=Headers())
    for event in (RequestHeaders(3, request, end_stream=True), RequestEndOfMessage(3)):
        list(side.handle_event(event))
    assert answered(side, INTERIM[2] + WHOLE) == [200, b"ok", "end"]


def test_switching_protocols_is_no_interim_response():
    side = origin_side()
    data = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nraw"
    assert answered(side, data)[:1] == [101]
    assert side.state == side.passthrough


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (b"Content-Length: 2\r\ncontent-length:2", [200, b"ok", "end"]),
        (b"Content-Length: 2\r\nX: y\r\nContent-Length: 2\r\nContent-Length: 2", [200, b"ok", "end"]),
        (b"Content-Length: 2\r\nContent-Length: 3", ["Cannot parse HTTP response"]),
        (b"Content-Length: 2\r\nContent-Length: 02", ["Cannot parse HTTP response"]),
        (b"Content-Length: +2\r\nContent-Length: +2", ["Cannot parse HTTP response"]),
        (b"Content-Length: 2\r\nContent-Length: 2\r\n 3", ["Cannot parse HTTP response"]),
        (b"Content-Length: 2, 3", ["Cannot parse HTTP response"]),
    ],
)
def test_a_length_said_twice_is_taken_and_two_lengths_are_not(fields, expected):
    assert answered(origin_side(), b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n\r\nok") == expected


def test_a_length_said_twice_in_a_request_stays_refused():
    side = client_side()
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"
    assert sent(side, events.DataReceived(side.conn, head))[1].startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("broken", [False, True])
def test_a_body_that_ends_with_its_connection_is_whole_only_after_a_clean_end(broken):
    side = origin_side()
    assert answered(side, b"HTTP/1.1 200 OK\r\n\r\nhello") == [200, b"hello"]
    if broken:
        setattr(side.conn, BROKEN, True)
    last = seen(side, events.ConnectionClosed(side.conn))
    assert last == ["the server broke the connection off in the body" if broken else "end"]


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


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 " + b"a" * 5000,
        b"HTTP/1.1 200 OK\r\n" + b"X: aaaaaaa\r\n" * 500,
        b"HTTP/1.1 200 OK\r\n" + b"a:\n" * 200 + b"\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 200,
    ],
    ids=["line", "headers", "lines", "interim"],
)
def test_an_answer_whose_head_is_beyond_the_limit(data):
    assert answered(origin_side(), data)[-1] == "Cannot parse HTTP response"


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


def test_a_request_of_an_old_client_goes_on_in_our_version_and_names_its_host():
    around = context()
    around.server = Server(address=("192.0.2.1", 80))
    side = Http1OriginSide(around, LIMITS)
    request = treq(http_version=b"HTTP/1.0", headers=Headers(), host="2001:db8::1", port=81, authority=b"")
    told = sent(side, events.Start(), RequestHeaders(1, request, end_stream=True), RequestEndOfMessage(1))
    assert told == [b"GET /path HTTP/1.1\r\nHost: [2001:db8::1]:81\r\n\r\n"]
