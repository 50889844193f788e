"""Every mode of mitmproxy that listens on a TCP socket serves an inherited one, and checks."""

import asyncio
import socket
import ssl
import subprocess

import pytest

from proxykit.origin import Asked, send
from proxykit.proxy import RunningProxy


async def hello(asked: Asked, writer: asyncio.StreamWriter) -> None:
    await send(writer, b"hello " + asked.target.encode())


@pytest.fixture
def origin(make_origin):
    return make_origin(hello)


@pytest.fixture
def tls_origin(make_origin):
    return make_origin(hello, tls=True)


def _curl(proxy: RunningProxy, *arguments: str) -> bytes:
    command = ["curl", "-sS", "-i", "-m", "20", "--cacert", str(proxy.ca), *arguments]
    return subprocess.run(command, capture_output=True, check=False).stdout


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_socks5(make_proxy, gatekeeper, origin, tls_origin, scheme):
    proxy = make_proxy(mode="socks5")
    gatekeeper.bad.add("127.0.0.1/bad")
    target = origin if scheme == "http" else tls_origin
    url = f"{scheme}://127.0.0.1:{target.port}"
    through = ("--socks5-hostname", f"127.0.0.1:{proxy.port}")
    assert b" 403" in _curl(proxy, *through, f"{url}/bad").splitlines()[0]
    assert target.connections == 0
    assert _curl(proxy, *through, f"{url}/good").endswith(b"hello /good")


@pytest.mark.parametrize("tls", [False, True])
def test_reverse(make_proxy, gatekeeper, origin, tls_origin, tls):
    target = tls_origin if tls else origin
    proxy = make_proxy(mode=f"reverse:http{'s' if tls else ''}://127.0.0.1:{target.port}")
    gatekeeper.bad.add("127.0.0.1/bad")
    assert b" 403" in _curl(proxy, f"{proxy.url}/bad").splitlines()[0]
    assert target.connections == 0
    assert _curl(proxy, f"{proxy.url}/good").endswith(b"hello /good")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_upstream(make_proxy, gatekeeper, origin, tls_origin, scheme):
    far = make_proxy()
    near = make_proxy(mode=f"upstream:{far.url}")
    gatekeeper.bad.add("127.0.0.1/bad")
    target = origin if scheme == "http" else tls_origin
    url = f"{scheme}://127.0.0.1:{target.port}"
    assert (
        b" 403" in _curl(near, "-k", "-x", near.url, f"{url}/bad").splitlines()[-1] or target.connections == 0
    )
    assert _curl(near, "-x", near.url, f"{url}/good").endswith(b"hello /good")
    asked = {subject.canonical for _, subject, *_ in gatekeeper.seen if subject.kind == "url"}
    assert any("/good" in one for one in asked)


@pytest.mark.parametrize("host", ["[2001:db8::1]", "[2001:db8::1]:8443", "192.0.2.1"])
def test_upstream_writes_addresses_as_an_authority(make_proxy, gatekeeper, host):
    """RFC 3986, 3.2.2: an IPv6 address stands in brackets, before its port and in every URL that we log."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        near = make_proxy(mode=f"upstream:http://127.0.0.1:{listening.getsockname()[1]}")
        asking = subprocess.Popen(
            ["curl", "-sgk", "-m", "20", "-x", near.url, f"https://{host}/"], stdout=subprocess.DEVNULL
        )
        peer, _ = listening.accept()
        with peer:
            authority = host if host.endswith("8443") else f"{host}:443"
            line, *headers = peer.recv(4096).decode().split("\r\n")
            assert line == f"CONNECT {authority} HTTP/1.1"
            assert all(header == f"Host: {authority}" for header in headers if header.startswith("Host"))
        asking.wait()
    assert {context.url for _, _, context, _ in gatekeeper.seen} == {f"https://{host}/"}


def test_a_raw_connection_through_a_tunnel_is_checked_by_its_host(proxy, gatekeeper):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        listening.settimeout(1.0)
        gatekeeper.bad.add("127.0.0.1/")
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            client.sendall(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            assert b"200" in client.recv(1000)
            client.sendall(b"\x00\x01\x02\x03 nothing that is http\r\n")
            client.settimeout(60)
            assert client.recv(1000) == b""
        with pytest.raises(TimeoutError):
            listening.accept()


def test_a_raw_connection_to_a_clean_host_passes(proxy):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            client.sendall(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            assert b"200" in client.recv(1000)
            client.sendall(b"\x00\x01\x02\x03 nothing that is http\r\n")
            peer, _ = listening.accept()
            with peer:
                assert peer.recv(100).startswith(b"\x00\x01\x02\x03")
                peer.sendall(b"fine")
                assert client.recv(10) == b"fine"


@pytest.mark.parametrize("listed", [False, True])
def test_passed_through_tls_is_checked_by_name(make_proxy, gatekeeper, tls_origin, listed):
    proxy = make_proxy(passthrough=["pinned.test", "127.0.0.1"])
    if listed:
        gatekeeper.bad.add("pinned.test/")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as client:
        client.sendall(f"CONNECT 127.0.0.1:{tls_origin.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        client.recv(1000)
        if listed:
            with pytest.raises((ssl.SSLError, OSError)):
                context.wrap_socket(client, server_hostname="pinned.test")
            assert tls_origin.connections == 0
            return
        with context.wrap_socket(client, server_hostname="pinned.test") as tls:
            certificate = tls.getpeercert(binary_form=True)
            tls.sendall(b"GET /pinned HTTP/1.1\r\nHost: pinned.test\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: tls.recv(4096), b""))
    assert answer.endswith(b"hello /pinned")
    assert b"origin" in certificate  # the origin's own certificate, not ours


def test_wireguard_listens_where_it_is_told_and_says_what_its_clients_need(make_proxy):
    proxy = make_proxy(mode="wireguard")
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second,
        pytest.raises(OSError, match="in use"),
    ):
        second.bind(("127.0.0.1", proxy.port))
    told = proxy.settings.state / "ca" / "wireguard-client.conf"
    assert f"Endpoint = 127.0.0.1:{proxy.port}\n" in told.read_text()
    assert told.stat().st_mode & 0o777 == 0o600
