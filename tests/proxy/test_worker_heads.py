"""Odd heads through a real worker: what its clients and origins see. About 3 s."""

import asyncio
import json
import socket

import pytest

from proxykit.origin import Asked, send

OK = "HTTP/1.1 200 OK\r\n"
ODD_ANSWERS = {
    "coding and length": f"{OK}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "identity": f"{OK}Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok",
    "space": f"{OK}X-Foo : bar\r\nContent-Length : 2\r\n\r\nok",
    "name": f"{OK}X Powered By: x\r\nContent-Length: 2\r\n\r\nok",
    "cookie": f"{OK}active=English; sess=UserId=1.2&Server: x\r\nContent-Length: 2\r\n\r\nok",
    "line": f"{OK}no colon\r\nContent-Length: 2\r\n\r\nok",
    "old and chunked": "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
}
NO_CONTENT = {
    "204 chunked": "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "204 length": "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
    "304 chunked": "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\nETag: x\r\n\r\n",
}


@pytest.fixture
def odd(make_origin):
    """Give a function that makes an origin which answers so, byte for byte, and stays."""

    def make(answer: str, *, tls: bool = False):
        async def reply(_asked: Asked, writer: asyncio.StreamWriter) -> None:
            writer.write(answer.encode("latin-1"))

        return make_origin(reply, tls=tls)

    return make


def talk(proxy, data: bytes, *, until: bytes = b"") -> bytes:
    """Say something to the proxy; what comes back until it closes, or until some bytes have come."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as client:
        client.sendall(data)
        came = b""
        while (piece := client.recv(1 << 16)) and not (until and until in came + piece):
            came += piece
        return came + piece


def test_odd_answers_arrive_by_either_version(proxy, odd, curl):
    for name, answer in ODD_ANSWERS.items():
        for tls, version in ((False, "--http1.1"), (True, "--http2")):
            origin = odd(answer, tls=tls)
            scheme = "https" if tls else "http"
            done = curl(proxy, version, "-w", "%{http_code}", f"{scheme}://127.0.0.1:{origin.port}/")
            assert done.stdout == b"ok200", (name, version, done)


def test_answers_without_content_end_at_their_headers(proxy, odd, curl):
    for name, answer in NO_CONTENT.items():
        for version in ("--http1.1", "--http2"):
            url = f"https://127.0.0.1:{odd(answer, tls=True).port}/"
            done = curl(proxy, version, "-w", "%{http_code}", url, url)
            assert (done.returncode, done.stdout) == (0, name[:3].encode() * 2), (name, version, done)


def test_what_belongs_to_one_connection_stays_on_it(proxy, make_origin, curl):
    async def reply(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        await send(
            writer, b"", "Connection: X-Hop", "X-Hop: 1", "Keep-Alive: timeout=5", "Upgrade: h2,h2c", "A: b"
        )

    origin = make_origin(reply)
    hop = [
        ("Connection", "keep-alive, X-Hop"),
        ("X-Hop", "1"),
        ("Keep-Alive", "timeout=5"),
        ("TE", "trailers"),
    ]
    sent = [part for name, value in hop for part in ("-H", f"{name}: {value}")]
    done = curl(proxy, "-i", *sent, "-H", "A: b", f"http://127.0.0.1:{origin.port}/t\u00e4st")
    (asked,) = origin.requests
    assert {name.lower() for name, _ in asked.headers} == {"host", "user-agent", "accept", "a"}
    assert asked.target == "/t%C3%A4st"
    told = {line.partition(b":")[0].lower() for line in done.stdout.split(b"\r\n")[1:-2]}
    assert told == {b"a", b"content-length"}


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET /a b HTTP/1.1\r\n", 400),
        (b"GET / HTTP/1.1\r\n", 400),
        (b"GET ftp://a.test/ HTTP/1.1\r\n", 400),
        (b"GET http://a.test/ HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400),
        (b"GET http://a.test/ HTTP/3.0\r\n", 505),
        (b"GET http://a.test/ HTTP/1.1\r\nX: " + b"a" * 1_000_000 + b"\r\n", 431),
        (b"GET http://a.test/ HTTP/1.1\r\n" + b"X: y\r\n" * 1100, 431),
    ],
)
@pytest.mark.parametrize("accept", ["text/html", "*/*"])
def test_a_request_that_cannot_be_read_is_told_why_in_our_words(proxy, request_head, status, accept):
    line, _, fields = request_head.partition(b"\r\n")
    host = b"" if status == 400 else b"Host: a.test\r\n"
    data = b"%s\r\n%sConnection: close\r\nAccept: %s\r\n%s\r\n" % (line, host, accept.encode(), fields)
    head, _, body = talk(proxy, data).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"mitmproxy" not in (head + body).lower()
    if accept == "text/html":
        assert b"cannot read this request" in body
        assert b"text/html" in head
    else:
        assert json.loads(body)["title"].startswith("The proxy cannot read this request: ")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (OK + "X: " + "a" * 300_000 + "\r\n\r\n", "its head is larger than 262144 bytes"),
        (OK + "A: b\r\n" * 1100 + "\r\n", "its head has more than 1000 lines"),
        ("HTTP/1.1 103 Early Hints\r\n\r\n" * 20_000 + f"{OK}\r\n", "its head has more than 1000 lines"),
        ("SSH-2.0-x\r\n\r\n", "its status line is not of HTTP/1"),
        (OK + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", "it has two lengths"),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "to a protocol that nobody asked for"),
    ],
)
def test_an_answer_that_cannot_be_read_is_told_why(proxy, odd, curl, answer, why):
    for scheme in ("http", "https"):
        origin = odd(answer, tls=scheme == "https")
        done = curl(proxy, "-w", "%{http_code}", f"{scheme}://127.0.0.1:{origin.port}/")
        document, status = done.stdout[:-3], done.stdout[-3:]
        assert status == b"502", done
        assert why in json.loads(document)["title"]


def test_interim_answers_arrive_by_either_version(proxy, odd, curl):
    hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nAlt-Svc: x\r\nX-Second-Look: no\r\n\r\n"
    for version in ("--http1.1", "--http2"):
        origin = odd(f"{hints}{OK}Content-Length: 2\r\n\r\nok", tls=True)
        done = curl(proxy, version, "-i", f"https://127.0.0.1:{origin.port}/")
        told = done.stdout.lower()
        assert b" 103" in told
        assert b"link: </a>" in told
        assert b"alt-svc" not in told
        assert b"x-second-look" not in told
        assert done.stdout.endswith(b"\r\nok")


def test_a_client_of_http_1_0_gets_no_interim_answer(proxy, odd):
    origin = odd(f"HTTP/1.1 103 Early Hints\r\n\r\n{OK}Content-Length: 2\r\n\r\nok")
    came = talk(proxy, f"GET http://127.0.0.1:{origin.port}/ HTTP/1.0\r\n\r\n".encode())
    assert came.startswith(b"HTTP/1.1 200 ")


def test_via_is_told_where_it_is_wanted(make_proxy, make_origin, curl):
    async def reply(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        await send(writer, b"", "Via: 1.0 before")

    origin = make_origin(reply, tls=True)
    for name in (None, "here"):
        proxy = make_proxy(via=name)
        done = curl(proxy, "-i", "--http2", f"https://127.0.0.1:{origin.port}/")
        assert (b"1.1 here" in done.stdout) == (name is not None)
        assert origin.requests[-1].header("via") == (None if name is None else "2.0 here")
    many = len(origin.requests)
    done = curl(
        proxy, "-i", "-H", "Via: 1.1 here, 1.1 b, 1.1 here, 2.0 here", f"https://127.0.0.1:{origin.port}/"
    )
    assert b"HTTP/2 403" in done.stdout
    assert b"came back to this proxy again and again" in done.stdout
    assert len(origin.requests) == many
