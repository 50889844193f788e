"""Our HTTP/1 sides agree with mitmproxy's about what ends a connection and what frames a body. A second."""

import itertools

import pytest
from mitmproxy.http import Headers
from mitmproxy.options import Options
from mitmproxy.proxy import events
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
)
from mitmproxy.test.tflow import tclient_conn, treq, tresp

from secondlook.proxy.http1 import Http1ClientSide, Http1OriginSide

VERSIONS = (b"HTTP/1.1", b"HTTP/1.0")
CONNECTIONS = ((), (b"keep-alive",), (b"close",), (b"Close",), (b"keep-alive, close",), (b"x", b"close"))
FRAMINGS: tuple[tuple[tuple[bytes, bytes], ...], ...] = (
    (),
    ((b"Content-Length", b"3"),),
    ((b"content-length", b"3"), (b"Content-Length", b"3")),
    ((b"Content-Length", b"three"),),
    ((b"Transfer-Encoding", b"chunked"),),
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
