"""Uploads that their client gives up, or whose answer is refused: no origin is left waiting for the rest."""

import hashlib
import socket
import ssl
import threading

import h2.errors
import h2.events

from proxykit.http2 import Client, Peer, reply
from secondlook.core.subject import FileSubject

TIMEOUT_S = 30
SHELL = b"#!/bin/sh\nrm -rf everything\n"


class Uploading:
    """An HTTP/2 origin that answers a head with some body, and notes which uploads it is told to forget."""

    def __init__(self, body: bytes, *fields: tuple[str, str]) -> None:
        self.left = threading.Event()
        self._body, self._fields = body, fields

    def __call__(self, peer: Peer, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived(stream_id=stream_id):
                reply(peer, stream_id, self._body, *self._fields)
            case h2.events.StreamReset():
                self.left.set()


def test_an_upload_that_is_given_up_after_its_answer_is_waited_for_by_no_http2_origin(
    make_http2_origin, connect_http2
):
    origin = Uploading(b"enough")
    client = connect_http2(make_http2_origin(origin))
    stream_id = client.ask(client.head("POST"), end=False)
    assert client.finish(stream_id).body == b"enough"
    client.state.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)
    client.send()
    assert origin.left.wait(TIMEOUT_S)


def test_an_upload_that_is_given_up_after_its_answer_is_waited_for_by_no_http1_origin(
    proxy, origin_certificate
):
    """Its connection would stay, and a client has few to each origin: what it asked for next would wait."""
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
            origin.settimeout(TIMEOUT_S)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                piece = origin.recv(4096)
                assert piece, head
                head += piece
            origin.sendall(
                b"HTTP/1.1 413 Too Large\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n\r\ntoo much"
            )
            assert client.finish(stream_id).body == b"too much"
            client.state.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)
            client.send()
            assert origin.recv(4096) == b""


def test_an_upload_whose_answer_is_refused_is_waited_for_by_no_origin(
    make_http2_origin, connect_http2, gatekeeper
):
    gatekeeper.bad = {hashlib.sha256(SHELL).hexdigest()}
    origin = Uploading(SHELL)
    client = connect_http2(make_http2_origin(origin))
    stream_id = client.ask(client.head("POST"), end=False)
    assert client.finish(stream_id).status == 403
    assert origin.left.wait(TIMEOUT_S)


def test_an_upload_that_is_given_up_while_its_answer_is_judged_is_waited_for_by_no_origin(
    make_http2_origin, connect_http2, gatekeeper
):
    gatekeeper.slow = {hashlib.sha256(SHELL).hexdigest()}
    gatekeeper.opened = threading.Event()
    asked = threading.Event()
    gatekeeper.on_check = lambda subject: asked.set() if isinstance(subject, FileSubject) else None
    origin = Uploading(SHELL)
    client = connect_http2(make_http2_origin(origin))
    stream_id = client.ask(client.head("POST"), end=False)
    client.send()
    assert asked.wait(TIMEOUT_S)
    client.state.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)
    client.state.ping(b"is there")
    client.send()
    while not any(isinstance(event, h2.events.PingAckReceived) for event in client.receive()):
        pass
    gatekeeper.opened.set()
    assert origin.left.wait(TIMEOUT_S)
