"""A client that shows all of an answer: its protocol, every header as it came, trailers too."""

import http.client
import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path

import h2.config
import h2.connection
import h2.events

from proxykit.http2 import text

TIMEOUT_S = 60


@dataclass
class Answer:
    """An answer as it came; header names keep their case."""

    protocol: str
    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)


def fetch(port: int, path: str, *, alpn: tuple[str, ...], proxy: int | None, ca: Path | None) -> Answer:
    """GET a path of 127.0.0.1, through a proxy's port or straight; `alpn` in order of preference, none: no TLS.

    `ca` is trusted; None trusts everybody.
    """
    with socket.create_connection(("127.0.0.1", proxy or port), timeout=TIMEOUT_S) as raw:
        if not alpn:
            target = f"http://127.0.0.1:{port}{path}" if proxy else path
            return _http1(raw, port, target)
        if proxy:
            raw.sendall(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            assert b" 200 " in raw.recv(1000)
        if ca is None:  # without the system's roots, whose reading takes longer than the rest
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        else:
            context = ssl.create_default_context(cafile=ca)
        context.set_alpn_protocols(list(alpn))
        with context.wrap_socket(raw, server_hostname="127.0.0.1") as tls:
            if tls.selected_alpn_protocol() == "h2":
                return _http2(tls, port, path)
            return _http1(tls, port, path)


def _http1(sock: socket.socket, port: int, target: str) -> Answer:
    sock.sendall(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    response = http.client.HTTPResponse(sock)
    response.begin()
    return Answer("HTTP/1.1", response.status, response.getheaders(), response.read())


def _http2(sock: socket.socket, port: int, path: str) -> Answer:
    answer = Answer("HTTP/2.0")
    client = h2.connection.H2Connection(h2.config.H2Configuration())
    client.initiate_connection()
    head = [(":method", "GET"), (":scheme", "https"), (":authority", f"127.0.0.1:{port}"), (":path", path)]
    client.send_headers(1, [*head, ("te", "trailers")], end_stream=True)
    sock.sendall(client.data_to_send())
    body = bytearray()
    while True:
        received = sock.recv(1 << 16)
        assert received, "the connection ended in the middle"
        for event in client.receive_data(received):
            match event:
                case h2.events.ResponseReceived():
                    (_, status), *answer.headers = text(event.headers)
                    answer.status = int(status)
                case h2.events.DataReceived():
                    body += event.data
                    client.acknowledge_received_data(event.flow_controlled_length, 1)
                case h2.events.TrailersReceived():
                    answer.trailers = text(event.headers)
                case h2.events.StreamEnded():
                    answer.body = bytes(body)
                    return answer
                case h2.events.StreamReset():
                    raise AssertionError(event)
        sock.sendall(client.data_to_send())
