"""What was checked is what is sent, for every pair of HTTP versions: no byte of a request means another one behind us."""

import itertools
import re

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import hypothesis.strategies as st
from hypothesis import HealthCheck, example, given, settings
from mitmproxy.proxy import events
from mitmproxy.proxy.layers.http._events import RequestHeaders

from proxykit.gatekeeper import FakeGatekeeper
from proxykit.sides import NoStreams, around, as_http2, problem, run
from secondlook.config.traffic import TrafficLimitsSettings
from secondlook.core.url.canonical import url_subject_from_parts
from secondlook.download.request_facts import read_request_facts
from secondlook.proxy.mitm.http.http1 import Http1ClientSide
from secondlook.proxy.mitm.http.http1_origin import Http1OriginSide
from secondlook.proxy.mitm.http.http2 import Http2ClientSide
from secondlook.proxy.mitm.http.http2_origin import Http2OriginSide
from secondlook.proxy.request import subjects
from secondlook.suffix import load_suffixes

LIMITS = TrafficLimitsSettings()
ODD = [
    "",
    " ",
    "\t",
    "\r\n",
    "\n",
    "\r",
    "\0",
    "#",
    "?",
    "@",
    ":",
    "/",
    "\\",
    "%",
    "%0d%0a",
    "\x7f",
    "é",
    ",",
    ";",
    "b",
]
LINE = " /listed HTTP/1.1\r\nHost: b.test\r\n\r\nGET"
text = st.lists(st.sampled_from([*ODD, "a", "b.test", "..", "//", "HTTP/1.1", LINE]), max_size=4).map("".join)
methods = st.sampled_from(["GET", "OPTIONS", "get", "G E T", "CONNECT", "GET /listed HTTP/1.1", f"GET{LINE}"])
targets = st.one_of(text.map("/".__add__), text, st.just("*"))
hosts = st.one_of(st.sampled_from(["a.test", "A.test:443", "[::1]", "u@a.test", "a.test, b.test"]), text)
names = st.sampled_from(
    ["x", "X-Y", "x y", "x:y", "host", "content-length", "transfer-encoding", "connection", "te"]
)
headers = st.lists(st.tuples(names, st.one_of(text, st.just("a.test"), st.just("chunked"))), max_size=3)


def as_http1(method: str, target: str, host: str, fields: list[tuple[str, str]]) -> bytes:
    lines = [
        f"{method} {target} HTTP/1.1",
        f"Host: {host}",
        *(f"{name}: {value}" for name, value in fields),
        "",
        "",
    ]
    return "\r\n".join(lines).encode()


def heard(version: int, data: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """Read what an origin got, by another reader than ours: method, target, host of each request."""
    if version == 2:
        state = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding=False)
        )
        state.initiate_connection()
        found = []
        for event in state.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                head = dict(event.headers)
                assert b"host" not in head
                found.append((head[b":method"], head[b":path"], head[b":authority"]))
        return found
    found = []
    for head in re.split(rb"(?>\r\n|\r|\n){2}", data)[:-1]:
        line, *rest = re.split(rb"(?>\r\n|\r|\n)", head)
        method, target, protocol = re.split(rb"[ \t\v\f]", line)
        assert protocol == b"HTTP/1.1"
        fields = [one.split(b":", 1) for one in rest]
        assert all(re.fullmatch(rb"[\w-]+", name) for name, _ in fields)
        (host,) = [value.strip() for name, value in fields if name.lower() == b"host"] or [b"a.test"]
        found.append((method, target, host))
    return found


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(methods, targets, hosts, headers)
@example("GET /listed HTTP/1.1", "\r\n\r\n", "a.test", [])  # no Host, which HTTP/2 wants
def test_what_was_checked_is_what_is_sent(method, target, host, fields):
    for theirs, ours in itertools.product((1, 2), (1, 2)):
        client = (
            Http1ClientSide(around(), LIMITS, problem)
            if theirs == 1
            else Http2ClientSide(around(), NoStreams(), LIMITS)
        )
        raw = (as_http1 if theirs == 1 else as_http2)(method, target, host, fields)
        _, made = run(client, events.Start(), events.DataReceived(client.conn, raw))
        asked = [event for event in made if isinstance(event, RequestHeaders)]
        if not asked:
            continue  # refused
        request = asked[0].request
        if request.method == "CONNECT":
            continue  # its tunnel goes to the host that was checked
        request.data.host, request.data.port, request.scheme = (
            "a.test",
            443,
            "https",
        )  # where the tunnel leads
        checked = {
            one.identity: one
            for one in subjects(request, read_request_facts(request.data.headers.fields), FakeGatekeeper())
        }
        origin = (
            Http1OriginSide(around(), LIMITS) if ours == 1 else Http2OriginSide(around(), NoStreams(), LIMITS)
        )
        sent, _ = run(origin, events.Start(), RequestHeaders(1, request, end_stream=asked[0].end_stream))
        got = heard(ours, sent)
        assert len(got) == 1, (theirs, ours, sent)
        for got_method, got_target, got_host in got:
            assert got_method == request.data.method
            path = got_target if got_target[:1] == b"/" else b"/" + got_target
            name = got_host.decode("latin-1") or "a.test"
            bare = name.rpartition(":")[0] if re.search(r":[0-9]+$", name) else name
            subject = url_subject_from_parts("https", bare.strip("[]"), path, load_suffixes())
            assert subject.identity in checked, (theirs, ours, sent)
