"""A ClientHello in pieces and records of any size, and one that nobody would take."""

import ssl

import pytest
from mitmproxy.proxy.layers.tls import parse_client_hello

from proxykit.sides import around
from secondlook.proxy.mitm.tls.client_hello import HELLO_MAX_BYTES, HelloBuffer
from secondlook.proxy.mitm.tls.tls_layers import BoundedClientTls, OriginTls


def said(host: str = "a.test") -> bytes:
    """What a client begins TLS with."""
    out = ssl.MemoryBIO()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(ssl.MemoryBIO(), out, server_hostname=host)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


def in_records(hello: bytes, size: int) -> bytes:
    """Write the message of a hello in records of a size."""
    message = hello[5:]
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2) + part for part in parts)


def client_tls() -> BoundedClientTls:
    context = around()
    OriginTls(context)  # it looks for what stands before it
    return BoundedClientTls(context)


def receive(tls: BoundedClientTls, data: bytes) -> tuple[tuple[bool, str | None] | None, list[object]]:
    """Give what came of a piece, up to the first command."""
    step = tls.receive_handshake_data(data)
    try:
        return None, [next(step)]
    except StopIteration as over:
        return over.value, []


@pytest.mark.parametrize("record", [1, 3, 100, 1 << 14])
@pytest.mark.parametrize("piece", [1, 4, 77, 1 << 14])
def test_it_is_whole_with_its_last_byte(record, piece):
    hello = in_records(said(), record)
    buffer = HelloBuffer()
    pieces = [hello[at : at + piece] for at in range(0, len(hello), piece)]
    assert [buffer.add(each) for each in pieces] == [False] * (len(pieces) - 1) + [True]
    found = parse_client_hello(bytes(buffer.data))
    assert found is not None
    assert found.sni == "a.test"


def test_what_comes_behind_it_is_no_part_of_it():
    early = bytes(2 * HELLO_MAX_BYTES)
    _, [asked] = receive(client_tls(), said() + early)
    assert asked.data.client_hello.sni == "a.test"


@pytest.mark.parametrize(
    "data",
    [b"\x16\x03\x01\0\0", b"\x17\x03\x03\0\1x", b"\x16\x03\x01\0\1x\x15\x03\x01\0\1x", b"GET / HTTP/1.1"],
)
def test_what_is_none_is_not_waited_for(data):
    assert HelloBuffer().add(data)


def test_mitmproxy_reads_it_once():
    """It reads all from the beginning for each piece: what is here of a hello is kept from it."""
    tls = client_tls()
    *pieces, last = (bytes([byte]) for byte in said())
    for piece in pieces:
        assert receive(tls, piece) == ((False, None), [])
        assert not tls.recv_buffer
    _, [asked] = receive(tls, last)
    assert asked.data.client_hello.sni == "a.test"


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\0\4\1" + (HELLO_MAX_BYTES + 1).to_bytes(3),
        in_records(
            b"\x16\x03\x01\0\0\1" + (HELLO_MAX_BYTES - 100).to_bytes(3) + bytes(HELLO_MAX_BYTES), 1 << 10
        ),
        b"\x16\x03\x01\0\1\1" * (HELLO_MAX_BYTES // 6 + 1),
    ],
    ids=["says so", "comes so", "of many records"],
)
def test_one_that_nobody_would_take_ends_the_handshake(data):
    tls = client_tls()
    (going_on, error), _ = receive(tls, data)
    assert not going_on
    assert error is not None
    assert "larger than" in error
    assert len(error) < 200
