"""Listening sockets: opened once, errors that say what to do."""

import socket

import pytest

from secondlook.run.supervisor.listening import CannotListenError, address_of, inherited, listen, visited


def test_listens_and_tells_its_address():
    with listen("127.0.0.1", 0, setting="listen") as sock:
        host, port = address_of(sock).rsplit(":", 1)
        socket.create_connection((host, int(port)), 5).close()


def test_ipv6_address_stands_in_brackets():
    try:
        sock = listen("::1", 0, setting="listen")
    except CannotListenError:
        pytest.skip("no IPv6 here")
    with sock:
        assert address_of(sock).startswith("[::1]:")


def test_what_listens_everywhere_is_visited_on_loopback():
    assert visited("0.0.0.0:8081") == "127.0.0.1:8081"
    assert visited("[::]:8081") == "[::1]:8081"
    assert visited("192.0.2.1:8081") == "192.0.2.1:8081"


def test_taken_port_names_setting_and_option():
    with listen("127.0.0.1", 0, setting="listen") as sock:
        port = sock.getsockname()[1]
        with pytest.raises(
            CannotListenError, match=rf"127\.0\.0\.1:{port}: another program .* --listen or `listen`"
        ):
            listen("127.0.0.1", port, setting="listen", option="--listen")


def test_address_of_another_machine():
    with pytest.raises(CannotListenError, match="this machine does not have that address"):
        listen("192.0.2.77", 0, setting="listen")


def test_a_child_takes_the_socket_over():
    with listen("127.0.0.1", 0, setting="listen") as sock:
        copy = inherited(socket.dup(sock.fileno()))
        with copy:
            assert address_of(copy) == address_of(sock)


def test_a_port_can_be_kept_for_who_listens_there():
    with listen("127.0.0.1", 0, setting="listen", accepts=False) as kept:
        host, port = kept.getsockname()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, port), 5)
        with listen(host, port, setting="listen"):
            socket.create_connection((host, port), 5).close()
