"""HTTP/1 through our layers: what goes on is what was understood, to llhttp and to h11 too."""

from dataclasses import dataclass, field

import h11
import httptools
from hypothesis import strategies as st
from mitmproxy.connection import ConnectionState
from mitmproxy.http import Headers, Request, Response
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.http._base import HttpEvent
from mitmproxy.proxy.layers.http._events import (
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)
from mitmproxy.test.tflow import treq, tresp

from fuzzkit import fuzz, mutated
from proxykit.readers import llhttp, same
from proxykit.sides import around, problem, run
from secondlook.config.traffic import TrafficLimitsSettings
from secondlook.proxy.mitm.http.http1 import Http1ClientSide
from secondlook.proxy.mitm.http.http1_origin import Http1OriginSide

LIMITS = TrafficLimitsSettings(head=4096, head_lines=100)
REQUESTS = [
    b"GET http://a.test/x?y HTTP/1.1\r\nHost: a.test\r\nAccept: */*\r\n\r\n",
    b"GET /\xc3\xa4#z HTTP/1.0\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloPOST /two HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    b"POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nT: r\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PUT /a%00 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\nTE: x\r\n\r\n1\r\na\r\n0\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nFold: a\r\n b\r\n\r\n",
    b"\r\n\r\nHEAD / HTTP/1.1\r\nhost:a\r\nCookie: a\r\nCookie: b\r\n\r\n",
]
ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX : y\r\n\r\nhello",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: </a>\r\n\r\nHTTP/1.1 200\r\nContent-Length: 2, 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\nhello\n0\nT: r\n\n",
    b"HTTP/1.0 200 OK\r\nTransfer-Encoding: identity\r\nFold: a\r\n b\r\n\r\nuntil the end",
    b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 304 Not\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 205 Reset\r\nConnection: close, a\r\nA: b\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 101 \n\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 404 N\0\rO\r\nContent-Length: 1\r\nTransfer-Encoding: chunked, identity\r\n\r\n1\r\na\r\n0\r\n\r\n",
]


@dataclass
class Message:
    """What a side understood of one message."""

    head: Request | Response
    body: bytes = b""
    ended: bool = False
    failed: bool = False
    events: list[HttpEvent] = field(default_factory=list)

    def said(self) -> tuple[object, ...]:
        data = self.head.data
        line = (
            (data.method, data.authority, data.path)
            if isinstance(data, type(treq().data))
            else data.status_code
        )
        return line, data.headers.fields, self.body, self.ended, self.failed


def note(found: list[Message], happened: list[HttpEvent]) -> None:
    """Put events together to messages."""
    for event in happened:
        match event:
            case RequestHeaders(request=head) | ResponseHeaders(response=head):
                found.append(Message(head))
            case RequestData(data=data) | ResponseData(data=data):
                found[-1].body += data
            case RequestEndOfMessage() | ResponseEndOfMessage():
                found[-1].ended = True
            case ResponseProtocolError() if found:
                found[-1].failed = True
            case _:
                continue
        if found:
            found[-1].events.append(event)


def asked(data: bytes, step: int) -> list[Message]:
    """What a client side understands of a connection whose requests are all answered."""
    side = Http1ClientSide(around(), LIMITS, problem)
    run(side, events.Start())
    found: list[Message] = []
    answered = 0
    for at in range(0, len(data), step):
        if side.conn.state is ConnectionState.CLOSED:
            break
        _, made = run(side, events.DataReceived(side.conn, data[at : at + step]))
        note(found, made)
        while answered < len(found) and found[answered].ended and side.state == side.wait:
            stream_id = found[answered].events[0].stream_id
            answered += 1
            response = tresp(headers=Headers([(b"Content-Length", b"0")]), content=b"")
            _, made = run(
                side, ResponseHeaders(stream_id, response, end_stream=True), ResponseEndOfMessage(stream_id)
            )
            note(found, made)
    return found


def alike(whole: list[Message], cut: list[Message]) -> None:
    """Whole messages are the same, and of what is not whole the one begins like the other."""
    for one, other in zip(whole, cut, strict=False):
        if one.ended or other.ended:
            assert one.said() == other.said()
        else:
            assert one.said()[:2] == other.said()[:2]
            assert one.body.startswith(other.body) or other.body.startswith(one.body)
    assert [each.ended for each in whole] == [each.ended for each in cut]


@fuzz(data=mutated(REQUESTS), step=st.integers(1, 200))
def test_requests(data, step):
    """What is sent on of a request is one request, the one that was understood, however it came in pieces."""
    found = asked(data, len(data) + 1)
    alike(found, asked(data, step))
    for message in found:
        if not message.ended or message.head.method == "CONNECT":
            continue
        side = Http1OriginSide(around(), LIMITS)
        message.head.data.host = message.head.data.host or "a.test"
        message.head.data.port = message.head.data.port or 80
        sent, _ = run(side, events.Start(), *message.events)
        _read_request(sent, message)


def _read_request(sent: bytes, message: Message) -> None:
    request = message.head
    fields = [one for one in request.headers.fields if one[0].lower() != b"host"]
    read = llhttp(httptools.HttpRequestParser, b"POST " + sent.partition(b" ")[2])  # it knows few methods
    assert read.whole == 1
    assert read.body == message.body
    assert same([one for one in read.fields if one[0].lower() != b"host"], fields)
    if request.headers.get("transfer-encoding", "chunked").lower() != "chunked":
        return  # h11 knows no other
    server = h11.Connection(h11.SERVER)
    server.receive_data(sent)
    event = server.next_event()
    assert isinstance(event, h11.Request)
    assert event.method == request.data.method
    data = request.data
    assert event.target == (
        b"%s://%s%s" % (data.scheme, data.authority, data.path) if data.authority else data.path
    )
    assert same([one for one in event.headers if one[0] != b"host"], fields)
    assert _body_of(server) == message.body
    assert not server.trailing_data[0]


def _body_of(side: h11.Connection) -> bytes | None:
    """Read a body by h11 to its end; None where it has none."""
    body = b""
    while True:
        event = side.next_event()
        match event:
            case h11.Data(data=data):
                body += data
            case h11.EndOfMessage():
                return body
            case _:
                return None


@fuzz(
    data=mutated(ANSWERS),
    step=st.integers(1, 200),
    method=st.sampled_from([b"GET", b"HEAD", b"POST"]),
    version=st.sampled_from([b"HTTP/1.1", b"HTTP/1.0"]),
)
def test_answers(data, step, method, version):
    """What is sent on of an answer is the one that was understood; one that was cut is whole to nobody."""
    found = answered(data, len(data) + 1, method)
    cut = answered(data, step, method)
    if found and found[0].head.status_code == 101:
        # what follows is another protocol's, and refused where none was asked for (`test_no_content.py`)
        assert [each.said()[:2] for each in found] == [each.said()[:2] for each in cut]
        return
    alike(found, cut)
    if not found:
        return
    message = found[0]
    side = Http1ClientSide(around(), LIMITS, problem)
    asking = b"%s http://a.test/ %s\r\nHost: a.test\r\n\r\n" % (method, version)
    run(side, events.Start(), events.DataReceived(side.conn, asking))
    sent, ends = b"", False
    for event in message.events:
        for command in side.handle_event(event):
            if isinstance(command, commands.SendData):
                sent += command.data
            ends |= isinstance(command, commands.CloseConnection)
    _read_answer(sent, message, method, ends=ends)


def _read_answer(sent: bytes, message: Message, method: bytes, *, ends: bool) -> None:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a"), ("Content-Length", "0")]))
    client.send(h11.EndOfMessage())
    client.receive_data(sent)
    if ends:
        client.receive_data(b"")
    event = client.next_event()
    assert isinstance(event, h11.Response)
    assert event.status_code == message.head.status_code
    open_ended = not {b"content-length", b"transfer-encoding"} & {name for name, _ in event.headers}
    try:
        body = _body_of(client)
    except h11.RemoteProtocolError:
        body = None
    if message.ended:
        assert body == message.body
        if ends:
            assert client.next_event() in {h11.PAUSED, h11.NEED_DATA} or client.their_state is not h11.IDLE
        else:
            assert not client.trailing_data[0]
    elif not open_ended:  # such a connection is reset
        assert body is None
    if method != b"HEAD" and message.ended and not ends:
        read = llhttp(httptools.HttpResponseParser, sent)
        assert read.whole == 1
        assert read.body == message.body
        assert same(read.fields, event.headers)


def answered(data: bytes, step: int, method: bytes) -> list[Message]:
    """What an origin side understands of the answer to a request."""
    side = Http1OriginSide(around(), LIMITS)
    request = treq(method=method, http_version=b"HTTP/1.1", headers=Headers([(b"Host", b"a")]), content=b"")
    run(side, events.Start(), RequestHeaders(1, request, end_stream=True), RequestEndOfMessage(1))
    found: list[Message] = []
    pieces = [events.DataReceived(side.conn, data[at : at + step]) for at in range(0, len(data), step)]
    for event in [*pieces, events.ConnectionClosed(side.conn)]:
        if side.conn.state is ConnectionState.CLOSED or (found and found[0].ended):
            break
        _, made = run(side, event)
        note(found, made)
    return found[:1]
