"""Where messages end, read one way only; what belongs to one connection ends with it."""

import pytest

from fuzzkit.effort import grows_evenly
from secondlook.proxy.mitm.http.framing import Framing, HeadError, frame_request, frame_response, sort_fields


def fields_of(lines: bytes) -> list[tuple[bytes, bytes]]:
    """Fields as a head has them whose lines were read."""
    return [tuple(line.split(b": ", 1)) for line in lines.split(b"\r\n")[:-1]]


def answer(lines: bytes, *, status: int = 200, head: bool = False, new: bool = True):
    """What goes on of an answer with these lines, and its framing."""
    kept, framing = frame_response(fields_of(lines), status, head=head, new=new)
    return b"".join(b"%s: %s\r\n" % field for field in kept), framing


@pytest.mark.parametrize(
    ("lines", "written", "framing"),
    [
        (
            b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            b"Transfer-Encoding: chunked\r\n",
            (None, False),
        ),
        (b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n", b"Content-Length: 5\r\n", (5, False)),
        (b"Transfer-Encoding: identity\r\n", b"", (-1, False)),
        (b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\n", (None, True)),
        (b"Content-Length: 5, 5\r\n", b"Content-Length: 5\r\n", (5, True)),
        (b"Content-Length: 005\r\n", b"Content-Length: 5\r\n", (5, True)),
        (b"Content-Length: 5\r\nConnection: Close\r\n", b"Content-Length: 5\r\n", (5, False)),
    ],
)
def test_where_the_body_of_an_answer_ends(lines, written, framing):
    assert answer(lines) == (written, framing)


@pytest.mark.parametrize("status", [204, 304, 100, 103])
@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunk ed\r\n",
        b"Content-Length: 5\r\n" * 2,
        b"",
    ],
)
def test_an_answer_without_content(status, lines):
    written, framing = answer(lines, status=status)
    assert framing.size == 0
    assert b"chunk ed" not in written
    if status != 304:
        assert written == b""
        assert framing.lasting == (lines == b"")


def test_the_answer_to_a_head_names_its_length_and_has_no_body():
    assert answer(b"Content-Length: 5\r\n", head=True) == (b"Content-Length: 5\r\n", (0, True))
    assert answer(b"Transfer-Encoding: chunked\r\n", head=True)[1] == (0, True)
    assert answer(b"", head=True)[1] == (0, True)
    assert answer(b"Content-Length: x\r\n", head=True) == (b"", (0, True))


def test_an_answer_of_the_older_version_in_chunks_ends_its_connection():
    assert answer(b"Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n", new=False)[1] == (None, False)
    assert answer(b"Content-Length: 5\r\nConnection: keep-alive\r\n", new=False)[1] == (5, True)
    assert answer(b"Content-Length: 5\r\n", new=False)[1] == (5, False)


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 1\r\nContent-Length: 2\r\n",
        b"Content-Length: 1, 2\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: \r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked, chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: deflate\r\n",
    ],
)
def test_an_answer_whose_end_would_be_a_guess_is_refused(lines):
    with pytest.raises(HeadError):
        answer(lines)


def request(lines: bytes, *, new: bool = True):
    """What goes on of a request with these lines, and its framing."""
    return frame_request(sort_fields(fields_of(lines), new=new, switching=True), new=new)


@pytest.mark.parametrize(
    ("lines", "framing"),
    [
        (b"", (0, True)),
        (b"Content-Length: 7\r\n", (7, True)),
        (b"Content-Length: 7\r\nConnection: x, CLOSE\r\n", (7, False)),
        (b"Transfer-Encoding: Chunked\r\n", (None, True)),
        (b"Transfer-Encoding: gzip , chunked\r\n", (None, True)),
    ],
)
def test_where_a_request_ends(lines, framing):
    assert request(lines)[1] == Framing(*framing)


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        (b"Transfer-Encoding: chunked, identity\r\n", 400),
        (b"Transfer-Encoding: x, chunked\r\n", 501),
        (b"Content-Length: 1\r\nContent-Length: 1\r\n", 400),
        (b"Content-Length: 1, 1\r\n", 400),
        (b"Content-Length: +1\r\n", 400),
        (b"Content-Length: " + b"1" * 101 + b"\r\n", 400),
    ],
)
def test_a_request_that_two_could_read_differently_is_refused(lines, status):
    with pytest.raises(HeadError) as refused:
        request(lines)
    assert refused.value.status == status


def test_the_older_version_knows_no_chunks():
    with pytest.raises(HeadError):
        request(b"Transfer-Encoding: chunked\r\n", new=False)


def test_a_length_goes_on_without_zeros_before_it():
    assert request(b"Content-Length: 007\r\nA: b\r\n")[0] == [(b"A", b"b"), (b"Content-Length", b"7")]


def test_what_belongs_to_one_connection_is_taken_off_and_what_frames_a_message_never():
    lines = b"Connection: X, Host, Content-Length\r\nX: 1\r\nHost: a\r\nContent-Length: 2\r\nTE: x\r\n"
    ordered = sort_fields(fields_of(lines), new=True, switching=False)
    assert ordered.kept == [(b"Host", b"a"), (b"Content-Length", b"2")]
    assert (ordered.hosts, ordered.lengths, ordered.codings) == ([b"a"], [b"2"], [])


@pytest.mark.parametrize(
    ("protocol", "new", "switching", "kept"),
    [
        (b"websocket", True, True, True),
        (b"websocket", True, False, False),
        (b"websocket", False, True, False),
        (b"h2c, websocket", True, True, False),
    ],
)
def test_another_protocol_than_http_may_follow(protocol, new, switching, kept):
    fields = [(b"Upgrade", protocol), (b"Connection", b"Upgrade")]
    ordered = sort_fields(fields, new=new, switching=switching)
    assert bool(ordered.kept) == kept


def test_blanks_in_a_transfer_coding_are_not_gone_through_again_and_again():
    def refused(blanks):
        with pytest.raises(HeadError, match="coding"):
            request(b"Transfer-Encoding: gzip" + b" " * blanks + b"x\r\n")

    assert grows_evenly(refused, 5_000)
