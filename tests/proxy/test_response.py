"""How long a response says that it is: what a client could take for whole must show where it is cut."""

import pytest
from mitmproxy.http import Headers, HTTPFlow
from mitmproxy.test.tflow import tflow

from secondlook.download.body.response_facts import read_response
from secondlook.download.body.slicing import Slice
from secondlook.proxy.response import body_length, make_partial


def _flow(*fields: tuple[bytes, bytes], client: str = "HTTP/1.1", origin: str = "HTTP/1.1") -> HTTPFlow:
    flow = tflow(resp=True)
    flow.request.http_version, flow.response.http_version = client, origin
    flow.response.headers = Headers(fields)
    return flow


def _length(flow: HTTPFlow) -> int | None:
    return body_length(flow, read_response(flow.response.data.headers.fields))


def test_a_length_that_is_said_is_kept():
    flow = _flow((b"Content-Length", b"7"))
    assert _length(flow) == 7
    assert "transfer-encoding" not in flow.response.headers


@pytest.mark.parametrize("origin", ["HTTP/1.0", "HTTP/1.1"])
def test_a_body_that_ends_with_its_connection_goes_in_chunks(origin):
    flow = _flow(origin=origin)
    assert _length(flow) is None
    assert flow.response.headers["transfer-encoding"] == "chunked"
    assert flow.response.http_version == "HTTP/1.1", "an HTTP/1.0 answer has no chunks"


def test_a_body_of_http2_without_a_length_goes_in_chunks_to_http1():
    flow = _flow(origin="HTTP/2.0")
    assert _length(flow) is None
    assert flow.response.headers["transfer-encoding"] == "chunked"
    assert flow.response.http_version == "HTTP/2.0"


@pytest.mark.parametrize("client", ["HTTP/1.0", "HTTP/2.0"])
def test_a_client_that_knows_no_chunks_gets_none(client):
    flow = _flow(client=client)
    assert _length(flow) is None
    assert "transfer-encoding" not in flow.response.headers


def test_chunks_have_no_length():
    assert _length(_flow((b"Transfer-Encoding", b"chunked"))) is None


def test_a_length_that_nobody_can_mean_is_taken_away():
    flow = _flow((b"Content-Length", str((1 << 50) + 1).encode()))
    assert _length(flow) is None
    assert "content-length" not in flow.response.headers
    assert flow.response.headers["transfer-encoding"] == "chunked"
    assert _length(_flow((b"Content-Length", str(1 << 50).encode()))) == 1 << 50


def test_a_length_of_more_digits_than_any_has_is_taken_away():
    flow = _flow((b"Content-Length", b"9" * 5000))
    assert _length(flow) is None
    assert "content-length" not in flow.response.headers


@pytest.mark.parametrize("said", [b"-1", b"seven", b"", b"007", b"7, 7", "\u0667".encode()])
def test_a_length_that_is_none_is_none(said):
    assert _length(_flow((b"Content-Length", said))) is None


def test_a_piece_that_was_cut_out_says_so():
    flow = _flow((b"Content-Length", b"100"))
    make_partial(flow.response, Slice([(10, 5)], 100))
    assert (flow.response.status_code, flow.response.reason) == (206, "Partial Content")
    assert flow.response.headers["content-range"] == "bytes 10-14/100"
    assert flow.response.headers["content-length"] == "5"
