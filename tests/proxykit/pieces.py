"""TLS whose beginning comes in pieces, by hand on a raw socket."""

import socket
import ssl
import struct
import time


def tls_in_pieces(client: socket.socket, cuts: tuple[int, ...], request: bytes, *, records: int = 0) -> bytes:
    """Speak TLS with a ClientHello cut at these places (or into records of so many bytes); give an answer."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    tls = context.wrap_bio(incoming, outgoing, server_hostname="front.test")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        first = outgoing.read()
    if records:
        body = first[5:]
        parts = [body[at : at + records] for at in range(0, len(body), records)]
        first = b"".join(b"\x16\x03\x01" + struct.pack("!H", len(part)) + part for part in parts)
    for begin, end in zip((0, *cuts), (*cuts, len(first)), strict=True):
        client.sendall(first[begin:end])
        time.sleep(0.05)  # a segment of its own
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            client.sendall(outgoing.read())
            incoming.write(received(client))
    tls.write(request)
    client.sendall(outgoing.read())
    answer = b""
    while True:
        try:
            answer += tls.read(65536)
            if answer.endswith((b"hello /good", b"}", b"</html>\n")):
                return answer
        except ssl.SSLWantReadError:
            incoming.write(received(client))


def received(client: socket.socket) -> bytes:
    data = client.recv(65536)
    assert data, f"the connection ended: {data!r}"
    return data
