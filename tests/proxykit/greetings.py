"""How connections begin: TLS, HTTP in all its forms, and other protocols."""

import ssl
from collections.abc import Sequence
from contextlib import suppress

from secondlook.core.protocol import LONGEST_LINE


def client_hello(
    name: str = "a.test", protocols: Sequence[str] = (), newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> bytes:
    """A ClientHello as OpenSSL sends it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = newest
    if protocols:
        context.set_alpn_protocols(list(protocols))
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


V2_HELLO = b"\x80\x2e\x01\x03\x03\x00\x15\x00\x00\x00\x10" + bytes(21 + 16)
HTTP = {
    "plain": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "empty lines first": b"\r\n\r\n\nGET / HTTP/1.1\r\n\r\n",
    "space first": b"  GET / HTTP/1.1\r\n\r\n",
    "tabs": b"GET\t/\tHTTP/1.1\r\n\r\n",
    "an own method": b"FROBNICATE!# /x HTTP/1.1\r\n\r\n",
    "lower case": b"get / http/1.1\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n",
    "bare LF": b"POST /x HTTP/1.0\n\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "raw bytes in the target": b"GET /\xc3\xa4 HTTP/1.1\r\n\r\n",
    "control characters in the target": b"POST /\x01\0\x1f\x7f HTTP/1.1\r\n\r\n",
    "a method that is no token": b'"P(OST)" / HTTP/1.1\r\n\r\n',
    "a long target": b"POST /" + b"a" * 2 * LONGEST_LINE,
}
OTHER = {
    "SSH": b"SSH-2.0-OpenSSH_9\r\n",
    "EHLO": b"EHLO a.test\r\n",
    "IMAP": b"a1 LOGIN x y\r\n",
    "IRC": b"NICK a\r\n",
    "PostgreSQL": b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
    "binary": b"\x01\x02\x03",
    "high": b"\xff\x00\x01\x02",
    "RTSP": b"OPTIONS rtsp://a/ RTSP/1.0\r\n",
    "SIP": b"INVITE sip:a@b SIP/2.0\r\n",
    "Redis": b"*1\r\n$4\r\nPING\r\n",
    "a word without end": b"a" * LONGEST_LINE,
    "white space without end": b"\r\n" * LONGEST_LINE,
}
FIRST_BYTES = [client_hello(), V2_HELLO, *HTTP.values(), *OTHER.values()]
