"""Taking clients in: as sockets until they speak, in spite of a want of descriptors, and to the end of a drain."""

import asyncio
import errno
import logging
import socket
from types import SimpleNamespace

import pytest
from mitmproxy import platform

from proxykit.origin import send
from secondlook.proxy.mitm.transport import listener
from secondlook.proxy.mitm.transport.connection_limits import Crowd
from secondlook.proxy.mitm.transport.listener import Listener


class Exhausted:
    """A listening socket whose process has no descriptors left, some times."""

    def __init__(self, sock, times):
        self.sock, self.times = sock, times

    def fileno(self):
        return self.sock.fileno()

    def accept(self):
        if self.times:
            self.times -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self.sock.accept()


@pytest.mark.parametrize("times", [1, 3])
def test_want_of_descriptors_is_waited_for_quietly(make_proxy, make_origin, curl, caplog, times):
    async def reply(_request, writer):
        await send(writer, b"hello")

    proxy, origin = make_proxy(), make_origin(reply)
    taking = proxy.worker.listener

    async def exhaust():
        [sock] = taking._sockets
        asyncio.get_running_loop().remove_reader(sock)
        taking._listen(Exhausted(sock, times))

    proxy.call(exhaust())
    assert curl(proxy, f"http://127.0.0.1:{origin.port}/").stdout == b"hello"
    reported = [record.getMessage() for record in caplog.records if "cannot take in" in record.getMessage()]
    assert len(reported) == 1


def test_silent_clients_are_no_more_than_a_socket_until_they_speak(make_proxy, make_origin, curl):
    proxy, origin = make_proxy(), make_origin(lambda _request, writer: send(writer, b"hello"))
    url = f"http://127.0.0.1:{origin.port}/"
    lines = [socket.create_connection(("127.0.0.1", proxy.port), timeout=30) for _ in range(20)]
    assert curl(proxy, url).stdout == b"hello"
    taking = proxy.worker.listener
    assert taking.open_connections >= 20
    assert len(taking._connections) <= 1
    lines[0].sendall(f"GET {url} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert lines[0].recv(20).startswith(b"HTTP/1.1 200")
    for line in lines:
        line.close()
    while taking.open_connections:
        assert curl(proxy, url).stdout == b"hello"


def test_silent_clients_are_not_waited_for_for_good(make_proxy, monkeypatch):
    monkeypatch.setattr("secondlook.proxy.mitm.transport.listener._SILENT_S", 0.05)
    proxy = make_proxy()
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as line:
        assert line.recv(1) == b""


def test_who_has_come_before_the_proxy_stops_may_still_speak(make_proxy, make_origin):
    proxy, origin = make_proxy(), make_origin(lambda _request, writer: send(writer, b"hello"))
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as line:
        while not proxy.worker.listener.open_connections:
            pass
        stopping = proxy._thread.submit(proxy.worker.listener.drain(30))
        line.sendall(
            f"GET http://127.0.0.1:{origin.port}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        )
        assert line.recv(20).startswith(b"HTTP/1.1 200")
    stopping.result(30)


def test_a_mode_without_a_listening_tcp_socket_is_refused():
    with pytest.raises(ValueError, match="mode wireguard does not listen on a TCP socket"):
        Listener(SimpleNamespace(proxyserver=None), "wireguard", (), Crowd(1, 1))  # type: ignore[arg-type]


HERE, THERE = ("192.0.2.1", 8080), ("198.51.100.7", 443)


@pytest.mark.parametrize(
    ("went", "destination", "logged"),
    [
        (THERE, THERE, ""),
        (HERE, None, "a client asked the transparent proxy itself"),
        (OSError(2, "No such file or directory"), None, "it is not known where a redirected connection"),
    ],
)
def test_where_a_redirected_connection_was_going(monkeypatch, caplog, went, destination, logged):
    def original(_socket):
        if isinstance(went, OSError):
            raise went
        return went

    monkeypatch.setattr(platform, "original_addr", original)
    writer = SimpleNamespace(get_extra_info={"socket": None, "sockname": HERE}.get)
    with caplog.at_level(logging.WARNING):
        assert listener._destination(writer) == destination  # type: ignore[arg-type]
    assert caplog.text.count("WARNING") == bool(logged)
    assert logged in caplog.text
