"""Uploads to an origin that takes nothing for a while: their clients wait, and then all of it arrives. 2 s."""

import hashlib
import threading

import h2.events
import pytest
from mitmproxy.proxy.events import DataReceived, Start
from mitmproxy.proxy.layers.http._events import ErrorCode, RequestData, RequestHeaders, RequestProtocolError
from mitmproxy.test.tflow import treq

from proxykit.http2 import Client, Origin, Peer, reply
from proxykit.sides import NoStreams, around, run
from secondlook.config.traffic import TrafficLimitsSettings
from secondlook.core.subject import FileSubject
from secondlook.proxy.mitm.http.http2 import WINDOW_BYTES
from secondlook.proxy.mitm.http.http2_origin import UNSENT_MAX_BYTES, Http2OriginSide

MANY_BYTES = 64 << 20
PIECE = bytes(range(256)) * 64


class Slow:
    """An HTTP/2 origin that stands still at each request until it is let on; it keeps the digest of a body."""

    def __init__(self, certificate) -> None:
        self.go_on = threading.Event()
        self.bodies = {}
        self.origin = Origin(certificate, self._handle)

    def _handle(self, peer: Peer, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived():
                self.bodies[event.stream_id] = hashlib.sha256()
                self.go_on.wait()
            case h2.events.DataReceived():
                self.bodies[event.stream_id].update(event.data)
            case h2.events.StreamEnded():
                reply(peer, event.stream_id, self.bodies[event.stream_id].hexdigest().encode())


@pytest.fixture
def slow(origin_certificate):
    it = Slow(origin_certificate)
    with it.origin:
        yield it
        it.go_on.set()


def fill(client: Client, stream_id: int) -> tuple[int, str]:
    """Upload as much as the proxy's window lets; how much that was, and its digest."""
    digest, sent = hashlib.sha256(), 0
    while sent < MANY_BYTES:
        room = client.state.local_flow_control_window(stream_id)
        while room:
            piece = PIECE[: min(room, len(PIECE))]
            client.state.send_data(stream_id, piece)
            digest.update(piece)
            room -= len(piece)
            sent += len(piece)
        client.state.ping(b"12345678")
        client.send()
        # what it acknowledges comes before the answer to what was sent behind the data
        while not any(isinstance(event, h2.events.PingAckReceived) for event in client.receive()):
            pass
        if not client.state.local_flow_control_window(stream_id):
            break
    return sent, digest.hexdigest()


def test_an_upload_waits_for_its_origin(proxy, slow):
    with Client(proxy.port, slow.origin.port, proxy.ca) as client:
        streams = [client.ask(client.head("POST"), end=False) for _ in range(2)]
        sent = [fill(client, stream_id) for stream_id in streams]
        assert all(count <= WINDOW_BYTES + UNSENT_MAX_BYTES + (128 << 10) for count, _ in sent)
        slow.go_on.set()
        for stream_id in streams:
            client.state.end_stream(stream_id)
        client.finish(*streams)
        assert [client.got[stream_id].body.decode() for stream_id in streams] == [told for _, told in sent]


def test_an_upload_that_is_given_up_holds_nobody_up(proxy, slow):
    with Client(proxy.port, slow.origin.port, proxy.ca) as client:
        stream_id = client.ask(client.head("POST"), end=False)
        fill(client, stream_id)
        client.state.reset_stream(stream_id)
        client.send()
        slow.go_on.set()
        again = client.ask(client.head("POST"), end=False)
        client.state.send_data(again, b"some", end_stream=True)
        assert client.finish(again).body.decode() == hashlib.sha256(b"some").hexdigest()


class Full(NoStreams):
    def __init__(self) -> None:
        self.filled = set()

    def fill(self, stream_id: int, _origin: object) -> None:
        self.filled.add(stream_id)


def test_an_upload_that_waits_for_room_for_its_request_counts_too():
    streams = Full()
    side = Http2OriginSide(around(), streams, TrafficLimitsSettings())
    no_room = b"\0\0\6\4\0\0\0\0\0" + b"\0\3\0\0\0\0"
    head = RequestHeaders(1, treq(http_version=b"HTTP/2.0"), end_stream=False)
    run(side, Start(), DataReceived(side.conn, no_room), head)
    run(side, *(RequestData(1, bytes(UNSENT_MAX_BYTES // 4)) for _ in range(4)))
    assert not streams.filled
    run(side, RequestData(1, b"1"))
    assert streams.filled == {1}
    run(side, RequestProtocolError(1, "given up", ErrorCode.CANCEL))
    assert not side.unsent(1)


def test_an_upload_waits_while_its_answer_is_judged(proxy, gatekeeper, make_http2_origin):
    """A hook that waits keeps a stream from taking anything: what comes meanwhile would pile up in it."""
    program = b"MZ" + bytes(2000)
    gatekeeper.opened = threading.Event()
    gatekeeper.slow.add(hashlib.sha256(program).hexdigest())
    asked = threading.Event()
    gatekeeper.on_check = lambda subject: asked.set() if isinstance(subject, FileSubject) else None

    def handle(peer: Peer, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived(stream_id=stream_id):
                reply(peer, stream_id, program)

    with Client(proxy.port, make_http2_origin(handle).port, proxy.ca) as client:
        stream_id = client.ask(client.head("POST"), end=False)
        client.send()
        assert asked.wait(60), "what came before went on to the origin"
        sent, _ = fill(client, stream_id)
        gatekeeper.opened.set()
        assert client.finish(stream_id).body == program
        assert sent <= WINDOW_BYTES + UNSENT_MAX_BYTES + (128 << 10)


def test_an_upload_waits_while_its_address_is_judged(proxy, gatekeeper, make_http2_origin):
    origin = make_http2_origin()
    gatekeeper.opened = threading.Event()
    gatekeeper.slow.add("127.0.0.1/")
    with Client(proxy.port, origin.port, proxy.ca) as client:
        stream_id = client.ask(client.head("POST"), end=False)
        sent, _ = fill(client, stream_id)
        gatekeeper.opened.set()
        client.state.end_stream(stream_id)
        assert client.finish(stream_id).body == b"ok"
        assert sent <= WINDOW_BYTES + (128 << 10)
