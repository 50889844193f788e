"""Listening sockets: open, kept without being open, refused."""

import errno
import socket

import pytest

from secondlook.ground.tcp import SILENT_S, listen_on


def test_any_free_port_is_listened_on():
    with listen_on("127.0.0.1", 0) as sock:
        socket.create_connection(sock.getsockname(), 5).close()


def test_who_is_connected_is_asked_whether_it_is_still_there():
    with (
        listen_on("127.0.0.1", 0) as sock,
        socket.create_connection(sock.getsockname(), 5),
        sock.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == SILENT_S


def test_a_name_stands_for_its_address():
    with listen_on("localhost", 0) as sock:
        socket.create_connection(sock.getsockname()[:2], 5).close()


def test_ipv6_leaves_the_port_of_ipv4_free():
    try:
        sock = listen_on("::", 0)
    except OSError:
        pytest.skip("no IPv6 here")
    with sock, listen_on("127.0.0.1", sock.getsockname()[1]):
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def test_a_port_that_is_only_kept_accepts_nobody():
    with listen_on("127.0.0.1", 0, accepts=False) as kept:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(kept.getsockname(), 5)
        with listen_on(*kept.getsockname()) as sock:
            socket.create_connection(sock.getsockname(), 5).close()


def test_a_port_in_use_is_refused_and_nothing_stays_open():
    with listen_on("127.0.0.1", 0) as sock:
        with pytest.raises(OSError, match="in use") as caught:
            listen_on(*sock.getsockname())
        assert caught.value.errno == errno.EADDRINUSE
