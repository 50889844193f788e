"""Behind a TCP load balancer: clients are who the PROXY protocol says, and only a balancer is believed. 6 s."""

import logging
import socket
import threading
import time

import pytest

from proxykit.gatekeeper import FakeGatekeeper
from proxykit.proxy import RunningProxy
from secondlook.proxy.mitm.transport import listener

HEADER = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 8080\r\n"
REQUEST = (
    b"GET http://secondlook.internal/ HTTP/1.1\r\nHost: secondlook.internal\r\nConnection: close\r\n\r\n"
)
BLOCKED = b"GET http://bad.test/ HTTP/1.1\r\nHost: bad.test\r\nConnection: close\r\n\r\n"


@pytest.fixture
def gatekeeper():
    return FakeGatekeeper()


@pytest.fixture
def proxy(tmp_path, gatekeeper):
    clients = {"balancers": ["127.0.0.1"], "networks": ["192.0.2.0/24"]}
    proxy = RunningProxy(
        tmp_path, gatekeeper, clients=clients, limits={"connections_per_address": 3, "connections": 40}
    )
    yield proxy
    proxy.close()


def say(proxy, *pieces: bytes, source: str = "127.0.0.1") -> bytes:
    """Connect from an address, send pieces one by one, and give all that comes back."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60, source_address=(source, 0)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            sock.sendall(piece)
            proxy.call(settled())
        answer = b""
        try:
            while part := sock.recv(65536):
                answer += part
        except ConnectionError:
            pass
        return answer


async def settled() -> None:
    """Let the loop take up what came."""


def test_the_client_is_who_the_balancer_says(proxy, gatekeeper):
    assert say(proxy, HEADER + REQUEST).startswith(b"HTTP/1.1 200")
    assert say(proxy, HEADER[:20], HEADER[20:], REQUEST).startswith(b"HTTP/1.1 200")
    assert say(proxy, *(bytes([each]) for each in HEADER), REQUEST).startswith(b"HTTP/1.1 200")
    say(proxy, HEADER + BLOCKED)
    assert [context.client for _, _, context, _ in gatekeeper.seen] == ["192.0.2.7"]


def test_a_client_that_the_networks_do_not_name_is_turned_away_behind_a_balancer_too(proxy, gatekeeper):
    assert say(proxy, HEADER.replace(b"192.0.2.7", b"203.0.113.9") + BLOCKED) == b""
    assert gatekeeper.seen == []


@pytest.mark.parametrize(
    "first", [b"PROXY TCP4 nonsense\r\n" + REQUEST, b"\x16\x03\x01\x02\x00\x01", b"\x05\x01\x00"]
)
def test_a_balancer_that_does_not_say_who_connects_is_closed(proxy, first):
    assert say(proxy, first) == b""


def test_nobody_else_is_believed(proxy, gatekeeper):
    assert say(proxy, REQUEST, source="127.0.0.2").startswith(b"HTTP/1.1 200")
    assert say(proxy, HEADER + BLOCKED, source="127.0.0.2").startswith(b"HTTP/1.1 400")
    assert gatekeeper.seen == []


def test_the_balancers_own_connection_counts_as_its_own(proxy):
    assert say(proxy, b"PROXY UNKNOWN\r\n" + REQUEST).startswith(b"HTTP/1.1 200")


def test_connections_are_counted_by_client_not_by_balancer(proxy):
    def hold(client: int) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", proxy.port), timeout=60)
        sock.sendall(
            HEADER.replace(b"192.0.2.7", b"192.0.2.%d" % client) + b"GET http://slow.test/ HTTP/1.1\r\n"
        )
        return sock

    held = [hold(client) for client in range(1, 9)]
    try:
        assert say(proxy, HEADER + REQUEST).startswith(b"HTTP/1.1 200"), "eight of others are no reason"
        until = time.monotonic() + 60
        while proxy.worker.listener.open_connections < len(held):
            assert time.monotonic() < until
    finally:
        for sock in held:
            sock.close()


async def _addresses(proxy):
    return proxy.worker.listener.addresses()


def test_a_header_that_is_on_its_way_at_a_drain_is_waited_for(proxy):
    address = ("127.0.0.1", proxy.port)
    with socket.create_connection(address, timeout=60) as owing:
        owing.sendall(HEADER[:20])
        taken_in(proxy, 1)
        draining = threading.Thread(target=lambda: proxy.call(proxy.worker.listener.drain(20.0)))
        draining.start()
        until = time.monotonic() + 60
        while proxy.call(_addresses(proxy)):
            assert time.monotonic() < until
        owing.sendall(HEADER[20:] + REQUEST)
        assert owing.recv(100).startswith(b"HTTP/1.1 200")
        draining.join(60)


def test_a_connection_without_its_header_does_not_outlive_the_beginning_of_a_drain(proxy):
    address = ("127.0.0.1", proxy.port)
    with socket.create_connection(address, timeout=60) as owing, socket.create_connection(address) as late:
        owing.sendall(HEADER[:20])
        taken_in(proxy, 2)
        late.sendall(HEADER + REQUEST)
        proxy.call(proxy.worker.listener.drain(5.0))
        assert owing.recv(100) == b"", "what follows is no request of the balancer's own"
        assert late.recv(100).startswith(b"HTTP/1.1 200")


def taken_in(proxy, number: int) -> None:
    until = time.monotonic() + 60
    while proxy.worker.listener.open_connections != number:
        assert time.monotonic() < until


def test_a_health_check_that_only_connects_is_nothing_to_report(proxy, caplog):
    with caplog.at_level(logging.WARNING, listener.__name__):
        for linger in (False, True):
            with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as sock:
                taken_in(proxy, 1)
                if linger:  # closed with a reset
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            taken_in(proxy, 0)
        assert caplog.messages == []
        say(proxy, HEADER[:20], b"\r\n")
    assert len(caplog.messages) == 1


def test_a_balancer_that_sends_nothing_is_reported(proxy, caplog, monkeypatch):
    monkeypatch.setattr(listener, "_HEADER_S", 0.05)
    with caplog.at_level(logging.WARNING, listener.__name__):
        assert say(proxy) == b""
    assert "sent neither a PROXY header nor a request" in caplog.text
    assert "clients.balancers" in caplog.text


@pytest.mark.parametrize("header", [HEADER, b""])
def test_who_is_connected_and_not_taken_in_at_a_drain_is_served(proxy, header):
    async def drain() -> None:
        sock.sendall(header + REQUEST)  # nobody is taken in before the drain begins
        await proxy.worker.listener.drain(20.0)

    sock = socket.socket()
    with sock:
        sock.settimeout(60)

        async def connect_and_drain() -> None:
            sock.connect(("127.0.0.1", proxy.port))
            await drain()

        proxy.call(connect_and_drain())
        assert sock.recv(100).startswith(b"HTTP/1.1 200")
