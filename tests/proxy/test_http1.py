"""Our HTTP/1 sides agree with mitmproxy's about what ends a connection and what frames a body. A second."""

import itertools

import pytest
from mitmproxy.connection import Server
from mitmproxy.http import Headers
from mitmproxy.options import Options
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import _http1
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

from secondlook.proxy.http1 import BROKEN, Http1ClientSide, Http1OriginSide

VERSIONS = (b"HTTP/1.1", b"HTTP/1.0")
CONNECTIONS = ((), (b"keep-alive",), (b"close",), (b"Close",), (b"keep-alive, close",), (b"x", b"close"))
CHUNKED = ((b"Transfer-Encoding", b"chunked"),)
FRAMINGS: tuple[tuple[tuple[bytes, bytes], ...], ...] = (
    (),
    ((b"Content-Length", b"3"),),
    ((b"content-length", b"3"), (b"Content-Length", b"3")),
    ((b"Content-Length", b"three"),),
    CHUNKED,
    ((b"transfer-encoding", b"gzip"), (b"Content-Length", b"3")),
)


def context() -> Context:
    return Context(tclient_conn(), Options())


def exchange(make, method, version, request_fields, response_fields):
    """What one exchange makes a client side send, and the state that it is left in."""
    side = make(context())
    list(side.handle_event(events.Start()))
    side.request = treq(method=method, http_version=version, headers=Headers(request_fields))
    side.request_done = True
    response = tresp(http_version=version, headers=Headers(response_fields))
    told = []
    for event in (
        ResponseHeaders(1, response),
        ResponseData(1, b"abc"),
        ResponseEndOfMessage(1),
    ):
        told += [getattr(command, "data", type(command)) for command in side.handle_event(event)]
    return told, side.state.__name__, side.stream_id, side.request is None


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_every_exchange_ends_as_mitmproxy_would_end_it(method):
    states = set()
    for version, asked, said, framing in itertools.product(VERSIONS, CONNECTIONS, CONNECTIONS, FRAMINGS):
        if version == b"HTTP/1.0" and framing == CHUNKED:
            continue  # ours sends no chunks there
        request = tuple((b"Connection", value) for value in asked)
        response = (*((b"Connection", value) for value in said), *framing)
        ours = exchange(Http1ClientSide, method, version, request, response)
        theirs = exchange(_http1.Http1Server, method, version, request, response)
        assert ours == theirs, (version, request, response)
        states.add(ours[1])
    assert states == {"read_headers", "done"}  # both kinds were met


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_request_ends_as_mitmproxy_would_end_it(framing):
    def sent(make):
        side = make(context())
        list(side.handle_event(events.Start()))
        request = treq(http_version=b"HTTP/1.1", headers=Headers(framing))
        told = []
        try:
            for event in (RequestHeaders(1, request, end_stream=True), RequestEndOfMessage(1)):
                told += [getattr(command, "data", type(command)) for command in side.handle_event(event)]
        except ValueError as error:
            return str(error)
        return told, side.state.__name__, side.request_done

    assert sent(Http1OriginSide) == sent(_http1.Http1Client)


@pytest.mark.parametrize("cuts", [(1,), (4, 9), (10,), (3, 3, 3, 1), (14,)])
def test_a_body_in_pieces_arrives_whole_and_once(cuts):
    side = Http1ClientSide(context())
    list(side.handle_event(events.Start()))
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
    side = Http1ClientSide(context())
    list(side.handle_event(events.Start()))
    for event in (ResponseData(3, b"x"), ResponseEndOfMessage(3)):
        with pytest.raises(AssertionError):
            list(side.handle_event(event))


def origin_side() -> Http1OriginSide:
    """A side towards an origin that has sent a GET and waits for the answer."""
    around = context()
    around.server = Server(address=("192.0.2.1", 80))
    side = Http1OriginSide(around)
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
    side = Http1ClientSide(context())
    list(side.handle_event(events.Start()))
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"
    sent = [
        command.data
        for command in side.handle_event(events.DataReceived(side.conn, head))
        if isinstance(command, commands.SendData)
    ]
    assert sent[0].startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("broken", [False, True])
def test_a_body_that_ends_with_its_connection_is_whole_only_after_a_clean_end(broken):
    side = origin_side()
    assert answered(side, b"HTTP/1.1 200 OK\r\n\r\nhello") == [200, b"hello"]
    if broken:
        setattr(side.conn, BROKEN, True)
    last = seen(side, events.ConnectionClosed(side.conn))
    assert last == ["the server broke the connection off in the body" if broken else "end"]


def test_a_client_of_http_1_0_gets_no_chunks():
    told, state, _, _ = exchange(Http1ClientSide, b"GET", b"HTTP/1.0", (), CHUNKED)
    head = told[0].lower()
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert told[1:] == [b"abc", commands.CloseConnection]
    assert state == "done"
