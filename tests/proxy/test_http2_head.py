"""Heads of HTTP/2 messages: what two readers could take differently is refused, the rest is put right."""

import pytest

from secondlook.proxy.mitm.http.http2_head import (
    MalformedHeadError,
    read_answer,
    read_request,
    read_trailers,
    split_authority,
)

LINE = {b":method": b"GET", b":scheme": b"https", b":authority": b"a.test", b":path": b"/"}


def _request(*fields: tuple[bytes, bytes], **line: bytes | None) -> list[tuple[bytes, bytes]]:
    pseudo = LINE | {f":{name}".encode(): value for name, value in line.items()}
    return [*((name, value) for name, value in pseudo.items() if value is not None), *fields]


def test_a_request_is_its_line_and_its_headers():
    pseudo, rest = read_request(_request((b"accept", b"*/*"), (b"te", b"Trailers")))
    assert pseudo == LINE
    assert rest == [(b"accept", b"*/*"), (b"te", b"Trailers")]


@pytest.mark.parametrize(
    "line",
    [
        {"method": b"GET /other HTTP/1.1\r\nx:"},
        {"method": b"GET /other"},
        {"method": b""},
        {"method": None},
        {"method": b"CONNECT"},
        {"method": b"connect"},
        {"scheme": b"ftp"},
        {"scheme": b"HTTPS"},
        {"scheme": None},
        {"path": b""},
        {"path": b"other"},
        {"path": b"http://b.test/"},
        {"path": b"/a b"},
        {"path": b"/a\r\nhost: b.test"},
        {"path": b"/a#b"},
        {"path": b"*"},
        {"path": None},
        {"authority": b"a.test/b"},
        {"authority": b"b.test@a.test"},
        {"authority": b"a.test\\b"},
        {"authority": b"a.test:port"},
        {"authority": b"a.test:99999"},
        {"authority": b"a.test:" + b"0" * 1020 + b"80"},
        {"authority": b""},
        {"authority": None},
    ],
    ids=str,
)
def test_a_line_that_would_be_another_one_elsewhere_is_refused(line):
    with pytest.raises(MalformedHeadError):
        read_request(_request(**line))


@pytest.mark.parametrize(
    "fields",
    [
        [(b"host", b"b.test")],
        [(b"host", b"a.test:444")],
        [(b"host", b"a.test"), (b"host", b"a.test")],
        [(b"content-length", b"1"), (b"content-length", b"1")],
        [(b"content-length", b"+1")],
        [(b"content-length", b"1, 1")],
        [(b"transfer-encoding", b"chunked")],
        [(b"connection", b"close")],
        [(b"upgrade", b"websocket")],
        [(b"te", b"gzip")],
        [(b"Accept", b"*/*")],
        [(b"a b", b"c")],
        [(b"", b"c")],
        [(b"a", b"b\r\nc: d")],
        [(b"a", b"b\0")],
        [(b"a", b"b"), (b":path", b"/other")],
        [(b":path", b"/other")],
        [(b":protocol", b"websocket")],
    ],
    ids=str,
)
def test_headers_that_two_could_read_differently_are_refused(fields):
    with pytest.raises(MalformedHeadError):
        read_request(_request(*fields))


@pytest.mark.parametrize("host", [b"a.test", b"A.TEST", b"a.test:443"])
def test_a_host_that_says_the_same_goes_into_the_line(host):
    pseudo, rest = read_request(_request((b"host", host), (b"accept", b"*/*")))
    assert (pseudo[b":authority"], rest) == (b"a.test", [(b"accept", b"*/*")])
    pseudo, _ = read_request(_request((b"host", host), authority=None))
    assert pseudo[b":authority"] == host


def test_what_is_not_ascii_in_a_path_is_escaped():
    pseudo, _ = read_request(_request(path="/ü?ß".encode()))
    assert pseudo[b":path"] == b"/%C3%BC?%C3%9F"


def test_the_server_itself_may_be_asked_for_its_options():
    assert read_request(_request(method=b"OPTIONS", path=b"*"))[0][b":path"] == b"*"


def test_space_and_harmless_control_characters_are_put_right():
    _, rest = read_request(_request((b"a", b" b\t"), (b"c", b"d\x01e\x7f")))
    assert rest == [(b"a", b"b"), (b"c", b"d e")]


def test_an_answer_is_read_as_browsers_read_it():
    fields = [(b":status", b"200"), (b"Server", b" x "), (b"connection", b"close"), (b"content-length", b"5")]
    again = (b"content-length", b"5")
    assert read_answer([*fields, again]) == [
        (b":status", b"200"),
        (b"server", b"x"),
        (b"content-length", b"5"),
    ]


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [(b":status", b"101")],
        [(b":status", b"99")],
        [(b":status", b"2000")],
        [(b":status", b"200"), (b":status", b"200")],
        [(b"server", b"x"), (b":status", b"200")],
        [(b":status", b"200"), (b"content-length", b"5"), (b"content-length", b"6")],
        [(b":status", b"200"), (b"content-length", b"-5")],
        [(b":status", b"200"), (b"a b", b"c")],
        [(b":status", b"200"), (b"a", b"b\nc")],
    ],
    ids=str,
)
def test_an_answer_that_two_could_read_differently_is_refused(fields):
    with pytest.raises(MalformedHeadError):
        read_answer(fields)


def test_trailers_have_no_line():
    assert read_trailers([(b"Digest", b"x"), (b"keep-alive", b"5")]) == [(b"digest", b"x")]
    with pytest.raises(MalformedHeadError):
        read_trailers([(b":status", b"200")])


@pytest.mark.parametrize(
    "name",
    [
        b"Host",
        b"proxy-authorization",
        b"cookie",
        b"content-type",
        b"content-disposition",
        b"alt-svc",
        b"X-Second-Look",
    ],
    ids=bytes.decode,
)
def test_no_trailer_is_taken_for_a_header(name):
    assert read_trailers([(b"grpc-status", b"0"), (name, b"5")]) == [(b"grpc-status", b"0")]


def test_an_authority_is_a_host_and_maybe_a_port():
    assert split_authority(b"a.test") == ("a.test", None)
    assert split_authority(b"[::1]:8443") == ("::1", 8443)
    with pytest.raises(ValueError):
        split_authority(b"a.test:x")
