"""HTTP/1 towards the origin: heads of answers, interim ones, and where a body ends."""

import pytest
from mitmproxy.connection import Server
from mitmproxy.http import Headers
from mitmproxy.options import Options
from mitmproxy.proxy import events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    RequestEndOfMessage,
    RequestHeaders,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)
from mitmproxy.test.tflow import tclient_conn, treq

from secondlook.config.traffic import TrafficLimitsSettings
from secondlook.proxy.mitm.http.http1_origin import BROKEN, Http1OriginSide

LIMITS = TrafficLimitsSettings(head=4096, head_lines=100)


def origin_side() -> Http1OriginSide:
    """A side towards an origin that has sent a GET and waits for the answer."""
    around = Context(tclient_conn(), Options())
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


@pytest.mark.parametrize("broken", [False, True])
def test_a_body_that_ends_with_its_connection_is_whole_only_after_a_clean_end(broken):
    side = origin_side()
    assert answered(side, b"HTTP/1.1 200 OK\r\n\r\nhello") == [200, b"hello"]
    if broken:
        setattr(side.conn, BROKEN, True)
    last = seen(side, events.ConnectionClosed(side.conn))
    assert last == ["the server broke the connection off in the body" if broken else "end"]


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


def test_a_request_of_an_old_client_goes_on_in_our_version_and_names_its_host():
    around = Context(tclient_conn(), Options())
    around.server = Server(address=("192.0.2.1", 80))
    side = Http1OriginSide(around, LIMITS)
    request = treq(http_version=b"HTTP/1.0", headers=Headers(), host="2001:db8::1", port=81, authority=b"")
    happened = (events.Start(), RequestHeaders(1, request, end_stream=True), RequestEndOfMessage(1))
    sent = [command.data for event in happened for command in side.handle_event(event)]
    assert sent == [b"GET /path HTTP/1.1\r\nHost: [2001:db8::1]:81\r\n\r\n"]
