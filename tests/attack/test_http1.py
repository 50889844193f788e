"""HTTP/1. What heads, chunks and lines a site or a client sends to take memory and time, or to be read twice."""

import contextlib
import socket
import time

import pytest

from attackkit.site import again
from attackkit.stand import at_once, body_of
from proxykit.samples import EICAR

OK = b"HTTP/1.1 200 OK\r\n"
MIB = 1 << 20
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
FLOWS = {
    "a head of 512 MB": (OK + b"X: ", b"a" * 65536),
    "header lines without end": (OK, b"X-Line: y\r\n" * 6000),
    "a status line without end": (b"HTTP/1.1 200 ", b"O" * 65536),
    "interim answers without end": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" * 1600),
    "trailers without end": (CHUNKED + b"1\r\na\r\n0\r\n", b"X-Line: y\r\n" * 6000),
    "a chunk extension without end": (CHUNKED + b"1;", b"a" * 65536),
    "a chunk size without end": (CHUNKED, b"0" * 65536),
    "empty lines before a head": (b"", b"\r\n" * 32768),
    "folded lines without end": (OK + b"X: a\r\n", b" b\r\n" * 16000),
}


@pytest.mark.parametrize("flow", FLOWS)
def test_answer_without_end(stand, flow):
    """An answer's head that does not end: its client is told, and no more than a few MB of it are taken."""
    begin, piece = FLOWS[flow]
    path = "/flow/" + flow.replace(" ", "-")
    stand.site.flow(path, lambda: again(begin, piece, 512 * MIB))
    before = stand.site.sent
    came = stand.get(path)
    assert len(came) < 2 * MIB
    assert stand.site.sent - before < 64 * MIB, "of 512 MB"


def test_dripped_heads(stand):
    """Fifty answers whose heads come a line at a time and do not end, for four seconds: others are served."""
    stand.site.flow("/drip", lambda: again(OK, b"X-A: b\r\n", 800, 0.04))
    at_once(*(lambda: stand.get("/drip") for _ in range(50)))


def _ends(stand, begin: bytes, piece: bytes) -> bool:
    """Send a request without end for six seconds; whether the proxy ended the connection."""
    with stand.line() as line:
        line.settimeout(3)
        end = time.monotonic() + 6
        try:
            line.sendall(begin.replace(b"SITE", stand.site.url("").encode()))
            while time.monotonic() < end:
                line.sendall(piece)
        except ConnectionError:
            return True
    return False


REQUESTS = {
    "a request line": (b"GET SITE/", b"a" * 65536),
    "a header": (b"GET SITE/ HTTP/1.1\r\nX: ", b"a" * 65536),
    "header lines": (b"GET SITE/ HTTP/1.1\r\n", b"X-Line: y\r\n" * 6000),
    "trailers": (
        b"POST SITE/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n",
        b"X: y\r\n" * 9000,
    ),
    "a chunk extension": (
        b"POST SITE/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;",
        b"a" * 65536,
    ),
    "empty lines": (b"", b"\r\n" * 32768),
    "CONNECT": (b"CONNECT ", b"a" * 65536),
}


@pytest.mark.parametrize("what", REQUESTS)
def test_request_without_end(stand, what):
    """A client's request that does not end: its connection is ended, nothing of it is kept."""
    assert _ends(stand, *REQUESTS[what])


def test_slow_clients(stand):
    """Four hundred clients that say a head a byte at a time, and two hundred a body: others are served."""
    head = f"GET {stand.site.url('/')} HTTP/1.1\r\nHost: x\r\n".encode()
    body = f"POST {stand.site.url('/')} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        slow = [(stack.enter_context(stand.line()), head) for _ in range(400)]
        lines = [*slow, *((stack.enter_context(stand.line()), body + bytes(900)) for _ in range(200))]
        for line, data in lines[400:]:
            line.sendall(data[: len(body)])
        for step in range(20):
            for line, data in lines:
                at = step if data is head else len(body) + step
                with contextlib.suppress(OSError):
                    line.sendall(data[at : at + 1])
            time.sleep(0.05)


def test_pipelined(stand):
    """Ten thousand requests in one go on a connection, whose answers nobody reads: others are served."""
    request = f"GET {stand.site.url('/p')} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with stand.line() as line:
        line.settimeout(4)
        with contextlib.suppress(OSError):
            line.sendall(request * 10_000)
        time.sleep(2)


SMUGGLED = {
    "length and coding": "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a coding with a tab before it": "Transfer-Encoding:\t\x0bchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "a space before the colon": "Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": "Content-Length: 0\r\nContent-Length: 44\r\n\r\n",
    "a length with a sign": "Content-Length: +0\r\n\r\n",
    "a length in hexadecimal": "Content-Length: 0x2c\r\n\r\n",
    "a list of lengths": "Content-Length: 0, 44\r\n\r\n",
    "a folded coding": "Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two codings": "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "a line feed alone": "X: a\nContent-Length: 44\r\n\r\n",
    "a carriage return alone": "X: a\rContent-Length: 44\r\n\r\n",
    "a zero byte": "X: a\0b\r\nContent-Length\0: 44\r\n\r\n",
    "a size with an underscore": "Transfer-Encoding: chunked\r\n\r\n0_0\r\n\r\n",
    "a size of 2^64": "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n",
    "a size with a sign": "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    "chunks ended by line feeds": "Transfer-Encoding: chunked\r\n\r\n1\na\n0\n\n",
}


def test_smuggled(stand):
    """Requests whose end two readers take for different ones: the site never gets what was not checked."""
    for name, rest in SMUGGLED.items():
        url = stand.site.url(f"/smuggle-{name.replace(' ', '-')}")
        hidden = f"GET /hidden-{name.replace(' ', '-')} HTTP/1.1\r\nHost: x\r\n\r\n"
        stand.say(f"POST {url} HTTP/1.1\r\nHost: x\r\n{rest}{hidden}".encode("latin-1"), patience_s=0.3)
    assert not [asked for asked in stand.site.asked if "/hidden-" in asked.target]


def test_answer_for_the_next(stand):
    """A site that sends two answers for one request: the second is not taken for that of the next client."""
    planted = OK + b"Content-Type: text/html\r\nContent-Length: 7\r\n\r\nplanted"

    async def keep(_, writer) -> None:
        writer.write(OK + b"Content-Length: 2\r\n\r\nok" + planted * 3)

    stand.site.replies["/two"] = keep
    for _ in range(5):
        assert b"planted" not in stand.get("/two")
        assert b"planted" not in stand.get("/innocent")


def test_listed_behind_101(stand):
    """A 101 that nobody asked for, and a listed file behind it: it does not arrive."""
    switching = b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    answer = OK + b"Content-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % len(EICAR) + EICAR
    stand.site.flow("/101", lambda: again(switching, answer, len(answer)))
    assert EICAR not in stand.get("/101")


def test_old_answers(stand):
    """A listed file as HTTP/0.9, behind an odd status, or cut by a length that lies: it does not arrive whole."""
    answers = {
        "bare": EICAR,
        "odd": b"HTTP/1.1 999\r\n\r\n" + EICAR,
        "old": b"HTTP/0.9 200 OK\r\n\r\n" + EICAR,
        "icy": b"ICY 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n" + EICAR,
        "long": OK + b"Content-Length: 1000000\r\n\r\n" + EICAR,
        "304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 68\r\n\r\n" + EICAR,
        "100": b"HTTP/1.1 100 Continue\r\nContent-Length: 68\r\n\r\n" + EICAR,
        "199": b"HTTP/1.1 199 Odd\r\nContent-Length: 68\r\n\r\n" + EICAR,
    }
    for name, answer in answers.items():
        stand.site.flow(f"/old/{name}", lambda answer=answer: again(answer, b"-", 0))
        assert EICAR not in stand.get(f"/old/{name}"), name


URLS = {
    "a path escaped again and again": "/" + "%25" * 40_000 + "41",
    "folders up and down": "/" + "a/../" * 25_000,
    "slashes": "/" * 120_000,
    "parameters": "/?" + "a=b&" * 30_000,
    "dots": "/" + "./" * 60_000,
    "raw bytes": "/" + "\xff" * 60_000,
}


@pytest.mark.parametrize("url", URLS)
def test_long_urls(stand, url):
    """Twenty addresses of 120 kB: others are served."""
    request = f"GET {stand.site.url(URLS[url])} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode(
        "latin-1"
    )
    at_once(*(lambda: stand.say(request) for _ in range(20)))


HOSTS = {
    "labels": "a." * 60_000 + "test",
    "one label": "a" * 120_000,
    "letters beyond ASCII": "\xe4\xf6" * 30_000 + ".test",
    "Punycode": "xn--" + "a" * 60_000 + "-9999999.test",
    "digits": "1" * 120_000,
    "an IPv6 address": "[" + "1:" * 60_000 + "]",
    "dots": "." * 120_000,
}


@pytest.mark.parametrize("host", HOSTS)
def test_long_hosts(stand, host):
    """Twenty host names of 120 kB, as targets and in CONNECT: others are served."""
    name = HOSTS[host]
    plain = f"GET http://{name}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    tunnel = f"CONNECT {name}:443 HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    at_once(*(lambda data=data: stand.say(data, patience_s=3) for data in (plain, tunnel) * 10))


def test_through_itself(stand):
    """Requests to the proxy's own port, and tunnels within tunnels: it does not ask itself without end."""
    own = f"127.0.0.1:{stand.port}"
    stand.say(
        f"GET http://{own}/ HTTP/1.1\r\nHost: {own}\r\nConnection: close\r\n\r\n".encode(), patience_s=3
    )
    connect = f"CONNECT {own} HTTP/1.1\r\nHost: {own}\r\n\r\n".encode()
    with stand.line() as line:
        line.settimeout(1)
        with contextlib.suppress(OSError):
            for _ in range(30):
                line.sendall(connect)
                if b" 200 " not in line.recv(2000):
                    break


def test_closing_clients(stand):
    """A thousand clients that reset their connection once they have asked: others are served."""
    request = f"GET {stand.site.url('/')} HTTP/1.1\r\nHost: x\r\n\r\n".encode()

    def some() -> None:
        for _ in range(125):
            with stand.line() as line:
                line.sendall(request)
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    at_once(*([some] * 8))
    assert body_of(stand.get("/")) == b"ok"
