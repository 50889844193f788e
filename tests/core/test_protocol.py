"""What the first bytes of a connection are, however they are cut."""

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.core.protocol import LONGEST_LINE, Protocol, name_of, recognise


def client_hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="a.test")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
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
    "a long target": b"POST /" + b"a" * 2 * LONGEST_LINE,
}
OTHER = {
    "SSH": b"SSH-2.0-OpenSSH_9\r\n",
    "EHLO": b"EHLO a.test\r\n",
    "IMAP": b"a1 LOGIN x y\r\n",
    "IRC": b"NICK a\r\n",
    "git": b"0032git-upload-pack /path\0host=a\0",
    "PostgreSQL": b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
    "binary": b"\x01\x02\x03",
    "high": b"\xff\x00\x01\x02",
    "RTSP": b"OPTIONS rtsp://a/ RTSP/1.0\r\n",
    "SIP": b"INVITE sip:a@b SIP/2.0\r\n",
    "Redis": b"*1\r\n$4\r\nPING\r\n",
    "a word without end": b"a" * LONGEST_LINE,
    "white space without end": b"\r\n" * LONGEST_LINE,
}


@pytest.mark.parametrize("data", [client_hello(), V2_HELLO], ids=["TLS", "SSLv2 framing"])
def test_tls_is_never_taken_for_another_protocol_however_it_is_cut(data):
    told = [recognise(data[:size]) for size in range(len(data) + 1)]
    assert set(told) == {None, Protocol.TLS}
    assert told[-1] is Protocol.TLS


@pytest.mark.parametrize("data", HTTP.values(), ids=HTTP.keys())
def test_http_is_never_taken_for_another_protocol_however_it_is_cut(data):
    told = [recognise(data[:size]) for size in range(len(data) + 1)]
    assert set(told) == {None, Protocol.HTTP}
    assert told[-1] is Protocol.HTTP


@pytest.mark.parametrize("data", OTHER.values(), ids=OTHER.keys())
def test_what_is_neither_is_told_as_soon_as_it_can_be_nothing_else(data):
    told = [recognise(data[:size]) for size in range(len(data) + 1)]
    assert set(told) == {None, Protocol.OTHER}
    assert told[-1] is Protocol.OTHER


@given(st.binary(max_size=40))
def test_more_bytes_never_change_what_was_told(data):
    told = [recognise(data[:size]) for size in range(len(data) + 1)]
    known = [each for each in told if each is not None]
    assert len(set(known)) <= 1
    assert told[len(told) - len(known) :] == known


@pytest.mark.parametrize("data", [b"\x16", b"\x16\x03", b"G", b"GE", b"CONNECT", b"POST /x", b"\r\n", b""])
def test_a_beginning_of_tls_or_http_is_waited_for_however_long(data):
    assert recognise(data, patient=False) is None


@pytest.mark.parametrize("data", [b"hello", b"login ", b"\x80", b"\x90\x20"])
def test_who_falls_silent_after_something_else_has_said_it(data):
    assert recognise(data) is None
    assert recognise(data, patient=False) is Protocol.OTHER


@pytest.mark.parametrize(
    ("first", "name"),
    [
        (b"SSH-2.0-x\r\n", "SSH"),
        (b"220 mail.test ESMTP\r\n", "SMTP"),
        (b"* OK ready\r\n", "IMAP"),
        (b"+OK\r\n", "POP3"),
        (b"J\x00\x00\x00\x0a8.0.36\x00", "MySQL"),
        (b"\x01\x02", "neither TLS nor HTTP"),
    ],
)
def test_the_log_is_told_what_it_looks_like(first, name):
    assert name_of(first) == name
