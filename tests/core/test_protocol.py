"""What the first bytes of a connection are, however they are cut."""

import pytest

from proxykit.greetings import HTTP, OTHER, V2_HELLO, client_hello
from secondlook.core.protocol import Protocol, name_of, recognise

GIT = b"0032git-upload-pack /path\0host=a\0"  # until its client waits, it may become HTTP


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


@pytest.mark.parametrize("data", [b"\x16", b"\x16\x03", b"G", b"GE", b"CONNECT", b"POST /x", b"\r\n", b""])
def test_a_beginning_of_tls_or_http_is_waited_for_however_long(data):
    assert recognise(data, patient=False) is None


@pytest.mark.parametrize("data", [b"hello", b"login ", b"\x80", b"\x90\x20", GIT])
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
