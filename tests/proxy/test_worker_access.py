"""Closed doors: who may use the proxy, and what nobody reaches through it."""

import asyncio
import socket
import subprocess

import pytest

from proxykit.origin import Asked, send
from secondlook.proxy.access.access import OWN


async def hello(asked: Asked, writer: asyncio.StreamWriter) -> None:
    await send(writer, b"hello")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "[::ffff:127.0.0.1]", "localhost", "0x7f.1"])
def test_our_own_pages_through_the_proxy(proxy, make_origin, curl, host):
    review = make_origin(hello)
    proxy.own_ports.add(review.port)
    done = curl(
        proxy, "-i", "--request-target", f"http://{host}:{review.port}/", f"http://127.0.0.1:{review.port}/"
    )
    assert done.stdout.startswith(b"HTTP/1.1 403"), done.stdout
    assert b"stage=access" in done.stdout
    assert review.connections == 0


@pytest.fixture
def rebind(monkeypatch):
    """Let a name that is a stranger's lead to this machine."""
    real = socket.getaddrinfo

    def resolve(host, *arguments, **how):
        return real("127.0.0.1" if host == "rebind.test" else host, *arguments, **how)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def refused(gatekeeper):
    return [
        (context.url, context.method, decision.reason)
        for how, _, context, decision in gatekeeper.seen
        if how == "refuse"
    ]


@pytest.mark.parametrize("body", [(), ("-d", "x=1")])
def test_a_name_that_leads_to_our_own_pages_is_refused_as_they_are(
    proxy, gatekeeper, make_origin, curl, rebind, body
):
    review = make_origin(hello)
    proxy.own_ports.add(review.port)
    url = f"http://rebind.test:{review.port}/x"
    done = curl(proxy, "-i", *body, url, url)
    assert done.stdout.count(b"HTTP/1.1 403") == 2, done
    assert done.stdout.count(b"stage=access") == 2
    assert b"application/problem+json" in done.stdout
    assert refused(gatekeeper) == [(url, "POST" if body else "GET", OWN)] * 2
    assert review.connections == 0


def test_a_name_that_leads_to_the_proxy_itself_is_refused(proxy, gatekeeper, curl, rebind):
    done = curl(proxy, "-i", f"http://rebind.test:{proxy.port}/healthz")
    assert done.stdout.startswith(b"HTTP/1.1 403"), done
    assert b"stage=access" in done.stdout
    assert [reason for *_, reason in refused(gatekeeper)] == [OWN]


def test_a_name_that_leads_to_our_own_pages_through_a_tunnel(proxy, gatekeeper, make_origin, curl, rebind):
    review = make_origin(hello, tls=True)
    proxy.own_ports.add(review.port)
    plain = curl(proxy, "-i", "-p", f"http://rebind.test:{review.port}/")
    assert b"stage=access" in plain.stdout, plain
    for protocol in ("--http1.1", "--http2"):
        done = curl(proxy, "-i", protocol, f"https://rebind.test:{review.port}/")
        assert b"stage=access" in done.stdout, done
    upgrade = ("-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H", "Sec-WebSocket-Version: 13")
    socket_ = curl(
        proxy, "-i", *upgrade, "-H", "Sec-WebSocket-Key: eA==", f"http://rebind.test:{review.port}/"
    )
    assert b"stage=access" in socket_.stdout, socket_
    assert len(refused(gatekeeper)) == 4
    assert review.connections == 0


def test_a_name_that_leads_to_our_own_pages_through_socks(make_proxy, gatekeeper, make_origin, rebind):
    proxy, review = make_proxy(mode="socks5"), make_origin(hello)
    proxy.own_ports.add(review.port)
    socks = ["-m", "10", "--socks5-hostname", f"127.0.0.1:{proxy.port}", f"http://rebind.test:{review.port}/"]
    done = subprocess.run(["curl", "-sSi", *socks], capture_output=True, check=False)
    assert b"stage=access" in done.stdout, done
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as raw:  # no HTTP, no TLS
        raw.sendall(b"\5\1\0")
        assert raw.recv(2) == b"\5\0"
        name = b"rebind.test"
        raw.sendall(b"\5\1\0\3" + bytes([len(name)]) + name + review.port.to_bytes(2))
        assert raw.recv(10)[:2] == b"\5\0"
        raw.sendall(b"\0\1\2\3 no protocol that anybody knows\r\n")
        assert raw.recv(10) == b""
    assert [reason for *_, reason in refused(gatekeeper)] == [OWN, OWN]
    assert review.connections == 0


def test_a_refused_tunnel_to_an_ipv6_address_is_told_in_brackets(proxy, gatekeeper, curl):
    proxy.own_ports.add(9)
    assert curl(proxy, "-g", "https://[::1]:9/").returncode != 0
    assert refused(gatekeeper) == [("https://[::1]:9/", "CONNECT", OWN)]


def test_our_own_pages_through_a_tunnel(proxy, make_origin, curl):
    review = make_origin(hello)
    proxy.own_ports.add(review.port)
    done = curl(proxy, "-p", f"http://127.0.0.1:{review.port}/")
    assert done.returncode == 56
    assert review.connections == 0
