"""A request as a gateway reports it, read into subjects, use and what a refusal has to fit."""

import pytest

from secondlook.core.url.canonical import url_subject_from_parts
from secondlook.core.verdict import SubjectClass
from secondlook.download.request_facts import RequestFacts, read_request_facts
from secondlook.gateway.request import (
    LONGEST_URL_BYTES,
    LONGEST_USER_CHARS,
    UnreadableRequestError,
    gateway_name,
    read_request,
)
from secondlook.suffix import load_suffixes


def make(scheme, host, path):
    return url_subject_from_parts(scheme, host, path, load_suffixes())


@pytest.mark.parametrize(
    ("target", "url", "host", "path"),
    [
        ("http://example.org/a?b", "http://example.org/a?b", "example.org", "/a?b"),
        ("http://example.org", "http://example.org/", "example.org", "/"),
        ("http://example.org?q", "http://example.org/?q", "example.org", "/?q"),
        ("HTTP://Example.ORG:8080/", "http://example.org:8080/", "example.org", "/"),
        ("https://[2001:db8::1]:443/x", "https://[2001:db8::1]/x", "2001:db8::1", "/x"),
        ("http://user:pw@example.org/x@y", "http://example.org/x@y", "example.org", "/x@y"),
        ("http://example.org//other.example/", "http://example.org//other.example/", "example.org", "//other.example/"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/", "bücher.example", "/"),
    ],
)  # fmt: skip
def test_a_url_is_taken_apart(target, url, host, path):
    found = read_request("GET", target, client="192.0.2.1")
    assert (found.context.url, found.host, found.path) == (url, host, path)


def test_a_tunnel_is_the_host_over_tls():
    found = read_request("CONNECT", "example.org:8443", client="192.0.2.1", sni="other.example")
    assert found.context.url == "https://example.org:8443/"
    assert found.context.cls is SubjectClass.PAGE
    assert [subject.host for subject in found.subjects(make)] == ["example.org", "other.example"]


def test_the_host_of_a_path_is_that_of_its_header():
    asked = read_request_facts(
        [(b"Host", b"example.org:8080"), (b"accept", b"text/html"), (b"Accept", b"*/*")]
    )
    found = read_request("GET", "/setup.exe", client="192.0.2.1", asked=asked)
    assert found.context.url == "http://example.org:8080/setup.exe"
    assert found.context.cls is SubjectClass.DOWNLOAD
    assert asked.accept == "text/html, */*"
    with pytest.raises(UnreadableRequestError, match="a Host header beside a path"):
        read_request("GET", "/", client="192.0.2.1")


def test_another_name_of_the_origin_is_checked_too():
    asked = RequestFacts(hosts=("front.example", "EXAMPLE.org"))
    found = read_request("GET", "http://example.org/x", client="192.0.2.1", asked=asked)
    assert [subject.canonical for subject in found.subjects(make)] == [
        "http://example.org/x", "http://front.example/x",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "client"),
    [("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("2001:DB8:0::1", "2001:db8::1"), ("fe80::1%eth0", "fe80::1"), (None, None)],
)  # fmt: skip
def test_a_client_is_its_address_in_the_shortest_form(said, client):
    assert read_request("GET", "http://a.example/", client=said).context.client == client


@pytest.mark.parametrize(
    ("peer", "name"),
    [("127.0.0.1", "squid"), ("::1", "squid"), ("::ffff:127.0.0.1", "squid"), ("::ffff:192.0.2.1", "192.0.2.1"), ("2001:DB8:0::1", "2001:db8::1")],
)  # fmt: skip
def test_a_gateway_is_its_address_unless_it_is_on_this_machine(peer, name):
    assert gateway_name(peer, "squid") == name


@pytest.mark.parametrize(
    ("client", "user", "target", "expected"),
    [
        ("anna", None, "http://a.example/", "a client's IP address"),
        ("192.0.2.0/24", None, "http://a.example/", "a client's IP address"),
        ("192.0.2.1", "a\nb", "http://a.example/", "a user's name"),
        ("192.0.2.1", "u" * (LONGEST_USER_CHARS + 1), "http://a.example/", "a user's name"),
        ("192.0.2.1", None, "example.org", "a URL such as"),
        ("192.0.2.1", None, ":80/x", "a URL such as"),
        ("192.0.2.1", None, "http://:80/", "a host"),
        ("192.0.2.1", None, "http://a.example:80:80/", "a host"),
        ("192.0.2.1", None, "http://a.example:99999/", "a host"),
        ("192.0.2.1", None, "http://[::1/", "a host"),
        ("192.0.2.1", None, "http://a.example/" + "x" * LONGEST_URL_BYTES, "a URL of at most"),
    ],
)
def test_what_is_no_request_is_told_without_what_it_was(client, user, target, expected):
    with pytest.raises(UnreadableRequestError, match=expected) as raised:
        read_request("GET", target, client=client, user=user)
    assert raised.value.expected.startswith("expected ")
    assert "got" not in raised.value.expected


def test_the_longest_url_and_name_are_taken():
    url = "http://a.example/".ljust(LONGEST_URL_BYTES, "x")
    found = read_request("GET", url, client="192.0.2.1", user="u" * LONGEST_USER_CHARS)
    assert found.context.url == url
    assert found.context.user == "u" * LONGEST_USER_CHARS
