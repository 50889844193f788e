"""HTTP/2 through our layers: any frames end well, and a head goes on as the one that was understood."""

import h2.config
import h2.connection
import h11
import httptools
from hpack.exceptions import HPACKError
from hpack.hpack import Decoder, Encoder
from hpack.struct import NeverIndexedHeaderTuple
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame
from hypothesis import strategies as st
from mitmproxy.http import Headers
from mitmproxy.proxy import events
from mitmproxy.proxy.layers.http._events import RequestEndOfMessage, RequestHeaders, ResponseHeaders
from mitmproxy.test.tflow import treq

from fuzzkit import fuzz, mutated
from proxykit.readers import llhttp, same
from proxykit.sides import NoStreams, around, as_http2, problem, run
from secondlook.config.traffic import TrafficLimitsSettings
from secondlook.proxy.mitm.http.header_coding import HeadDecoder
from secondlook.proxy.mitm.http.http1 import Http1ClientSide
from secondlook.proxy.mitm.http.http1_origin import Http1OriginSide
from secondlook.proxy.mitm.http.http2 import Http2ClientSide
from secondlook.proxy.mitm.http.http2_origin import Http2OriginSide

LIMITS = TrafficLimitsSettings()
BLOCKS = [
    Encoder().encode([(b":path", b"/"), (b"cookie", b"a"), (b"x", b"y" * 40)]),
    Encoder().encode([(b":status", b"200"), (b"content-length", b"5")], huffman=False),
    b"\x00\x81\xff\x81\xff",
    b"\x3f\xe1\x1f\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
]
FRAMES = [
    as_http2("GET", "/x", "a.test", [("accept", "*/*"), ("te", "trailers")]),
    as_http2("POST", "/", "a.test", [("content-length", "5")])
    + HeadersFrame(
        3, Encoder().encode([(":method", "PUT"), (":path", "/"), (":scheme", "https")]), flags=["END_HEADERS"]
    ).serialize()
    + DataFrame(3, b"hello", flags=["END_STREAM"]).serialize(),
    PingFrame(0, b"12345678").serialize() + RstStreamFrame(1, error_code=8).serialize(),
    SettingsFrame(0, {1: 4096, 4: 65_535}).serialize() + GoAwayFrame(0, last_stream_id=1).serialize(),
]
ANSWERS = [
    SettingsFrame(0, {}).serialize()
    + HeadersFrame(
        1, Encoder().encode([(":status", "200"), ("content-length", "5")]), flags=["END_HEADERS"]
    ).serialize()
    + DataFrame(1, b"hello", flags=["END_STREAM"]).serialize(),
    SettingsFrame(0, {}).serialize()
    + HeadersFrame(
        1, Encoder().encode([(":status", "103"), ("link", "</a>")]), flags=["END_HEADERS"]
    ).serialize()
    + HeadersFrame(
        1, Encoder().encode([(":status", "204")]), flags=["END_HEADERS", "END_STREAM"]
    ).serialize(),
    *FRAMES,
]
HEADS = [
    b":method: GET\n:scheme: https\n:authority: a.test\n:path: /x?y\naccept: */*\ncookie: a\ncookie: b",
    b":method: POST\n:scheme: https\n:authority: A.test:443\n:path: /\xc3\xa4\ncontent-length: 0\nte: trailers",
    b":method: OPTIONS\n:scheme: https\nhost: a.test\n:path: *\nx y: 1\nconnection: close\ntransfer-encoding: chunked",
]


def fields_of(block: bytes, decoder: Decoder) -> object:
    try:
        found = decoder.decode(block, raw=True)
    except HPACKError:
        return "broken"
    return [(*one, isinstance(one, NeverIndexedHeaderTuple)) for one in found]


@fuzz(block=mutated(BLOCKS))
def test_header_coding(block):
    """Our HPACK makes of any block what the `hpack` package makes of it, and twice the same."""
    ours, theirs = HeadDecoder(1 << 20, 1000), Decoder(1 << 20)
    for _ in range(2):
        told = fields_of(block, ours)
        assert told == fields_of(block, theirs)
        if told == "broken":
            return


@fuzz(data=mutated(FRAMES), step=st.integers(1, 300))
def test_frames_of_a_client(data, step):
    """Whatever frames a client sends, how they are cut makes no difference to the requests; nothing raises."""

    def heard(size: int) -> list[tuple[object, ...]]:
        side = Http2ClientSide(around(), NoStreams(), LIMITS)
        made = run(side, events.Start())[1]
        for at in range(0, len(data), size):
            made += run(side, events.DataReceived(side.conn, data[at : at + size]))[1]
        made += run(side, events.ConnectionClosed(side.conn))[1]
        asked = [each for each in made if isinstance(each, RequestHeaders)]
        return [(each.stream_id, each.request.data.path, each.request.headers.fields) for each in asked]

    assert heard(step) == heard(len(data) + 1)


@fuzz(data=mutated(ANSWERS), step=st.integers(1, 300))
def test_frames_of_an_origin(data, step):
    """Whatever frames an origin sends, a request gets at most one answer; nothing raises."""
    side = Http2OriginSide(around(), NoStreams(), LIMITS)
    request = treq(http_version=b"HTTP/2.0", headers=Headers(), content=b"", authority=b"a.test")
    made = run(side, events.Start(), RequestHeaders(1, request, end_stream=True), RequestEndOfMessage(1))[1]
    for at in range(0, len(data), step):
        made += run(side, events.DataReceived(side.conn, data[at : at + step]))[1]
    made += run(side, events.ConnectionClosed(side.conn))[1]
    answers = [each for each in made if isinstance(each, ResponseHeaders)]
    assert len(answers) <= 1
    for each in answers:
        assert each.response.status_code >= 200
        client = Http1ClientSide(around(), LIMITS, problem)
        asking = b"GET https://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n"
        run(client, events.Start(), events.DataReceived(client.conn, asking))
        sent, _ = run(client, each)
        fields = llhttp(httptools.HttpResponseParser, sent).fields
        reader = h11.Connection(h11.CLIENT)
        reader.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
        reader.receive_data(sent)
        assert same(reader.next_event().headers, fields)


@fuzz(head=mutated(HEADS))
def test_heads_of_requests(head):
    """A request of HTTP/2 that is taken goes to an origin of HTTP/1 as one request, of what was understood."""
    state = h2.connection.H2Connection(
        h2.config.H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
    )
    state.initiate_connection()
    lines = [line.partition(b": ") for line in head[:8000].split(b"\n")]
    block = Encoder().encode([(name, value) for name, _, value in lines], huffman=False)
    data = state.data_to_send() + HeadersFrame(1, block, flags=["END_HEADERS", "END_STREAM"]).serialize()
    side = Http2ClientSide(around(), NoStreams(), LIMITS)
    _, made = run(side, events.Start(), events.DataReceived(side.conn, data))
    asked = [each for each in made if isinstance(each, RequestHeaders)]
    if not asked or asked[0].request.method == "CONNECT":
        return
    request = asked[0].request
    request.data.host, request.data.port = "a.test", 443
    sent, _ = run(Http1OriginSide(around(), LIMITS), events.Start(), asked[0], RequestEndOfMessage(1))
    read = llhttp(httptools.HttpRequestParser, b"POST " + sent.partition(b" ")[2])  # it knows few methods
    server = h11.Connection(h11.SERVER)
    server.receive_data(sent)
    event = server.next_event()
    assert (event.method, event.target) == (request.data.method, request.data.path)
    assert same(read.fields, event.headers)
    assert read.whole == 1
    assert isinstance(server.next_event(), h11.EndOfMessage)
    assert not server.trailing_data[0]
    known = {one[0].lower() for one in request.headers.fields} | {b"host"}
    assert {one[0] for one in event.headers} <= known
