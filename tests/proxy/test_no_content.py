"""What the status of an answer says about its body is not believed: listed bytes arrive under none. About 4 s."""

import asyncio
import hashlib
import socket
import ssl

import h2.config
import h2.connection
import h2.events
import pytest

from proxykit.origin import Asked
from proxykit.samples import program

FILE = program(1000)
STATUSES = (*range(100, 104), 199, *range(200, 209), 226, 299, 300, 304, 305, 399, 404, 499, 503, 599, 999)
NO_CONTENT = {*range(100, 200), 204, 304}
FRAMINGS = {
    "length": b"Content-Length: %d\r\n\r\n%s" % (len(FILE), FILE),
    "chunked": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(FILE), FILE),
    "close": b"Connection: close\r\n\r\n" + FILE,
    "another": b"\r\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(FILE), FILE),
}


@pytest.fixture
def listed(gatekeeper):
    gatekeeper.bad.add(hashlib.sha256(FILE).hexdigest())


async def hostile(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Answer `/STATUS/FRAMING` with the file."""
    _, status, framing = asked.target.split("/")
    writer.write(
        b"HTTP/1.1 %s X\r\nContent-Type: application/octet-stream\r\n" % status.encode() + FRAMINGS[framing]
    )
    await writer.drain()
    writer.close()


def received(proxy, url: str, method: str) -> bytes:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as client:
        client.sendall(f"{method} {url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        came = b""
        while piece := client.recv(1 << 16):
            came += piece
        return came


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.usefixtures("listed")
def test_whatever_the_status(proxy, make_origin, framing):
    origin = make_origin(hostile)
    for method in ("GET", "HEAD", "POST"):
        for status in STATUSES:
            if framing == "another" and status not in NO_CONTENT:
                continue  # then it is all the body of the first
            came = received(proxy, f"http://127.0.0.1:{origin.port}/{status}/{framing}", method)
            assert came.startswith(b"HTTP/1.1 "), (method, status)
            assert FILE[:500] not in came, (method, status)


class Http2Origin(asyncio.Protocol):
    """Answers every stream with the status of its path, and the file as its data whatever the status."""

    def connection_made(self, transport):
        self.transport = transport
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.h2.initiate_connection()
        transport.write(self.h2.data_to_send())

    def data_received(self, data):
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                path = next(value for name, value in event.headers if name in {":path", b":path"})
                status = bytes(path, "ascii")[1:] if isinstance(path, str) else path[1:]
                head = [(b":status", status), (b"content-type", b"application/octet-stream")]
                self.h2.send_headers(event.stream_id, head)
                self.h2.send_data(event.stream_id, FILE, end_stream=True)
        self.transport.write(self.h2.data_to_send())


@pytest.fixture
def http2_origin(origin_certificate, proxy):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(origin_certificate)
    context.set_alpn_protocols(["h2"])

    async def serve():
        return await asyncio.get_running_loop().create_server(Http2Origin, "127.0.0.1", 0, ssl=context)

    server = proxy.call(serve())
    yield server.sockets[0].getsockname()[1]

    async def close():
        server.close()

    proxy.call(close())


@pytest.mark.parametrize("status", [200, 204, 205, 304, 404])
@pytest.mark.parametrize("client", ["--http2", "--http1.1", "-I"])
@pytest.mark.usefixtures("listed")
def test_over_http2(proxy, curl, http2_origin, status, client):
    done = curl(proxy, client, f"https://127.0.0.1:{http2_origin}/{status}", timeout_s=20)
    assert FILE[:500] not in done.stdout
    if status in {204, 304}:
        assert not done.returncode, done.stderr
