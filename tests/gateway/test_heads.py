"""Heads of ICAP messages: what is read, and where reading says no."""

import pytest

from icapkit.wire import PAGE_HEAD, PAGE_REQUEST, message
from secondlook.gateway.icap.heads import (
    CHUNK_MAX_BYTES,
    HEAD_MAX_BYTES,
    HEAD_MAX_LINES,
    IcapError,
    read_http_request,
    read_http_response,
    read_icap,
    write_http_request,
    write_http_response,
)


def icap(lines: str, first: str = "RESPMOD icap://gate.test:1344/respmod?a=b ICAP/1.0") -> bytes:
    return f"{first}\r\n{lines}\r\n".encode()


def test_a_head_as_squid_writes_it():
    head = read_icap(
        icap(
            "Host: 127.0.0.1:1344\r\nDate: Sat, 28 Nov 2026 10:00:00 GMT\r\nEncapsulated: req-hdr=0, res-hdr=70, res-body=150\r\n"
            "Preview: 1024\r\nAllow: 204, 206\r\nAllow: trailers\r\nX-Client-IP: 10.0.0.9\r\n"
        )
    )
    assert (head.method, head.service, head.arguments) == ("RESPMOD", "respmod", "a=b")
    assert head.encapsulated.request == (0, 70)
    assert head.encapsulated.response == (70, 150)
    assert head.encapsulated.body
    assert head.encapsulated.heads_bytes == 150
    assert (head.preview, head.allow) == (1024, {b"204", b"206", b"trailers"})
    assert head.fields[b"x-client-ip"] == b"10.0.0.9"
    assert not head.closing
    assert read_icap(icap("Connection: Close\r\n", "OPTIONS /respmod ICAP/1.0")).closing


def test_a_preview_of_nothing_is_none():
    head = read_icap(icap("Preview: 0\r\nEncapsulated: res-hdr=0, null-body=9\r\n"))
    assert (head.preview, head.encapsulated.body) == (None, False)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("", "without Encapsulated"),
        ("Encapsulated: res-hdr=0, req-hdr=5, res-body=9\r\n", "in this order"),
        ("Encapsulated: res-hdr=0, res-hdr=5, res-body=9\r\n", "in this order"),
        ("Encapsulated: req-hdr=0, req-body=9\r\n", "not what RESPMOD carries"),
        ("Encapsulated: res-hdr=0\r\n", "not what RESPMOD carries"),
        ("Encapsulated: res-hdr=1, res-body=9\r\n", "expected heads of"),
        ("Encapsulated: req-hdr=0, res-hdr=9, res-body=8\r\n", "expected heads of"),
        ("Encapsulated: req-hdr=0, res-hdr=0, res-body=8\r\n", "expected heads of"),
        (f"Encapsulated: res-hdr=0, res-body={HEAD_MAX_BYTES + 1}\r\n", "expected heads of"),
        ("Encapsulated: res-hdr=0, res-body=-9\r\n", "NAME=OFFSET"),
        ("Encapsulated: res-hdr=0, res-body=9\r\nEncapsulated: null-body=0\r\n", "twice"),
        (f"Encapsulated: res-hdr=0, res-body=9\r\nPreview: {CHUNK_MAX_BYTES + 1}\r\n", "Preview: expected"),
        ("Encapsulated: res-hdr=0, res-body=9\r\nPreview: 1e3\r\n", "Preview: expected"),
        ("Encapsulated: res-hdr=0, res-body=9\r\nno colon\r\n", "no colon"),
        ("Encapsulated: res-hdr=0, res-body=9\r\nX: a\r\n b\r\n", "Name: value"),
        ("Encapsulated: res-hdr=0, res-body=9\r\nX : a\r\n", "Name: value"),
        ("Encapsulated: res-hdr=0, res-body=9\r\nX: a\nY: b\r\n", "Name: value"),
        ("Encapsulated: res-hdr=0, res-body=9\r\n" + "X: a\r\n" * HEAD_MAX_LINES, "more than"),
    ],
)
def test_what_is_no_head(lines, told):
    with pytest.raises(IcapError, match=told) as refused:
        read_icap(icap(lines))
    assert refused.value.status == 400


def test_what_is_no_icap():
    for first in ("GET / HTTP/1.1", "respmod icap://a/b ICAP/1.0", "RESPMOD icap://a/b ICAP/1.0 ", "RESPMOD"):
        with pytest.raises(IcapError, match="expected `METHOD") as refused:
            read_icap(icap("", first))
        assert refused.value.status == 400
    with pytest.raises(IcapError, match="of ICAP") as refused:
        read_icap(icap("", "OPTIONS icap://a/b ICAP/2.0"))
    assert refused.value.status == 505


def test_bounds_hold_at_the_limit():
    assert read_icap(icap(f"Encapsulated: res-hdr=0, res-body={HEAD_MAX_BYTES}\r\n")).encapsulated.body
    limit = icap(f"Encapsulated: res-hdr=0, res-body=9\r\nPreview: {CHUNK_MAX_BYTES}\r\n")
    assert read_icap(limit).preview == CHUNK_MAX_BYTES
    assert read_icap(icap("Encapsulated: null-body=0\r\n" + "X: a\r\n" * (HEAD_MAX_LINES - 1)))


def test_http_heads_are_written_as_they_were_read():
    request, response = read_http_request(PAGE_REQUEST), read_http_response(PAGE_HEAD)
    assert (request.method, request.target, request.version) == ("GET", b"http://site.test/page", "1.1")
    assert (response.status, response.reason, response.version) == (200, b"OK", "1.1")
    assert write_http_request(request) == PAGE_REQUEST
    assert write_http_response(response) == PAGE_HEAD
    assert read_http_response(b"HTTP/1.0 404\r\n\r\n").fields == ()


@pytest.mark.parametrize(
    "head",
    [
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\na b: c\r\n\r\n",
        b"HTTP/1.1 99\r\n\r\n",
    ],
)
def test_what_is_no_http_head(head):
    with pytest.raises(IcapError, match="req-hdr"):
        read_http_request(head)
    with pytest.raises(IcapError, match="res-hdr"):
        read_http_response(head)


def test_a_message_reads_as_it_was_written():
    data = message("RESPMOD", "x", request=PAGE_REQUEST, response=PAGE_HEAD, body="res-body")
    head = read_icap(data[: data.index(b"\r\n\r\n") + 4])
    assert head.encapsulated.heads_bytes == len(PAGE_REQUEST) + len(PAGE_HEAD)
