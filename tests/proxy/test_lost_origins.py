"""Connections to origins that are over: nothing is kept of them, and what failed once may be tried again."""

import asyncio
import contextlib
import gc
import socket
import threading
from typing import Self

from proxykit.http2 import Client, Origin, answer
from proxykit.loop import LoopThread
from proxykit.origin import Asked, send
from secondlook.proxy.mitm.layers import GatedHttpLayer
from serverkit.ports import free_port

REQUESTS = 12


def most_kept() -> int:
    layers = [each for each in gc.get_objects() if type(each) is GatedHttpLayer]
    return max(len(vars(each).get("connections", ())) for each in layers)  # none in one that is taken apart


async def ok(_: Asked, writer: asyncio.StreamWriter) -> None:
    await send(writer, b"ok", "Content-Type: text/plain")


def test_a_client_of_http2_leaves_no_connections_behind(proxy, make_origin):
    """Its requests go to an HTTP/1 origin each on a connection of its own: each kept took 80 KB."""
    origin = make_origin(ok, tls=True)
    with Client(proxy.port, origin.port, proxy.ca) as client:
        for _ in range(REQUESTS):
            assert client.get().body == b"ok"
        assert origin.connections == REQUESTS
        assert most_kept() < REQUESTS // 2


def test_the_end_of_one_connection_leaves_the_others(proxy, make_origin):
    go_on = threading.Event()

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.target == "/long":
            await send(writer, b"", "Content-Type: text/plain", "Content-Length: 4", length=False)
            await writer.drain()
            await asyncio.to_thread(go_on.wait)
            writer.write(b"long")
        else:
            await ok(asked, writer)

    origin = make_origin(reply, tls=True)
    with Client(proxy.port, origin.port, proxy.ca) as client:
        long = client.ask(client.head(path="/long"))
        for _ in range(3):
            assert client.get().body == b"ok"
        go_on.set()
        assert client.finish(long).body == b"long"


def test_an_origin_that_could_not_be_reached_is_tried_again(proxy, origin_certificate):
    port = free_port()
    with Client(proxy.port, port, proxy.ca) as client:
        for _ in range(REQUESTS):
            assert client.get().status == 502
        assert most_kept() < REQUESTS // 2
        with Origin(origin_certificate, answer, listen_on=port):
            assert client.get().body == b"ok"


def test_an_origin_that_failed_in_the_silence_of_its_client_is_tried_again(proxy, origin_certificate):
    """A client that is silent for long is connected on: what fails then was the end of all it asks later."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def fail() -> None:
            peer, _ = listener.accept()
            failing = threading.Thread(target=end, args=(peer,))
            failing.start()

        def end(peer: socket.socket) -> None:
            with peer:
                peer.recv(1)  # TLS begins

        client = Client(proxy.port, port, proxy.ca, meanwhile=fail)
    with client:
        assert client.get().status == 502
        with Origin(origin_certificate, answer, listen_on=port):
            assert client.get().body == b"ok"


class Far:
    """Another proxy, which joins tunnels."""

    def __init__(self) -> None:
        self._thread = LoopThread()
        self._server = self._thread.call(asyncio.start_server(self._join, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        port = int(head.split()[1].rpartition(b":")[2])
        there, back = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(self._pass(reader, back), self._pass(there, writer))

    @staticmethod
    async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                writer.write(data)
        writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._thread.close()

    def end(self) -> None:
        """Take no more connections."""
        self._thread.call(self._close())

    async def _close(self) -> None:
        self._server.close()


def test_nothing_is_kept_of_connections_through_another_proxy(make_proxy, make_origin):
    """Each request has two there, of which one was kept."""
    origin = make_origin(ok, tls=True)
    with Far() as far:
        proxy = make_proxy(mode=f"upstream:http://127.0.0.1:{far.port}")
        with Client(proxy.port, origin.port, proxy.ca) as client:
            for _ in range(REQUESTS):
                assert client.get().body == b"ok"
            assert most_kept() < REQUESTS // 2


def test_nothing_is_kept_of_another_proxy_that_could_not_be_reached(make_proxy):
    with Far() as far:
        proxy = make_proxy(mode=f"upstream:http://127.0.0.1:{far.port}")
        far.end()
        with Client(proxy.port, 1, proxy.ca) as client:
            for _ in range(REQUESTS):
                assert client.get().status == 502
            assert most_kept() < REQUESTS // 2
