"""How long mitmproxy's responses say that they are, and what they report of a piece that was taken out."""

import re

from mitmproxy import http

from secondlook.download.body.response_facts import PARTIAL_STATUS, ResponseFacts
from secondlook.download.body.slicing import Slice

_LENGTH = re.compile(r"(?:0|[1-9][0-9]*+)", re.ASCII)
_LONGEST_BYTES = (
    1 << 50
)  # a length beyond it is nonsense; clients that cannot read it go by the connection's end
_LONGEST_DIGITS = 16


def body_length(flow: http.HTTPFlow, facts: ResponseFacts) -> int | None:
    """Return the declared length of a body; one without gets chunks where its cutting would not show.

    A body that ends with its connection (or an HTTP/2 one without a length) would look whole when it is cut:
    towards an HTTP/1.1 client it goes in chunks.
    """
    response = flow.response
    assert response is not None
    if facts.chunked:
        return None
    if facts.length is not None:
        if _LENGTH.fullmatch(facts.length) is None:
            return None
        if len(facts.length) <= _LONGEST_DIGITS and (size := int(facts.length)) <= _LONGEST_BYTES:
            return size
        del response.headers["content-length"]
    if flow.request.http_version == "HTTP/1.1":
        response.headers["transfer-encoding"] = "chunked"
        if not response.is_http2:
            response.http_version = "HTTP/1.1"
    return None


def make_partial(response: http.Response, part: Slice) -> None:
    """Make a 206 of a response: the head for what `part` takes out of its body."""
    response.status_code, response.reason = PARTIAL_STATUS, "Partial Content"
    part.label(response.headers)


def plain_answer(status: int, text: str, *fields: tuple[bytes, bytes]) -> http.Response:
    """Make an answer of our own of one line of text, which nobody keeps."""
    return http.Response.make(
        status,
        f"{text}\n".encode(),
        http.Headers(
            (*fields, (b"Content-Type", b"text/plain; charset=utf-8"), (b"Cache-Control", b"no-store"))
        ),
    )
