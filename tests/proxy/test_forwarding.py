"""Behind a load balancer that speaks HTTP: each request is its client's, whatever its connection carries. 8 s."""

import asyncio
import base64
import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator
from http.client import HTTPResponse

import pytest
from mitmproxy.test.tflow import tclient_conn, tflow

from proxy.test_login import PASSWORD, USERS
from proxykit.origin import Asked, send
from secondlook.proxy.access import forwarding
from secondlook.proxy.access.access import Access

BALANCER, ANN, BEN = "127.0.0.1", "127.0.0.2", "127.0.0.3"  # origins are on this machine, so clients are too
STRANGER = "192.0.2.7"


async def hello(asked: Asked, writer: asyncio.StreamWriter) -> None:
    await send(writer, b"hello")


@pytest.fixture
def origin(make_origin):
    return make_origin(hello)


@pytest.fixture
def proxy(make_proxy):
    return make_proxy(clients={"balancers": [BALANCER], "networks": ["198.51.100.0/24"]})


@contextlib.contextmanager
def connected(proxy, source: str = BALANCER) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60, source_address=(source, 0)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sock


def ask(sock: socket.socket, url: str, *headers: str) -> HTTPResponse:
    """Send one request on a connection, and read what is answered."""
    host = url.split("/")[2] if "//" in url else "anything.example"
    lines = "".join(f"{header}\r\n" for header in headers)
    sock.sendall(f"GET {url} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n".encode("latin-1"))
    return answered(sock)


def answered(sock: socket.socket, method: str = "GET") -> HTTPResponse:
    response = HTTPResponse(sock, method=method)
    response.begin()
    if method != "CONNECT":
        response.read()
    return response


def clients(gatekeeper) -> list[str | None]:
    return [context.client for _, subject, context, _ in gatekeeper.seen if subject.kind == "url"]


def test_the_client_is_whom_the_balancer_names_and_no_origin_learns_of_it(proxy, origin, gatekeeper):
    url = f"http://127.0.0.1:{origin.port}/"
    said = [
        [f"X-Forwarded-For: 203.0.113.9, {ANN}"],
        ["x-forwarded-for: 203.0.113.9", f"x-forwarded-for: {ANN}"],
        [f"Forwarded: for=203.0.113.9, for={ANN};proto=http"],
        [f'Forwarded: for="{ANN}:4711"', f"X-Forwarded-For: {ANN}"],
    ]
    for headers in said:
        with connected(proxy) as sock:
            assert ask(sock, url, *headers, "X-Kept: yes").status == 200
    assert clients(gatekeeper) == [ANN] * len(said)
    for asked in origin.requests:
        assert asked.header("x-kept") == "yes"
        assert asked.header("forwarded") is None
        assert asked.header("x-forwarded-for") is None


def test_one_connection_carries_requests_of_many_clients(proxy, origin, gatekeeper):
    url = f"http://127.0.0.1:{origin.port}/"
    with connected(proxy) as sock:
        for client in (ANN, ANN, BEN, ANN):
            assert ask(sock, url, f"X-Forwarded-For: {client}").status == 200
        assert ask(sock, url, f"X-Forwarded-For: {STRANGER}").status == 403
        assert ask(sock, url, f"X-Forwarded-For: {BEN}").status == 200
    assert clients(gatekeeper) == [ANN, ANN, BEN, ANN, BEN]
    assert origin.connections == 4, "what was connected for one client serves no other"


def test_a_header_of_anybody_else_changes_nothing(proxy, origin, gatekeeper):
    with connected(proxy, source=BEN) as sock:
        headers = [f"X-Forwarded-For: {ANN}", f"Forwarded: for={ANN}"]
        assert ask(sock, f"http://127.0.0.1:{origin.port}/", *headers).status == 200
    assert clients(gatekeeper) == [BEN]
    (asked,) = origin.requests
    assert (asked.header("x-forwarded-for"), asked.header("forwarded")) == (ANN, f"for={ANN}"), "as sent"


def test_behind_the_proxy_protocol_it_counts_where_that_names_a_balancer(make_proxy, origin, gatekeeper):
    proxy = make_proxy(clients={"balancers": [BALANCER, "127.0.0.9"]})
    for named in ("127.0.0.9", BEN):
        with connected(proxy) as sock:
            sock.sendall(f"PROXY TCP4 {named} 127.0.0.1 4711 8080\r\n".encode())
            assert ask(sock, f"http://127.0.0.1:{origin.port}/", f"X-Forwarded-For: {ANN}").status == 200
    assert clients(gatekeeper) == [ANN, BEN]


@pytest.mark.parametrize("tls", [False, True])
def test_in_a_tunnel_the_header_of_its_connect_counts(proxy, make_origin, gatekeeper, tls):
    origin = make_origin(hello, tls=tls)
    with connected(proxy) as sock:
        target = f"127.0.0.1:{origin.port}"
        sock.sendall(
            f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nX-Forwarded-For: {ANN}\r\n\r\n".encode()
        )
        assert answered(sock, "CONNECT").status == 200
        tunnel = sock
        if tls:
            context = ssl.create_default_context(cafile=str(proxy.ca))
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            tunnel = context.wrap_socket(sock, server_hostname="127.0.0.1")
        for _ in range(2):
            assert ask(tunnel, "/", f"X-Forwarded-For: {BEN}", f"Forwarded: for={BEN}").status == 200
        tunnel.close()
    assert set(clients(gatekeeper)) == {ANN}
    assert [asked.header("x-forwarded-for") for asked in origin.requests] == [BEN, BEN]
    assert [asked.header("forwarded") for asked in origin.requests] == [f"for={BEN}"] * 2


NOBODY = [
    [],
    ["X-Forwarded-For: unknown"],
    [f"X-Forwarded-For: {BALANCER}"],
    ["Forwarded: for=_hidden"],
    [f'Forwarded: for=", for={ANN}'],
    [f"Forwarded: for={BEN}", f"X-Forwarded-For: {ANN}"],
]


@pytest.mark.parametrize("headers", NOBODY)
def test_a_request_that_names_nobody_opens_nothing(proxy, origin, gatekeeper, caplog, headers):
    with caplog.at_level(logging.WARNING, forwarding.__name__), connected(proxy) as sock:
        assert ask(sock, "/healthz").status == 200, "a health check names nobody"
        assert caplog.messages == []
        assert ask(sock, f"http://127.0.0.1:{origin.port}/", *headers).status == 403
        assert ask(sock, f"http://127.0.0.1:{origin.port}/", *headers).status == 403
        assert ask(sock, f"http://127.0.0.1:{origin.port}/", f"X-Forwarded-For: {ANN}").status == 200
    assert len(caplog.messages) == 1, "once a minute"
    assert "counts as its own" in caplog.text
    assert clients(gatekeeper) == [ANN]


@pytest.mark.parametrize("headers", NOBODY)
def test_where_the_balancer_may_use_the_proxy_it_counts_as_its_own(make_proxy, origin, gatekeeper, headers):
    proxy = make_proxy(clients={"balancers": [BALANCER], "networks": [BALANCER]})
    gatekeeper.bad = {"bad.test/"}
    with connected(proxy) as sock:
        assert ask(sock, "http://bad.test/", *headers).status == 403
        assert clients(gatekeeper) == [BALANCER]
        # a balancer on this machine is no client on it
        assert ask(sock, f"http://127.0.0.1:{origin.port}/", *headers).status == 403
        assert ask(sock, f"http://localhost:{origin.port}/", *headers).status == 403
    assert origin.connections == 0


def test_clients_that_the_networks_do_not_name_are_turned_away(proxy, gatekeeper):
    with connected(proxy) as sock:
        assert ask(sock, "http://bad.test/", f"X-Forwarded-For: {STRANGER}").status == 403
        target = "bad.test:443"
        sock.sendall(
            f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nX-Forwarded-For: {STRANGER}\r\n\r\n".encode()
        )
        assert answered(sock).status == 403
    assert gatekeeper.seen == []


def test_who_signed_in_is_signed_in_for_one_request(make_proxy, origin, gatekeeper):
    proxy = make_proxy(clients={"balancers": [BALANCER], "users": USERS})
    url, gatekeeper.bad = "http://bad.test/", {"bad.test/"}
    password = base64.b64encode(f"ann:{PASSWORD}".encode()).decode()
    signed = [f"X-Forwarded-For: {STRANGER}", f"Proxy-Authorization: Basic {password}"]
    with connected(proxy) as sock:
        assert ask(sock, url, *signed).status == 403
        assert ask(sock, url, f"X-Forwarded-For: {STRANGER}").status == 407
        assert ask(sock, url, f"X-Forwarded-For: {ANN}").status == 403
    seen = [(context.client, context.user) for _, _, context, _ in gatekeeper.seen]
    assert seen == [(STRANGER, "ann"), (ANN, None)]


def test_each_request_of_a_balancer_signs_in_anew():
    signed_out: list[object] = []
    addon = forwarding.Forwarding(Access([], tuple, balancers=[BALANCER]), lambda _: False, signed_out.append)
    flows = [tflow(client_conn=tclient_conn()) for _ in range(2)]
    for flow, address in zip(flows, (BALANCER, ANN), strict=True):
        flow.client_conn.peername = (address, 1)
        addon.client_connected(flow.client_conn)
        for _ in range(2):
            addon.requestheaders(flow)
    assert signed_out == [flows[0].client_conn] * 2  # the other connection is its client's own


def test_a_request_may_begin_letter_by_letter(proxy, gatekeeper):
    gatekeeper.bad = {"bad.test/"}
    for method in ("POST", "PROPFIND", "GET"):
        request = f"{method} http://bad.test/ HTTP/1.1\r\nHost: bad.test\r\nX-Forwarded-For: {ANN}\r\n"
        with connected(proxy) as sock:
            for letter in f"{request}Content-Length: 0\r\n\r\n":
                sock.sendall(letter.encode())
                proxy.call(asyncio.sleep(0))
            assert answered(sock).status == 403
    assert [context.method for _, _, context, _ in gatekeeper.seen] == ["POST", "PROPFIND", "GET"]
    assert clients(gatekeeper) == [ANN] * 3


def test_what_names_its_target_otherwise_has_to_use_the_proxy_protocol(make_proxy):
    proxy = make_proxy(mode="socks5", clients={"balancers": [BALANCER]})
    with connected(proxy) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(100) == b""
