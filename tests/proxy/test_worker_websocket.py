"""WebSocket: its address is checked; what the two sides say passes as it is."""

import asyncio
import base64
import hashlib
import os
import socket
import threading
import zlib

import psutil
import pytest

from proxykit.origin import Asked

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def _frame(data: bytes, mask: bytes = b"") -> bytes:
    length = len(data)
    head = bytes([0x82, (0x80 if mask else 0) | (min(126, length))])
    if length >= 126:
        head += length.to_bytes(2)
    if mask:
        data = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
    return head + mask + data


async def switch(asked: Asked, writer: asyncio.StreamWriter) -> None:
    key = (asked.header("sec-websocket-key") or "").encode()
    accept = base64.b64encode(hashlib.sha1(key + MAGIC).digest()).decode()
    writer.write(
        f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
    )


def _open(proxy, port: int, path: str = "/chat") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", proxy.port), timeout=60)
    key = base64.b64encode(os.urandom(16)).decode()
    client.sendall(
        f"GET http://127.0.0.1:{port}{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\n"
        f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    return client


def _inflating(count: int) -> bytes:
    """A compressed text frame (RFC 7692) of `count` zeros."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = deflate.compress(bytes(count)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return bytes([0xC1, 127]) + len(data[:-4]).to_bytes(8) + data[:-4]


ODD = (
    b"\x01\x02he" + b"\x00\x01l" + b"\x89\x04ping" + b"\x80\x02lo",  # in fragments, with a ping between
    b"\xd2\x03ext",  # bits of an extension that nobody here knows
    _frame(os.urandom(40_000)),
    _inflating(100_000_000),  # 97 kB
)


async def say_odd_things(asked: Asked, writer: asyncio.StreamWriter) -> None:
    await switch(asked, writer)
    for frame in ODD:
        writer.write(frame)
    await writer.drain()
    writer.transport.abort() if asked.target == "/break" else writer.close()


@pytest.mark.parametrize("path", ["/end", "/break"])
def test_an_origin_is_heard_byte_by_byte_and_no_close_is_made_up(proxy, make_origin, path):
    origin = make_origin(say_odd_things)
    before = psutil.Process().memory_info().rss
    with _open(proxy, origin.port, path) as client:
        got = _all_of(client)
    assert got.partition(b"\r\n\r\n")[2] == b"".join(ODD)
    assert psutil.Process().memory_info().rss - before < 30 << 20


def test_a_client_is_heard_byte_by_byte_and_its_going_ends_the_connection(proxy, make_origin):
    heard = bytearray()
    over = threading.Event()

    async def listen(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await switch(asked, writer)
        # the reader of the origin is not handed out: what comes is taken where it arrives
        protocol = writer.transport.get_protocol()
        while piece := await protocol._stream_reader.read(65536):
            heard.extend(piece)
        over.set()

    origin = make_origin(listen)
    sent = b"".join(bytes([frame[0]]) + frame[1:] for frame in ODD) + _frame(b"masked", b"mask")
    with _open(proxy, origin.port) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 101")
        client.sendall(sent)
    assert over.wait(30)
    assert heard == sent


def _all_of(client: socket.socket) -> bytes:
    got = b""
    while piece := client.recv(65536):
        got += piece
    return got


@pytest.mark.parametrize("path", ["/chat", "/"])
def test_a_listed_address_is_refused(proxy, gatekeeper, make_origin, path):
    origin = make_origin(switch)
    gatekeeper.bad.add(f"127.0.0.1{path}")
    with _open(proxy, origin.port) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 403")
    assert origin.connections == 0
