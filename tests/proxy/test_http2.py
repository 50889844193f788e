"""HTTP/2 towards the client, and what both sides share: heads of any size and form, and floods."""

import h2.errors
import h2.events
import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy.events import DataReceived, Start

from proxykit.http2 import Client, Peer, holding, reply, text
from proxykit.sides import NoStreams, around, run
from secondlook.config.traffic import TrafficLimitsSettings
from secondlook.proxy.mitm.http.http2 import Http2ClientSide
from secondlook.proxy.mitm.http.http2_head import read_answer, read_request

PROTOCOL_ERROR, CANCEL, REFUSED_STREAM, CALM = 1, 8, 7, 11
NO_ERROR = 0


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
def test_a_malformed_request_ends_its_stream_and_nothing_else(make_http2_origin, connect_http2, change):
    origin = make_http2_origin()
    client = connect_http2(origin)
    bad = client.ask((client.head() and {**dict(client.head()), **change}).items())
    good = client.ask(client.head(path="/good"))
    client.finish(bad, good)
    assert client.got[bad].error == PROTOCOL_ERROR
    assert client.got[good].body == b"ok"
    assert [head[":path"] for _, _, head in origin.requests] == ["/good"]


def test_a_field_said_twice_or_out_of_order_is_malformed_too(make_http2_origin, connect_http2):
    origin = make_http2_origin()
    client = connect_http2(origin)
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


def test_what_is_plain_to_everybody_is_taken(make_http2_origin, connect_http2):
    origin = make_http2_origin()
    client = connect_http2(origin)
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
def test_a_large_head_passes_both_ways(make_http2_origin, connect_http2, size):
    def handle(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            reply(peer, event.stream_id, b"ok", ("x-big", dict(text(event.headers))["x-big"]))

    client = connect_http2(make_http2_origin(handle))
    got = client.get(x_big="a" * size)
    assert len(dict(got.headers)["x-big"]) == size


def test_a_head_beyond_the_limit_is_refused_and_the_connection_goes_on(make_http2_origin, connect_http2):
    def handle(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            large = dict(text(event.headers))[":path"] == "/large"
            reply(peer, event.stream_id, b"ok", ("x-big", "a" * 300_000 * large))

    origin = make_http2_origin(handle)
    client = connect_http2(origin)
    assert client.get(x_big="a" * 300_000).status == 431
    large = client.get("/large")
    assert (large.status, b"Second Look" in large.body) == (502, True)
    many = client.ask([*client.head(), *((f"x-{number}", "") for number in range(3000))])
    assert client.finish(many).status == 431
    assert client.get().body == b"ok"
    assert len(origin.peers) == 1


def test_a_flood_of_header_blocks_ends_the_connection(make_http2_origin, connect_http2):
    client = connect_http2(make_http2_origin())
    fields = b"\0\1a\0" * 4_000  # each a field that is called "a" and says nothing
    client.send(HeadersFrame(1, fields).serialize())
    client.send(b"".join(ContinuationFrame(1, fields).serialize() for _ in range(60)))
    client.send(ContinuationFrame(1, fields, flags=["END_HEADERS"]).serialize())
    while not client.over:
        client.read()
    assert client.goaway in {CALM, None}  # what was not read may reset the connection


def test_an_update_of_nothing_ends_its_stream_and_nothing_else(make_http2_origin, connect_http2):
    client = connect_http2(make_http2_origin())
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
def test_a_flood_ends_its_connection(make_http2_origin, connect_http2, flood):
    client = connect_http2(make_http2_origin())
    client.get()
    raw = FLOODS[flood](client)
    client.send(raw)
    while not client.over:
        client.read()
    assert client.goaway in {CALM, None}  # what was not read any more may reset the connection


def test_a_browser_that_closes_its_tabs_is_no_flood(make_http2_origin, connect_http2):
    client = connect_http2(make_http2_origin())
    for _ in range(3):
        streams = [client.ask(client.head()) for _ in range(100)]
        client.send()
        for stream_id in streams:
            client.state.reset_stream(stream_id, CANCEL)
    assert client.get().body == b"ok"


def test_more_requests_than_offered_are_refused_one_by_one(make_http2_origin, connect_http2):
    handle, _ = holding(100)
    client = connect_http2(make_http2_origin(handle))
    client.state.remote_settings.max_concurrent_streams = 1000
    client.state.remote_settings.acknowledge()
    streams = [client.ask(client.head()) for _ in range(120)]
    client.finish(*streams[100:])
    assert {client.got[one].error for one in streams[100:]} == {REFUSED_STREAM}
    assert {client.got[one].error for one in streams[:100]} == {None}
