"""What a request and a connection leave behind for the search for garbage: nothing."""

import gc
import socket
import ssl
from collections import Counter

import pytest
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import Layer

from e2e.processes import wait_for
from proxykit.origin import send
from secondlook.proxy.mitm.streams.gated_stream import GatedStream
from secondlook.proxy.mitm.transport.connection import Connection

REQUESTS = 3


@pytest.fixture
def uncollected():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def left(*kinds: type) -> Counter[str]:
    """Count what there is of these kinds, used or not."""
    return Counter(type(each).__name__ for each in gc.get_objects() if isinstance(each, kinds))


async def page(_asked, writer) -> None:
    await send(writer, b"page")


def ask(sock: socket.socket, target: str, host: str) -> None:
    sock.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    came = b""
    while not came.endswith(b"page"):
        piece = sock.recv(65_536)
        assert piece, came
        came += piece


def through_tunnel(proxy, sock: socket.socket, host: str) -> ssl.SSLSocket:
    sock.sendall(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert b" 200 " in sock.recv(1000)
    return ssl.create_default_context(cafile=proxy.ca).wrap_socket(sock, server_hostname="127.0.0.1")


@pytest.mark.parametrize("tls", [False, True])
def test_a_request_and_its_connection(proxy, make_origin, uncollected, tls):
    kinds = (Connection, Layer, Context)
    before, streams_before = left(*kinds), left(GatedStream)  # what other tests have left is not of this one
    origin = make_origin(page, tls=tls)
    host = f"127.0.0.1:{origin.port}"
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as raw:
        sock = through_tunnel(proxy, raw, host) if tls else raw
        for number in range(REQUESTS):
            ask(sock, f"/{number}" if tls else f"http://{host}/{number}", host)
        streams = 1 if tls else 0  # the tunnel's own
        wait_for(lambda: (left(GatedStream) - streams_before).total() == streams, "streams to go")
        sock.close()
    wait_for(lambda: not left(*kinds) - before, "the connection to leave nothing")
