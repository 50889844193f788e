"""What a response says about its body, read in one pass over its headers."""

from dataclasses import dataclass

from mitmproxy import http
from mitmproxy.net.http.http1 import expected_http_body_size

from secondlook.download.cutting import Cut

_LONGEST_BYTES = (
    1 << 50
)  # a length beyond it is nonsense; clients that cannot read it go by the connection's end
NO_CONTENT_STATUSES = frozenset({101, 204, 304})  # a 205 has some like any other (RFC 9112, 6.3)
_READ = frozenset(
    {
        b"content-type",
        b"content-disposition",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"transfer-encoding",
        b"etag",
        b"last-modified",
    }
)


@dataclass(slots=True)
class ResponseFacts:
    """The headers of a response that matter to its gate; text is latin-1, absent ones are None."""

    content_type: str | None = None
    disposition: str | None = None
    encoding: str | None = None
    content_range: str | None = None
    etag: str | None = None
    modified: str | None = None
    sized: bool = False
    chunked: bool = False


def has_body(flow: http.HTTPFlow) -> bool:
    """Return whether a body may follow the headers of a response; one that does all the same is dropped."""
    assert flow.response is not None
    return flow.request.method != "HEAD" and flow.response.status_code not in NO_CONTENT_STATUSES


def read_response(response: http.Response) -> ResponseFacts:
    """Collect the headers that a gate looks at."""
    facts = ResponseFacts()
    for raw_name, raw_value in response.data.headers.fields:
        name = raw_name.lower()
        if name not in _READ:
            continue
        value = raw_value.decode("latin-1")
        match name:
            case b"content-type":
                facts.content_type = value
            case b"content-disposition":
                facts.disposition = value
            case b"content-encoding":
                facts.encoding = value if facts.encoding is None else f"{facts.encoding}, {value}"
            case b"content-range":
                facts.content_range = value
            case b"etag":
                facts.etag = value
            case b"last-modified":
                facts.modified = value
            case b"content-length":
                facts.sized = True
            case _:
                facts.chunked = True
    return facts


def body_length(flow: http.HTTPFlow, facts: ResponseFacts) -> int | None:
    """Return the declared length of a body; one without gets chunks where its cutting would not show.

    A body that ends with its connection (or an HTTP/2 one without a length) would look whole when it is cut:
    towards an HTTP/1.1 client it goes in chunks.
    """
    response = flow.response
    assert response is not None
    if facts.chunked:
        return None
    if facts.sized:
        try:
            size = expected_http_body_size(flow.request, response)
        except ValueError:
            return None
        if size is None or size < 0:
            return None
        if size <= _LONGEST_BYTES:
            return size
        del response.headers["content-length"]
    if flow.request.http_version == "HTTP/1.1":
        response.headers["transfer-encoding"] = "chunked"
        if not response.is_http2:
            response.http_version = "HTTP/1.1"
    return None


def make_partial(response: http.Response, cut: Cut) -> None:
    """Make a 206 of a response: the head for what `cut` takes out of its body."""
    response.status_code, response.reason = 206, "Partial Content"
    cut.label(response.headers)
