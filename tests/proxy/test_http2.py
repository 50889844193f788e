"""HTTP/2 on both sides: heads of any size and form, ends of streams and connections, and floods."""

import time
from collections.abc import Callable, Iterator

import h2.errors
import h2.events
import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy.events import DataReceived, Start

from proxykit.http2 import Client, Origin, Peer, answer, reply
from proxykit.sides import NoStreams, around, run
from secondlook.config import TrafficLimitsSettings
from secondlook.proxy.mitm.http.http2 import Http2ClientSide
from secondlook.proxy.mitm.http.http2_head import read_answer, read_request

PROTOCOL_ERROR, CANCEL, REFUSED_STREAM, CALM = 1, 8, 7, 11
NO_ERROR = 0


@pytest.fixture
def make_origin(origin_certificate) -> Iterator[Callable[..., Origin]]:
    running: list[Origin] = []

    def make(handle: Callable[[Peer, h2.events.Event], None] = answer) -> Origin:
        origin = Origin(origin_certificate, handle)
        running.append(origin.__enter__())
        return origin

    yield make
    for origin in running:
        origin.__exit__()


@pytest.fixture
def connect(proxy) -> Iterator[Callable[[Origin], Client]]:
    clients: list[Client] = []

    def make(origin: Origin) -> Client:
        clients.append(Client(proxy.port, origin.port, proxy.ca))
        return clients[-1]

    yield make
    for client in clients:
        client.sock.close()


# ---- requests


@pytest.mark.parametrize(
    "change",
    [
        {":method": "GET /other HTTP/1.1 "},
        {":method": ""},
        {":method": "CONNECT"},
        {":scheme": "ftp"},
        {":path": ""},
        {":path": "other"},
        {":path": "*"},
        {":path": "/a b"},
        {":path": "/a\tb"},
        {":path": "/a\x7f"},
        {":path": "/a#b"},
        {":authority": "user@127.0.0.1"},
        {":authority": "127.0.0.1/other"},
        {":authority": "127.0.0.1:99999"},
        {":authority": ""},
        {":status": "200"},
        {":protocol": "websocket"},
        {"host": "elsewhere.test"},
        {"X-Capital": "1"},
        {"x space": "1"},
        {"x:colon": "1"},
        {"": "1"},
        {"x": "a\r\nb: c"},
        {"x": "a\nb"},
        {"x": "a\rb"},
        {"x": "a\0b"},
        {"connection": "close"},
        {"transfer-encoding": "chunked"},
        {"upgrade": "websocket"},
        {"te": "gzip"},
        {"content-length": "3"},  # and no body
        {"content-length": "+0"},
    ],
    ids=repr,
)
def test_a_malformed_request_ends_its_stream_and_nothing_else(make_origin, connect, change):
    origin = make_origin()
    client = connect(origin)
    bad = client.ask((client.head() and {**dict(client.head()), **change}).items())
    good = client.ask(client.head(path="/good"))
    client.finish(bad, good)
    assert client.got[bad].error == PROTOCOL_ERROR
    assert client.got[good].body == b"ok"
    assert [head[":path"] for _, _, head in origin.requests] == ["/good"]


def test_a_field_said_twice_or_out_of_order_is_malformed_too(make_origin, connect):
    origin = make_origin()
    client = connect(origin)
    head = client.head()
    bad = [
        client.ask([*head, (":path", "/other")]),
        client.ask([*head[:3], ("x", "y"), head[3]]),
        client.ask([*head, ("host", f"127.0.0.1:{origin.port}"), ("host", "b")]),
        client.ask(head[:3]),
    ]
    client.finish(*bad)
    assert {client.got[one].error for one in bad} == {PROTOCOL_ERROR}
    assert client.get().body == b"ok"
    assert len(origin.requests) == 1


def test_what_is_plain_to_everybody_is_taken(make_origin, connect):
    origin = make_origin()
    client = connect(origin)
    port = origin.port
    head = [*client.head()[:3], (":path", b"/\xc3\xa4?q=\xe4")]
    assert (
        client.finish(client.ask([*head, ("host", f"127.0.0.1:{port}"), ("x", "\t padded ")])).body == b"ok"
    )
    assert client.finish(
        client.ask([*client.head(), ("host", f"127.0.0.1:{port}"), ("te", "trailers")])
    ).whole
    (_, _, first), (_, _, second) = origin.requests
    assert first[":authority"] == second[":authority"] == f"127.0.0.1:{port}"
    assert first[":path"] == "/%C3%A4?q=%E4"
    assert first["x"] == "padded"


@pytest.mark.parametrize("size", [100_000, 255_000])
def test_a_large_head_passes_both_ways(make_origin, connect, size):
    def handle(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            reply(peer, event.stream_id, b"ok", ("x-big", dict(event.headers)["x-big"]))

    client = connect(make_origin(handle))
    got = client.get(x_big="a" * size)
    assert len(dict(got.headers)["x-big"]) == size


def test_a_head_beyond_the_limit_is_refused_and_the_connection_goes_on(make_origin, connect):
    def handle(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            large = dict(event.headers)[":path"] == "/large"
            reply(peer, event.stream_id, b"ok", ("x-big", "a" * 300_000 * large))

    origin = make_origin(handle)
    client = connect(origin)
    assert client.get(x_big="a" * 300_000).status == 431
    large = client.get("/large")
    assert (large.status, b"Second Look" in large.body) == (502, True)
    many = client.ask([*client.head(), *((f"x-{number}", "") for number in range(3000))])
    assert client.finish(many).status == 431
    assert client.get().body == b"ok"
    assert len(origin.peers) == 1


def test_a_flood_of_header_blocks_ends_the_connection(make_origin, connect):
    client = connect(make_origin())
    fields = b"\0\1a\0" * 4_000  # each a field that is called "a" and says nothing
    client.send(HeadersFrame(1, fields).serialize())
    client.send(b"".join(ContinuationFrame(1, fields).serialize() for _ in range(60)))
    client.send(ContinuationFrame(1, fields, flags=["END_HEADERS"]).serialize())
    while not client.over:
        client.read()
    assert client.goaway in {CALM, None}  # what was not read may reset the connection


# ---- ends of streams and connections


def holding(count: int) -> tuple[Callable[[Peer, h2.events.Event], None], dict[int, list[int]]]:
    """Answer nothing before `count` requests are there on a connection, then say what a test wants."""
    held: dict[int, list[int]] = {}

    def handle(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.StreamEnded):
            held.setdefault(peer.number, []).append(event.stream_id)

    return handle, held


def goaway(last: int, code: int = NO_ERROR) -> bytes:
    return GoAwayFrame(0, last_stream_id=last, error_code=code).serialize()


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("code", [NO_ERROR, h2.errors.ErrorCodes.INTERNAL_ERROR])
def test_a_goaway_lets_what_was_begun_finish_and_the_rest_is_asked_elsewhere(
    make_origin, connect, method, code
):
    def handle(peer: Peer, event: h2.events.Event) -> None:
        if not isinstance(event, h2.events.StreamEnded):
            return
        if peer.number == 0 and event.stream_id < 9:
            return
        if peer.number == 0:  # the fifth request: two of the five are done
            peer.send(goaway(3, code))
            for stream_id in (1, 3):
                reply(peer, stream_id, b"old")
            return
        reply(peer, event.stream_id, b"new")

    origin = make_origin(handle)
    client = connect(origin)
    end = method == "GET"
    streams = [client.ask(client.head(method, f"/{number}"), end=end) for number in range(5)]
    if not end:
        for stream_id in streams:
            client.state.send_data(stream_id, b"body", end_stream=True)
    client.finish(*streams)
    assert [client.got[one].body for one in streams] == [b"old"] * 2 + [b"new"] * 3
    assert client.get("/later").body == b"new"
    assert {number for number, _, _ in origin.requests} == {0, 1}
    assert origin.peers[0].receive() == []  # closed, once its last stream was done


def test_a_refused_stream_is_asked_again_with_its_body(make_origin, connect):
    bodies: dict[int, bytes] = {}

    def handle(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.DataReceived):
            bodies[event.stream_id] = bodies.get(event.stream_id, b"") + event.data
        elif isinstance(event, h2.events.StreamEnded) and event.stream_id == 1:
            peer.state.reset_stream(1, REFUSED_STREAM)
        elif isinstance(event, h2.events.StreamEnded):
            reply(peer, event.stream_id, bodies[event.stream_id])

    origin = make_origin(handle)
    client = connect(origin)
    stream_id = client.ask(client.head("POST"), end=False)
    client.state.send_data(stream_id, b"all of it", end_stream=True)
    assert client.finish(stream_id).body == b"all of it"
    assert len(origin.requests) == 2


def test_an_origin_that_refuses_for_ever_is_not_asked_for_ever(make_origin, connect):
    def handle(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            peer.state.reset_stream(event.stream_id, REFUSED_STREAM)

    origin = make_origin(handle)
    assert connect(origin).get().status == 502
    assert 1 < len(origin.requests) < 10


@pytest.mark.parametrize(("method", "asked"), [("GET", 2), ("POST", 1)])
def test_a_connection_that_ends_before_the_answer(make_origin, connect, method, asked):
    """Nobody knows whether the request was looked at: it is made again where twice does the same as once."""

    def handle(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.StreamEnded) and peer.number == 0:
            peer.sock.close()
            peer.over = True
        elif isinstance(event, h2.events.StreamEnded):
            reply(peer, event.stream_id)

    origin = make_origin(handle)
    client = connect(origin)
    assert client.finish(client.ask(client.head(method))).status == (200 if method == "GET" else 502)
    assert len(origin.requests) == asked


def test_a_connection_that_ends_in_the_answer_cuts_it(make_origin, connect):
    def handle(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.StreamEnded):
            peer.state.send_headers(event.stream_id, [(":status", "200"), ("content-type", "video/mp4")])
            peer.state.send_data(event.stream_id, b"x" * 10_000)
            peer.send()
            peer.sock.close()
            peer.over = True

    got = connect(make_origin(handle)).get()
    assert not got.whole
    assert got.error is not None or got.status == 502


@pytest.mark.parametrize("whole_at_headers", [False, True])
def test_a_whole_answer_stays_whole_when_the_upload_is_stopped(make_origin, connect, whole_at_headers):
    def handle(peer: Peer, event: h2.events.Event) -> None:
        if not isinstance(event, h2.events.RequestReceived):
            return
        if whole_at_headers:
            peer.state.send_headers(event.stream_id, [(":status", "413")], end_stream=True)
        else:
            reply(peer, event.stream_id, b"too much", status="413")
        peer.state.reset_stream(event.stream_id, NO_ERROR)

    client = connect(make_origin(handle))
    stream_id = client.ask(client.head("POST"), end=False)
    client.state.send_data(stream_id, b"some")
    got = client.finish(stream_id)
    assert (got.status, got.whole) == (413, True)
    while got.error is None:
        client.read()
    assert got.error == NO_ERROR  # its upload is stopped too


def test_a_stream_that_the_client_ends_is_ended_at_the_origin(make_origin, connect):
    handle, held = holding(2)
    origin = make_origin(handle)
    client = connect(origin)
    first, second = client.ask(client.head()), client.ask(client.head())
    client.send()
    while len(held.get(0, ())) < 2:
        time.sleep(0.01)
    client.state.reset_stream(first, CANCEL)
    client.send()
    while not origin.resets:
        time.sleep(0.01)
    assert origin.resets == [(1, CANCEL)]
    reply(origin.peers[0], 3)
    origin.peers[0].send()
    assert client.finish(second).body == b"ok"


@pytest.mark.parametrize(
    "fields",
    [
        [(":status", "200"), ("x", "a\r\nb: c")],
        [(":status", "200"), ("x y", "a")],
        [(":status", "20")],
        [(":status", "101")],
        [("x", "a")],
        [(":status", "200"), ("content-length", "3"), ("content-length", "4")],
        [(":status", "200"), ("content-length", "5")],
    ],
    ids=repr,
)
def test_a_malformed_answer_is_an_error_of_its_own(make_origin, connect, fields):
    def handle(peer: Peer, event: h2.events.Event) -> None:
        if not isinstance(event, h2.events.StreamEnded):
            return
        if event.stream_id == 1:
            peer.state.send_headers(1, fields)
            peer.state.send_data(1, b"ok", end_stream=True)
        else:
            reply(peer, event.stream_id)

    origin = make_origin(handle)
    client = connect(origin)
    bad, good = client.ask(client.head()), client.ask(client.head())
    client.finish(bad, good)
    assert client.got[bad].status == 502 or client.got[bad].error is not None
    assert client.got[good].body == b"ok"
    assert len(origin.peers) == 1
    assert len(origin.requests) == 2


def test_an_answer_with_small_faults_is_put_right(make_origin, connect):
    odd = [
        ("x-pad", " 1.mxp _dca\t"),
        ("X-Capital", "y"),
        ("connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("content-length", "2"),
        ("content-length", "2"),
    ]

    def handle(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.StreamEnded):
            reply(peer, event.stream_id, b"ok", *odd)

    got = connect(make_origin(handle)).get()
    assert got.body == b"ok"
    assert ("x-pad", "1.mxp _dca") in got.headers
    assert ("x-capital", "y") in got.headers
    assert not {"connection", "transfer-encoding"} & {name for name, _ in got.headers}
    assert [value for name, value in got.headers if name == "content-length"] == ["2"]


def test_an_update_of_nothing_ends_its_stream_and_nothing_else(make_origin, connect):
    client = connect(make_origin())
    stream_id = client.ask(client.head("POST"), end=False)
    client.send(b"\0\0\4\x08\0" + stream_id.to_bytes(4) + b"\0\0\0\0")
    assert client.finish(stream_id).error == PROTOCOL_ERROR
    assert client.get().body == b"ok"


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0, {}).serialize()


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        PREFACE + b"\0\0\1\1\x08\0\0\0\1\x05",  # a head of one byte that has five of padding
        PREFACE + b"\0\0\1\0\x08\0\0\0\1\x05",
    ],
    ids=["another protocol", "padding of a head", "padding of data"],
)
def test_bytes_that_are_no_http2_end_their_connection(raw):
    side = Http2ClientSide(around(), NoStreams(), TrafficLimitsSettings())
    run(side, Start(), DataReceived(side.conn, raw))
    assert side.conn.state is ConnectionState.CLOSED


def test_control_characters_become_spaces_as_in_http1():
    fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/"), (b":authority", b"a.test")]
    assert read_request([*fields, (b"x", b"\x01a\x7fb\x1f")])[1] == [(b"x", b"a b")]
    assert read_answer([(b":status", b"200"), (b"x", b"a\x08b")])[1:] == [(b"x", b"a b")]


# ---- floods


def _resets(client: Client) -> bytes:
    for _ in range(1000):
        client.state.reset_stream(client.ask(client.head()), CANCEL)
    return b""


def _provoked_resets(client: Client, wider: bytes = bytes(4)) -> bytes:
    raw = b""
    for _ in range(1000):
        stream_id = client.ask(client.head("POST"), end=False)
        raw += client.state.data_to_send() + b"\0\0\4\x08\0" + stream_id.to_bytes(4) + wider
        client.state.reset_stream(stream_id)
        client.state.clear_outbound_data_buffer()
    return raw


FLOODS = {
    "resets": _resets,
    "provoked resets": _provoked_resets,
    "pings": lambda _: PingFrame(0, b"12345678").serialize() * 20_000,
    "settings": lambda _: SettingsFrame(0, {4: 65_535}).serialize() * 20_000,
    "priorities": lambda _: PriorityFrame(1, depends_on=3).serialize() * 20_000,
    "updates": lambda _: WindowUpdateFrame(0, window_increment=1).serialize() * 20_000,
    "resets of nothing": lambda _: RstStreamFrame(1, error_code=8).serialize() * 5_000,
    "unknown frames": lambda _: b"\0\0\0\xfe\0\0\0\0\0" * 20_000,
    "empty data": lambda client: (
        client.ask(client.head("POST"), end=False) and DataFrame(3).serialize() * 20_000
    ),
    "windows that overflow": lambda client: _provoked_resets(client, (2**31 - 1).to_bytes(4)),
}


@pytest.mark.parametrize("flood", FLOODS, ids=str)
def test_a_flood_ends_its_connection(make_origin, connect, flood):
    client = connect(make_origin())
    client.get()
    raw = FLOODS[flood](client)
    client.send(raw)
    while not client.over:
        client.read()
    assert client.goaway in {CALM, None}  # what was not read any more may reset the connection


def test_a_browser_that_closes_its_tabs_is_no_flood(make_origin, connect):
    client = connect(make_origin())
    for _ in range(3):
        streams = [client.ask(client.head()) for _ in range(100)]
        client.send()
        for stream_id in streams:
            client.state.reset_stream(stream_id, CANCEL)
    assert client.get().body == b"ok"


def test_more_requests_than_offered_are_refused_one_by_one(make_origin, connect):
    handle, _ = holding(100)
    client = connect(make_origin(handle))
    client.state.remote_settings.max_concurrent_streams = 1000
    client.state.remote_settings.acknowledge()
    streams = [client.ask(client.head()) for _ in range(120)]
    client.finish(*streams[100:])
    assert {client.got[one].error for one in streams[100:]} == {REFUSED_STREAM}
    assert {client.got[one].error for one in streams[:100]} == {None}
