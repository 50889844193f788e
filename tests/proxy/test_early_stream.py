"""Answers that are whole before their requests are: they reach the client whole, and what follows harms nobody."""

import contextlib
import hashlib
import socket
import ssl
import threading
from typing import Self

import h2.events
import pytest

from proxykit.http2 import Client, Peer, reply

LENGTH = b"HTTP/1.1 413 Too Large\r\nContent-Type: text/plain\r\nContent-Length: 8\r\nConnection: close\r\n\r\ntoo much"
CHUNKS = (
    b"HTTP/1.1 413 Too Large\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    b"8\r\ntoo much\r\n0\r\n\r\n"
)
BARE = b"HTTP/1.1 413 Too Large\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\ntoo much"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: tcp\r\nConnection: upgrade\r\n\r\n"
TIMEOUT_S = 30
AGAIN = b""


class Hasty:
    """An origin of HTTP/1 that answers a head, and does something when it is let on."""

    def __init__(self, answer: bytes, then: bytes | None, certificate=None) -> None:
        """`then`: what it sends further; None: it ends; AGAIN: it waits for the next request."""
        self.go_on = threading.Event()
        self._answer, self._then = answer, then
        self._context = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                with self._context.wrap_socket(sock, server_side=True) if self._context else sock as sock:
                    self._answer_on(sock)

    def _answer_on(self, sock: socket.socket) -> None:
        came = b""
        while piece := sock.recv(4096):
            came += piece
            while b"\r\n\r\n" in came:
                came = came.partition(b"\r\n\r\n")[2]
                sock.sendall(self._answer)
                if self._then is AGAIN:
                    continue
                self.go_on.wait(TIMEOUT_S)
                if self._then is None:
                    _end(sock)
                    return
                sock.sendall(self._then)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # ends what waits for a client
        self._listener.close()
        self._thread.join(TIMEOUT_S)


def _end(sock: socket.socket) -> None:
    """End one's own side, and read until the other side ends: what is left unread would break the connection."""
    if isinstance(sock, ssl.SSLSocket):
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.unwrap()  # the goodbye goes out; nobody waits for the other one
    sock.shutdown(socket.SHUT_WR)
    sock.settimeout(TIMEOUT_S)
    while sock.recv(4096):
        pass


@pytest.mark.parametrize("then", [None, b"more", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["ends", "more", "another"])
@pytest.mark.parametrize("answer", [LENGTH, CHUNKS], ids=["length", "chunks"])
def test_a_client_of_http1_has_the_whole_answer(proxy, caplog, answer, then):
    with (
        Hasty(answer, then) as origin,
        socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT_S) as client,
    ):
        client.sendall(
            b"POST http://127.0.0.1:%d/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nsome"
            % origin.port
        )
        end = b"too much\r\n0\r\n\r\n" if answer is CHUNKS else b"too much"
        got = b""
        while not got.endswith(end):
            piece = client.recv(4096)
            assert piece, got
            got += piece
        origin.go_on.set()
        assert client.recv(4096) == b""
    assert "layer failed" not in caplog.text


@pytest.mark.parametrize("then", [None, b"more"], ids=["ends", "more"])
@pytest.mark.parametrize("answer", [LENGTH, CHUNKS], ids=["length", "chunks"])
def test_a_client_of_http2_has_the_whole_answer(proxy, origin_certificate, answer, then):
    with (
        Hasty(answer, then, origin_certificate) as origin,
        Client(proxy.port, origin.port, proxy.ca) as client,
    ):
        stream_id = client.ask(client.head("POST"), end=False)
        client.state.send_data(stream_id, b"some")
        got = client.finish(stream_id)
        assert (got.status, got.body, got.whole, got.error) == (413, b"too much", True, None)
        origin.go_on.set()
        while got.error is None:
            client.read()
        assert got.error == 0  # its upload is not wanted


def test_an_answer_larger_than_the_window_of_its_client_is_whole_before_its_upload_ends(
    proxy, origin_certificate
):
    """What waits for room is dropped with its stream, so the end of an upload waits for it."""
    page = b"too much\n" * 20_000
    head = b"HTTP/1.1 413 Too Large\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(page)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(origin_certificate)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        Client(proxy.port, listener.getsockname()[1], proxy.ca) as client,
    ):
        listener.settimeout(TIMEOUT_S)
        stream_id = client.ask(client.head("POST"), end=False)
        client.send()
        with context.wrap_socket(listener.accept()[0], server_side=True) as origin:
            read_to(origin, b"\r\n\r\n")
            origin.sendall(head + page)
            _end(origin)
        got = client.finish(stream_id)
        assert (got.body == page, got.whole) == (True, True)
        while got.error is None:
            client.read()
        assert got.error == 0


def test_an_answer_that_ends_with_its_connection_ends_its_upload(proxy, caplog):
    with (
        Hasty(BARE, None) as origin,
        socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT_S) as client,
    ):
        client.sendall(
            b"POST http://127.0.0.1:%d/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nsome"
            % origin.port
        )
        origin.go_on.set()
        got = b""
        while piece := client.recv(4096):
            got += piece
        assert b"too much" in got
    assert "layer failed" not in caplog.text


def test_a_client_of_http1_0_sees_the_end_of_its_answer(proxy):
    """It gets no chunks: the end of the connection ends the body, and it may wait for that."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT_S) as client,
    ):
        listener.settimeout(TIMEOUT_S)
        client.sendall(
            b"POST http://127.0.0.1:%d/ HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: 8\r\n\r\nsome"
            % listener.getsockname()[1]
        )
        with listener.accept()[0] as origin:
            origin.settimeout(TIMEOUT_S)
            read_to(origin, b"some")
            origin.sendall(CHUNKS.replace(b"Connection: close\r\n", b""))
            assert read_to(client, b"too much")
            assert client.recv(4096) == b""
            client.sendall(b"more")
            assert read_to(origin, b"more")


def test_an_answer_that_ends_with_its_connection_ends_its_upload_over_http2(proxy, origin_certificate):
    with (
        Hasty(BARE, None, origin_certificate) as origin,
        Client(proxy.port, origin.port, proxy.ca) as client,
    ):
        stream_id = client.ask(client.head("POST"), end=False)
        client.state.send_data(stream_id, b"some")
        origin.go_on.set()
        got = client.finish(stream_id)
        assert (got.status, got.body, got.whole) == (413, b"too much", True)
        while got.error is None:
            client.read()
        assert got.error == 0


def test_a_client_that_goes_on_with_its_upload_keeps_its_connection(proxy):
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
    with (
        Hasty(answer, AGAIN) as origin,
        socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT_S) as client,
    ):
        ask = (
            b"POST http://127.0.0.1:%d/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\n\r\n"
            % origin.port
        )
        for body in (b"some", b"more"):
            client.sendall(ask)
            got = b""
            while not got.endswith(b"ok"):
                got += client.recv(4096)
            client.sendall(body)


LENGTHS = (b"Content-Length: 8\r\n\r\nsome", b"more")
PIECES = (b"Transfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n", b"4\r\nmore\r\n0\r\n\r\n")


@pytest.mark.parametrize("ahead", [b"", b"first", b"\r\nfirst"], ids=["after", "before", "line"])
@pytest.mark.parametrize(("begin", "rest"), [LENGTHS, PIECES], ids=["length", "chunks"])
def test_another_protocol_begins_when_the_upload_before_it_ends(make_proxy, begin, rest, ahead):
    """The origin may speak it `ahead`; that waits for the end of the upload."""
    proxy = make_proxy(passthrough={"unknown": "allow"})
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT_S) as client,
    ):
        listener.settimeout(TIMEOUT_S)
        port = listener.getsockname()[1]
        client.sendall(
            b"POST http://127.0.0.1:%d/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: upgrade\r\nUpgrade: tcp\r\n%s"
            % (port, begin)
        )
        with listener.accept()[0] as origin:
            origin.settimeout(TIMEOUT_S)
            read_to(origin, b"some" if begin is LENGTHS[0] else b"some\r\n")
            origin.sendall(SWITCH)
            read_to(client, b"\r\n\r\n")
            origin.sendall(ahead)
            client.sendall(rest)
            assert read_to(origin, b"more" if begin is LENGTHS[0] else b"0\r\n\r\n")
            origin.sendall(b"hello")
            assert read_to(client, b"hello") == ahead + b"hello"
            client.sendall(b"well")
            assert read_to(origin, b"well") == b"well"


@pytest.mark.parametrize("then", [b"", b"x" * (3 << 20)], ids=["ends", "goes on and on"])
def test_another_protocol_that_does_not_wait_for_its_upload_is_over(make_proxy, then):
    """What waits for the end of an upload is bounded, and an origin that is gone is waited for no more."""
    proxy = make_proxy(passthrough={"unknown": "allow"})
    with (
        Hasty(SWITCH, then or None) as origin,
        socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT_S) as client,
    ):
        client.sendall(
            b"POST http://127.0.0.1:%d/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: upgrade\r\nUpgrade: tcp\r\n%s"
            % (origin.port, LENGTHS[0])
        )
        read_to(client, b"\r\n\r\n")
        origin.go_on.set()
        assert client.recv(4096) == b""


def test_another_protocol_after_an_answer_in_chunks_comes_as_it_is(make_proxy):
    proxy = make_proxy(passthrough={"unknown": "allow"})
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT_S) as client,
    ):
        listener.settimeout(TIMEOUT_S)
        head = b"GET http://127.0.0.1:%d/ HTTP/1.1\r\nHost: 127.0.0.1\r\n" % listener.getsockname()[1]
        client.sendall(head + b"\r\n")
        with listener.accept()[0] as origin:
            origin.settimeout(TIMEOUT_S)
            read_to(origin, b"\r\n\r\n")
            origin.sendall(CHUNKS.replace(b"413 Too Large", b"200 OK").replace(b"Connection: close\r\n", b""))
            read_to(client, b"0\r\n\r\n")
            client.sendall(head + b"Connection: upgrade\r\nUpgrade: tcp\r\n\r\n")
            read_to(origin, b"\r\n\r\n")
            origin.sendall(SWITCH + b"hello")
            assert read_to(client, b"hello").partition(b"\r\n\r\n")[2] == b"hello"


def read_to(sock: socket.socket, end: bytes) -> bytes:
    """Read until something has come."""
    got = b""
    while not got.endswith(end):
        piece = sock.recv(4096)
        assert piece, got
        got += piece
    return got


def test_an_http2_origin_that_does_not_reset(make_http2_origin, connect_http2):
    def handle(peer: Peer, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived(stream_id=stream_id):
                reply(peer, stream_id, b"enough")

    client = connect_http2(make_http2_origin(handle))
    stream_id = client.ask(client.head("POST"), end=False)
    assert client.finish(stream_id).body == b"enough"


def test_an_http2_origin_that_goes_after_its_answer_ends_the_upload(make_http2_origin, connect_http2):
    """Its window would not open any more: a client that waits for room would wait for good."""

    def handle(peer: Peer, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived(stream_id=stream_id):
                reply(peer, stream_id, b"enough")
            case h2.events.DataReceived():
                peer.sock.shutdown(socket.SHUT_RDWR)

    client = connect_http2(make_http2_origin(handle))
    stream_id = client.ask(client.head("POST"), end=False)
    got = client.finish(stream_id)
    assert got.body == b"enough"
    client.state.send_data(stream_id, b"some")
    client.send()
    while got.error is None:
        client.read()
    assert got.error == 0


def test_an_upload_whose_answer_is_refused_ends_over_http1(proxy, gatekeeper):
    """A client that does not end it itself would have its connection, and send into nothing, for long."""
    shell = b"#!/bin/sh\nrm -rf everything\n"
    gatekeeper.bad = {hashlib.sha256(shell).hexdigest()}
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(shell)
    with (
        Hasty(head + shell, AGAIN) as origin,
        socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT_S) as client,
    ):
        client.sendall(
            b"POST http://127.0.0.1:%d/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nsome"
            % origin.port
        )
        got = b""
        while piece := client.recv(4096):
            got += piece
        assert got.startswith(b"HTTP/1.1 403 ")
