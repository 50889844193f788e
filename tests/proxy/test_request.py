"""Which names of a request are checked, and which URL stands for it."""

import pytest
from mitmproxy import http

from proxykit.gatekeeper import FakeGatekeeper
from secondlook.download.request_facts import read_request_facts
from secondlook.proxy.request import make_context, peer_text, request_url, subjects


def _request(
    host: str, *hosts: str, scheme: str = "http", port: int = 80, authority: str = ""
) -> http.Request:
    return http.Request(
        host=host,
        port=port,
        method=b"GET",
        scheme=scheme.encode(),
        authority=authority.encode(),
        path=b"/a?b",
        http_version=b"HTTP/1.1",
        headers=http.Headers([(b"Host", name.encode()) for name in hosts]),
        content=None,
        trailers=None,
        timestamp_start=0,
        timestamp_end=None,
    )


@pytest.mark.parametrize(
    ("request_", "canonicals", "url"),
    [
        (_request("example.org", "example.org"), ["example.org"], "http://example.org/a?b"),
        (_request("example.org", "EXAMPLE.org:80"), ["example.org"], "http://example.org/a?b"),
        (_request("example.org", "evil.test"), ["example.org", "evil.test"], "http://example.org/a?b"),
        (
            _request("front.org", "a.test", "b.test"),
            ["front.org", "a.test", "b.test"],
            "http://front.org/a?b",
        ),
        (_request("front.org", authority="evil.test"), ["front.org", "evil.test"], "http://front.org/a?b"),
        (
            _request("93.184.216.34", "example.org", scheme="https", port=443),
            ["example.org", "93.184.216.34"],
            "https://example.org/a?b",
        ),
        (
            _request("93.184.216.34", authority="example.org:443", scheme="https", port=443),  # HTTP/2
            ["example.org", "93.184.216.34"],
            "https://example.org/a?b",
        ),
        (_request("93.184.216.34"), ["93.184.216.34"], "http://93.184.216.34/a?b"),
        (_request("::1", "[::1]:8080", port=8080), ["[::1]"], "http://[::1]:8080/a?b"),
    ],
)
def test_every_name_is_checked(request_, canonicals, url):
    facts = read_request_facts(request_.data.headers.fields)
    found = subjects(request_, facts, FakeGatekeeper())
    assert [subject.host for subject in found] == canonicals
    assert request_url(request_, facts) == url
    assert make_context(request_, facts, None, None).url == url


@pytest.mark.parametrize(
    ("request_", "sni", "canonicals"),
    [
        (_request("good.test", "good.test", scheme="https"), "good.test", ["good.test"]),
        (_request("good.test", "good.test", scheme="https"), "Good.test", ["good.test"]),
        (_request("good.test", scheme="https"), "evil.test", ["good.test", "evil.test"]),
        (
            _request("192.0.2.1", "good.test", scheme="https"),
            "evil.test",
            ["good.test", "evil.test", "192.0.2.1"],
        ),
        (_request("192.0.2.1", scheme="https"), "evil.test", ["evil.test", "192.0.2.1"]),
        (_request("192.0.2.1", "good.test", scheme="https"), "good.test", ["good.test", "192.0.2.1"]),
        (_request("good.test", "good.test", scheme="https"), None, ["good.test"]),
        (_request("good.test", "good.test"), "proxy.test", ["good.test"]),  # TLS with the proxy itself
    ],
)
def test_the_name_that_tls_began_with_is_checked(request_, sni, canonicals):
    """By it the origin is asked and its certificate holds, whatever `Host` says afterwards."""
    facts = read_request_facts(request_.data.headers.fields)
    assert [subject.host for subject in subjects(request_, facts, FakeGatekeeper(), sni)] == canonicals


def test_client_addresses_have_one_form():
    assert peer_text(("::ffff:192.0.2.1", 1)) == "192.0.2.1"
    assert peer_text(("fe80::1%eth0", 1)) == "fe80::1"
    assert peer_text(("192.0.2.1", 1)) == "192.0.2.1"
    assert peer_text(None) is None
