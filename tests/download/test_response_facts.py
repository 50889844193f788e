"""What is read of a response's headers, and which responses have a body."""

import pytest

from secondlook.download.body.body_type import declared
from secondlook.download.body.ranges import read_content_range
from secondlook.download.body.response_facts import has_body, is_multipart, read_response, types_of


def test_headers_in_any_case_and_several_encodings():
    facts = read_response(
        [
            (b"content-TYPE", b"text/html"),
            (b"Content-Encoding", b"gzip"),
            (b"Content-Encoding", b"br"),
            (b"ETag", b'"\xe4"'),
            (b"Content-Length", b"5"),
            (b"X-Other", b"x"),
        ]
    )
    assert (facts.content_type, facts.encoding, facts.etag) == ("text/html", "gzip, br", '"ä"')
    assert (facts.length, facts.chunked, facts.disposition) == ("5", False, None)
    assert read_response([(b"Transfer-Encoding", b"chunked")]).chunked


def test_a_type_that_is_given_twice_is_each_of_them():
    facts = read_response(
        [(b"Content-Type", b"text/html"), (b"Content-Type", b'MULTIPART/byteranges; boundary="a,b"')]
    )
    assert [one.strip() for one in types_of(facts.content_type)] == [
        "text/html",
        'MULTIPART/byteranges; boundary="a,b"',
    ]
    assert is_multipart(facts)
    assert not is_multipart(read_response([(b"Content-Type", b"text/html; x=multipart/byteranges")]))
    for nothing in (None, "", ",", ",,"):
        assert types_of(nothing) == [""]


@pytest.mark.parametrize("attached_first", [True, False])
def test_of_several_dispositions_each_counts(attached_first):
    """Of two, wget takes the first, and curl the name of either."""
    two = [b"attachment; filename=a.bat", b"inline"]
    fields = [(b"Content-Disposition", each) for each in (two if attached_first else reversed(two))]
    assert declared("image/gif", read_response(fields).disposition, "/thing").risky
    kept = [(name, value.replace(b"bat", b"gif")) for name, value in fields]
    assert not declared("image/gif", read_response(kept).disposition, "/thing").risky


def test_two_places_of_a_piece_are_none():
    one = (b"Content-Range", b"bytes 7-9/10")
    assert read_content_range(read_response([one]).content_range) is not None
    assert read_content_range(read_response([(one[0], b"bytes 0-9/10"), one]).content_range) is None


def test_what_has_no_body():
    assert has_body("GET", 200)
    assert has_body("GET", 205)
    assert not has_body("HEAD", 200)
    assert not any(has_body("GET", status) for status in (101, 204, 304))
