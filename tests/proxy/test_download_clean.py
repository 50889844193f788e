"""Clean files arrive byte for byte with every header, whichever HTTP either side speaks. 10 s.

What the proxy gives is compared with what the origin gives to the same client without it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from proxykit.client import Answer, fetch
from proxykit.nginx import Nginx, nginx
from proxykit.samples import KIB, MIB, SIXTEENTH, program, prose

SIZES = [0, 1, *(at + by for at in (64 * KIB, 256 * KIB) for by in (-1, 0, 1))]
LARGE = [MIB - 1, MIB, MIB + 1]  # about the size up to which they are held
HEADERS = r"""
add_header Set-Cookie "a=1; Path=/"; add_header Set-Cookie b=2; add_header Content-Disposition inline;
add_header Content-Security-Policy "default-src 'self'; img-src *"; add_header Cache-Control "max-age=60, public";
add_header Vary Accept; add_header X-oDD "one,  two;	three"; add_header X-Long "{}";
""".format("x" * 3000)
OF_ONE_CONNECTION = {"connection", "keep-alive"}
HOP_BY_HOP = {*OF_ONE_CONNECTION, "transfer-encoding"}


@dataclass(frozen=True, slots=True)
class Road:
    """What the client offers and which of the origin's ports it asks; what either side then speaks."""

    alpn: tuple[str, ...]
    port: str
    client: str
    origin: str


ROADS = [
    Road((), "plain", "HTTP/1.1", "HTTP/1.1"),
    Road(("http/1.1",), "tls", "HTTP/1.1", "HTTP/1.1"),
    Road(("h2", "http/1.1"), "tls", "HTTP/2.0", "HTTP/1.1"),
    Road(("http/1.1", "h2"), "http2", "HTTP/1.1", "HTTP/2.0"),
    Road(("h2", "http/1.1"), "http2", "HTTP/2.0", "HTTP/2.0"),
]


@pytest.fixture
def proxy(make_proxy):
    return make_proxy(downloads=SIXTEENTH)


@pytest.fixture
def origin(tmp_path, origin_certificate) -> Iterator[Nginx]:
    with nginx(tmp_path / "nginx", origin_certificate, origin_certificate, HEADERS) as found:
        yield found


def _headers(answer: Answer, road: Road) -> list[tuple[str, str]]:
    """Every header in its order, but those of one connection; between two versions the case of names differs."""
    told = [(name, "" if name.lower() == "date" else value) for name, value in answer.headers]
    told = [(name, value) for name, value in told if name.lower() not in OF_ONE_CONNECTION]
    if road.client == road.origin:
        return told
    return [(name.lower(), value) for name, value in told if name.lower() not in HOP_BY_HOP]


def _compare(proxy, origin: Nginx, road: Road, path: str, body: bytes) -> None:
    port = getattr(origin, road.port)
    itself = {"HTTP/1.1": ("http/1.1",), "HTTP/2.0": ("h2",)}[road.origin] if road.alpn else ()
    straight = fetch(port, path, alpn=itself, proxy=None, ca=None)
    through = fetch(port, path, alpn=road.alpn, proxy=proxy.port, ca=proxy.ca)
    where = (path, len(body), road)
    assert (straight.protocol, through.protocol) == (road.origin, road.client), where
    assert straight.body == body
    assert through.body == body, where
    assert through.status == straight.status == 200
    assert _headers(through, road) == _headers(straight, road), where
    assert ("X-Protocol".lower(), road.origin) in [(name.lower(), value) for name, value in through.headers]
    if (road.client, road.origin) == ("HTTP/2.0", "HTTP/2.0"):
        assert through.trailers == straight.trailers == [("x-end", "whole")], where


@pytest.mark.parametrize("road", ROADS, ids=lambda road: f"{road.client} from {road.origin} {road.port}")
def test_clean_files_arrive_with_every_header(proxy, origin, road):
    for kind, make in (("exe", program), ("mp4", prose)):
        for size in SIZES:
            body = make(size)
            (origin.root / f"{size}.{kind}").write_bytes(body)
            _compare(proxy, origin, road, f"/{size}.{kind}", body)


@pytest.mark.parametrize("road", ROADS, ids=lambda road: f"{road.client} from {road.origin} {road.port}")
def test_clean_large_files_arrive_with_every_header(proxy, origin, road):
    for kind, make, sizes in (("exe", program, LARGE), ("mp4", prose, LARGE[:1])):
        for size in sizes:
            body = make(size)
            (origin.root / f"{size}.{kind}").write_bytes(body)
            _compare(proxy, origin, road, f"/{size}.{kind}", body)


def test_what_is_held_up_to_the_usual_limit_arrives_with_every_header(make_proxy, origin):
    proxy = make_proxy()
    for size in (16 * MIB, 16 * MIB + 1):
        body = program(size)
        (origin.root / f"{size}.exe").write_bytes(body)
        _compare(proxy, origin, ROADS[-1], f"/{size}.exe", body)
