"""What is read of a response's headers, and which responses have a body."""

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


def test_what_has_no_body():
    assert has_body("GET", 200)
    assert has_body("GET", 205)
    assert not has_body("HEAD", 200)
    assert not any(has_body("GET", status) for status in (101, 204, 304))
