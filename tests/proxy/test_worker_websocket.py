"""WebSocket: its address is checked, its messages pass at once and are not kept."""

import asyncio
import base64
import hashlib
import os
import socket

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


async def echo(asked: Asked, writer: asyncio.StreamWriter) -> None:
    key = (asked.header("sec-websocket-key") or "").encode()
    accept = base64.b64encode(hashlib.sha1(key + MAGIC).digest()).decode()
    writer.write(
        f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
    )
    for number in range(200):
        writer.write(_frame(b"message %d " % number + b"x" * 100))
    await writer.drain()
    await asyncio.sleep(3600)


def _open(proxy, port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", proxy.port), timeout=60)
    key = base64.b64encode(os.urandom(16)).decode()
    client.sendall(
        f"GET http://127.0.0.1:{port}/chat HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\n"
        f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    return client


def test_messages_pass_and_are_forgotten(proxy, make_origin, monkeypatch):
    from secondlook.proxy.addon import SecondLookAddon

    kept: list[int] = []
    forget = SecondLookAddon.websocket_message

    def look(self, flow) -> None:
        forget(self, flow)
        kept.append(len(flow.websocket.messages))

    monkeypatch.setattr(SecondLookAddon, "websocket_message", look)
    origin = make_origin(echo)
    with _open(proxy, origin.port) as client:
        got = b""
        while b"message 199" not in got:
            piece = client.recv(65536)
            assert piece, got[-200:]
            got += piece
        assert got.startswith(b"HTTP/1.1 101")
    assert max(kept) == 0


@pytest.mark.parametrize("path", ["/chat", "/"])
def test_a_listed_address_is_refused(proxy, gatekeeper, make_origin, path):
    origin = make_origin(echo)
    gatekeeper.bad.add(f"127.0.0.1{path}")
    with _open(proxy, origin.port) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 403")
    assert origin.connections == 0
