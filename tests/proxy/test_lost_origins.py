"""Connections to origins that are over: nothing is kept of them, and what failed once may be tried again."""

import gc
import socket

from proxykit.http2 import Client, Origin, answer
from proxykit.origin import Asked
from secondlook.proxy.mitm.layers import GatedHttpLayer

REQUESTS = 12


def most_kept() -> int:
    return max(
        len(each.connections) for each in gc.get_objects() if type(each) is GatedHttpLayer and each.streams
    )


def test_a_client_of_http2_leaves_no_connections_behind(proxy, make_origin):
    """Its requests go to an HTTP/1 origin each on a connection of its own: each kept took 80 KB."""

    async def reply(_: Asked, writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()

    origin = make_origin(reply, tls=True)
    with Client(proxy.port, origin.port, proxy.ca) as client:
        for _ in range(REQUESTS):
            assert client.get().body == b"ok"
        assert origin.connections == REQUESTS
        assert most_kept() < REQUESTS // 2


def test_an_origin_that_could_not_be_reached_is_tried_again(proxy, origin_certificate):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Client(proxy.port, port, proxy.ca) as client:
        assert client.get().status == 502
        with Origin(origin_certificate, answer, listen_on=port):
            assert client.get().body == b"ok"
