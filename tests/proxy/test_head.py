"""Heads are read as browsers read them, written strictly, and read alike by others. About 5 s."""

from urllib.parse import quote_from_bytes

import h11
import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mitmproxy.test.tflow import treq

from proxykit.readers import framed, llhttp, same
from secondlook.proxy.mitm.http.framing import Framing, HeadError
from secondlook.proxy.mitm.http.head import (
    add_via,
    came_round,
    glance,
    read_request,
    read_response,
    write_request,
    write_response,
)
from secondlook.proxy.mitm.http.head_buffer import HeadBuffer

GET = treq(method=b"GET")
UNTIL_END = Framing(-1, lasting=False)


def answer(lines: bytes, *, status: bytes = b"HTTP/1.1 200 OK\r\n", method: bytes = b"GET"):
    """What is written of an answer with these header lines, and its framing."""
    response, framing = read_response(status + lines + b"\r\n", treq(method=method))
    return write_response(response).partition(b"\r\n")[2], framing


@pytest.mark.parametrize(
    ("lines", "written"),
    [
        (b"X-Foo : bar\r\n", b"X-Foo: bar\r\n"),
        (b"X Powered By: x\r\nA: b\r\n", b"A: b\r\n"),
        (b"active=English; sess=UserId=1.2&Server: x\r\nA: b\r\n", b"A: b\r\n"),
        (b"no colon here\r\nA: b\r\n", b"A: b\r\n"),
        (b": nameless\r\nA: b\r\n", b"A: b\r\n"),
        (b" before any\r\nA: b\r\n", b"A: b\r\n"),
        (b"X Y: dropped\r\n with its fold\r\nA: b\r\n", b"A: b\r\n"),
        (b"A: b\r\n c\r\n\t d \r\n", b"A: b c d\r\n"),
        (b"A: b\r\n \r\nC: d\r\n", b"A: b\r\nC: d\r\n"),
        (b"A: b\nC: d\n", b"A: b\r\nC: d\r\n"),
        (b"A: b\0c\x01d\x7fe\r\n", b"A: b c d e\r\n"),
        (b"A: b\rTransfer-Encoding: chunked\r\n", b"A: b Transfer-Encoding: chunked\r\n"),
        (b"A:\t\xe4 \xf6 \r\n", b"A: \xe4 \xf6\r\n"),
        (b"A:\r\n", b"A: \r\n"),
        (
            b"Connection: x-hop, close\r\nX-Hop: 1\r\nKeep-Alive: 1\r\nProxy-Connection: x\r\nA: b\r\n",
            b"A: b\r\n",
        ),
        (b"Connection: close\r\nClose: 1\r\n", b"Close: 1\r\n"),
        (b"Connection: Host, Upgrade\r\nHost: x\r\nUpgrade: h2c\r\n", b"Host: x\r\n"),
    ],
)
def test_an_answer_is_repaired_where_it_is_clear(lines, written):
    assert answer(lines) == (written + b"\r\n", UNTIL_END)


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200",
        b"HTTP/1.1  200  OK",
        b"http/1.1 200 OK",
        b"HTTP/1.2 200 OK",
        b"HTTP/2.0 200 OK",
        b"HTTP/1.1 200 O\x00K\x01",
    ],
)
def test_status_lines_that_browsers_take(line):
    response, framing = read_response(line + b"\r\nContent-Length: 1\r\n\r\n", GET)
    assert (response.status_code, response.http_version, framing) == (200, "HTTP/1.1", (1, True))
    assert b"\0" not in write_response(response)


@pytest.mark.parametrize(
    "head",
    [
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 099 X\r\n\r\n",
        b"HTTP/1.1 +200 X\r\n\r\n",
        b"HTTP/1.1 2000 X\r\n\r\n",
        b"<html>\n\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunk ed\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: deflate\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
    ],
)
def test_an_answer_that_two_could_read_differently(head):
    with pytest.raises(HeadError):
        read_response(head, GET)


@pytest.mark.parametrize(
    ("head", "written"),
    [
        (
            b"GET http://a.test HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        ),
        (b"GET HTTP://a.test:81?q HTTP/1.1\r\n\r\n", b"GET http://a.test:81/?q HTTP/1.1\r\n\r\n"),
        (b"GET /t\xc3\xa4st HTTP/1.1\r\n\r\n", b"GET /t%C3%A4st HTTP/1.1\r\n\r\n"),
        (b"GET http://a.test/\xe4#x HTTP/1.1\r\n\r\n", b"GET http://a.test/%E4 HTTP/1.1\r\n\r\n"),
        (
            "GET http://m\u00fcller.test/ HTTP/1.1\r\n\r\n".encode(),
            b"GET http://xn--mller-kva.test/ HTTP/1.1\r\n\r\n",
        ),
        (b"OPTIONS * HTTP/1.0\n\n", b"OPTIONS * HTTP/1.1\r\n\r\n"),
        (b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", b"GET / HTTP/1.1\r\nA: b c\r\n\r\n"),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nCookie: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nCookie: a\r\n\r\n",
        ),
        (
            b"GET / HTTP/1.1\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nA: b\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: b\r\n\r\n",
        ),
        (
            b"GET / HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n",
            b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        ),
        (
            b"GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
        ),
        (b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"),
        (b"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"),
    ],
)
def test_a_request_as_it_goes_on(head, written):
    assert write_request(read_request(head)[0]) == written


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /a b HTTP/1.1\r\n\r\n", 400),
        (b"GET\t/\x0bHTTP/1.1\r\n\r\n", 400),
        (b"GET /\r HTTP/1.1\r\n\r\n", 400),
        (b"GET /\n\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\n", 505),
        (b"GET a.test/ HTTP/1.1\r\n\r\n", 400),
        (b"GET http://u:p@a.test/ HTTP/1.1\r\n\r\n", 400),
        (b"connect a.test:443 HTTP/1.1\r\n\r\n", 400),
        (b"CONNECT a.test HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length : 1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n A: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: x, chunked\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\n", 400),
    ],
)
def test_a_request_that_is_refused(head, status):
    with pytest.raises(HeadError) as refused:
        read_request(head)
    assert refused.value.status == status


def test_how_a_refused_client_wants_to_be_told():
    told = glance(b"GET /a b HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\nX Y: z\r\n\r\n")
    assert told.headers["accept"] == "text/html"


def test_long_runs_take_linear_time():
    """Each of these took minutes with a pattern that goes back."""
    run = 200_000
    for line in (
        b"A:" + b" " * run + b"\0",
        b"A" * run,
        b"A: " + b"b " * run + b"\0",
        b"A: b\n" + b" c\n" * run,
    ):
        read_response(b"HTTP/1.1 200 OK\r\n" + line + b"\r\n\r\n", GET)


@pytest.mark.parametrize("host", [b"a" * 2000, "ä".encode() * 120_000, b"a." * 120_000])
@pytest.mark.parametrize(
    "form",
    [
        b"GET http://%s/ HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n",
        b"CONNECT %s:443 HTTP/1.1\r\n\r\n",
    ],
)
def test_a_host_without_end_is_not_looked_at(form, host):
    """To make one ASCII that has 240,000 letters beyond it takes four seconds."""
    with pytest.raises(HeadError, match="more than 1024 bytes"):
        read_request(form % host)


def test_each_byte_beyond_ascii_is_escaped():
    path = b"/" + bytes(byte for byte in range(0x21, 0x100) if byte not in b"#\x7f")
    request, _ = read_request(b"GET http://a.test" + path + b" HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert request.data.path == quote_from_bytes(path, safe=bytes(range(0x21, 0x7F))).encode()


def lines_of(*odd: bytes) -> st.SearchStrategy[bytes]:
    names = (
        b"Content-Length",
        b"Transfer-Encoding",
        b"Connection",
        b"Upgrade",
        b"X",
        b": ",
        b":",
        b" ",
        b"\t",
    )
    values = (b"chunked", b"identity", b"gzip", b"5", b"5, 5", b"close", b"x", b",", b"0", b"h2c", b"upgrade")
    breaks = (b"\r\n", b"\n", b"\r", b"\0", b"\r\n ", b"\xff", b"\x0b", b"\x7f")
    pieces = st.sampled_from([*names, *values, *breaks, *odd])
    return st.lists(pieces, max_size=14).map(b"".join)


def first(data: bytes) -> bytes:
    buffer = HeadBuffer(len(data), len(data))
    buffer += data
    return buffer.take_head()


@settings(max_examples=400, deadline=None)
@given(lines=lines_of(b"HTTP/1.1 200 OK"), status=st.sampled_from([b"200", b"204", b"304", b"205", b"404"]))
def test_what_goes_on_of_an_answer_is_read_alike_by_others(lines, status):
    head = b"HTTP/1.1 " + status + b" OK\r\n" + lines + b"\r\n\r\n"
    head = first(head)
    try:
        response, framing = read_response(head, GET)
    except HeadError:
        return
    written = write_response(response, closing=not framing.lasting)
    again = read_response(written, GET)
    assert again[0].headers.fields == response.headers.fields
    assert again[1].size == framing.size
    fields = [*response.headers.fields, *([] if framing.lasting else [(b"Connection", b"close")])]
    assert same(llhttp(httptools.HttpResponseParser, written).fields, fields)
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(written)
    event = client.next_event()
    assert same(event.headers, fields)
    assert framed(b"GET", event) == framing.size


def test_a_request_that_came_by_a_proxy_again_and_again_goes_in_a_circle():
    request = treq()
    for _ in range(3):
        assert not came_round(request, "here")
        add_via(request, "here")
        add_via(request, "there")
    assert came_round(request, "here")
    assert not came_round(request, "her")
    request.headers["via"] = "1.1 a (here), 1.1, ,2.0 here:1,1.1 here, 1.1 here"
    assert not came_round(request, "here")


def test_of_a_long_via_only_what_was_added_last_is_read():
    request = treq()
    request.headers["via"] = ",1.1 here" * 3 + "," * 60_000
    assert not came_round(request, "here")
    request.headers["via"] = "," * 60_000 + ",1.1 there,1.1 here" * 3
    assert came_round(request, "here")


@settings(max_examples=400, deadline=None)
@given(
    lines=lines_of(b"Host: a"), target=st.sampled_from([b"/", b"/\xc3\xa4", b"http://a/?#", b"*", b"/a%00"])
)
def test_what_goes_on_of_a_request_is_read_alike_by_others(lines, target):
    head = b"POST " + target + b" HTTP/1.1\r\n" + lines + b"\r\n\r\n"
    head = first(head)
    try:
        request, framing = read_request(head)
    except HeadError:
        return
    if "host" not in request.headers:
        request.headers["host"] = "a"
    request.authority = ""
    written = write_request(request)
    assert read_request(written)[1].size == framing.size
    read = llhttp(httptools.HttpRequestParser, written)
    assert same(read.fields, request.headers.fields)
    assert read.parser.get_method() == b"POST"
    server = h11.Connection(h11.SERVER)
    server.receive_data(written)
    event = server.next_event()
    assert event.target == request.data.path
    assert same(event.headers, request.headers.fields)
    assert framed(b"POST", event) == framing.size
