"""A request in the stream: answered at its headers, or asked of its origin. Events in, commands out, no socket."""

import pytest

from proxykit.gatekeeper import FakeGatekeeper
from proxykit.playbook import Playbook

ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Second-Look: allowed\r\nAlt-Svc: h3=:443\r\n"
    b'Use-As-Dictionary: match="/*"\r\n\r\nhi'
)


@pytest.fixture
def gatekeeper():
    return FakeGatekeeper(bad={"bad.test/"})


@pytest.fixture
def book(tmp_path, gatekeeper):
    book = Playbook(tmp_path, gatekeeper)
    yield book
    book.close()


def test_what_is_let_through_is_asked_of_its_origin(book):
    book.from_client(b"GET http://good.test/x HTTP/1.1\r\nHost: good.test\r\n\r\n")
    assert book.log[:2] == ["requestheaders", "request"]
    assert book.origin.address == ("good.test", 80)
    assert book.to_origin().startswith(b"GET /x HTTP/1.1\r\n")
    book.from_origin(ANSWER)
    assert book.to_client().endswith(b"\r\n\r\nhi")


def test_no_origin_speaks_for_us_or_leads_around_us(book):
    book.from_client(b"GET http://good.test/x HTTP/1.1\r\nHost: good.test\r\n\r\n")
    book.from_origin(ANSWER)
    answer = book.to_client().lower()
    assert b"x-second-look" not in answer
    assert b"alt-svc" not in answer
    assert b"use-as-dictionary" not in answer


def test_no_origin_asks_for_the_password_of_the_proxy(book):
    book.from_client(b"GET http://good.test/x HTTP/1.1\r\nHost: good.test\r\n\r\n")
    book.from_origin(
        b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 2\r\n\r\nno"
    )
    answer = book.to_client()
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"its answer cannot be read (it asks for a password as only a proxy may, 407)" in answer
    assert b"Proxy-Authenticate" not in answer


def test_no_origin_hears_of_a_dictionary_that_nobody_here_has(book):
    head = (
        b"GET http://good.test/x HTTP/1.1\r\nHost: good.test\r\nAvailable-Dictionary: :abc=:\r\nA: b\r\n\r\n"
    )
    book.from_client(head)
    asked = book.to_origin().lower()
    assert b"available-dictionary" not in asked
    assert b"\r\na: b\r\n" in asked


def test_a_304_does_not_say_what_a_kept_page_is(book):
    """Chromium saves what it has kept under a name that comes with a 304."""
    book.from_client(b'GET http://good.test/x HTTP/1.1\r\nHost: good.test\r\nIf-None-Match: "1"\r\n\r\n')
    book.from_origin(
        b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\nContent-Type: application/x-msdownload\r\n'
        b"Content-Disposition: attachment; filename=a.bat\r\nContent-Encoding: br\r\nVary: a\r\n\r\n"
    )
    answer = book.to_client()
    assert b"Content-" not in answer
    assert b'\r\nETag: "1"\r\nVary: a\r\n' in answer


def test_the_origin_of_what_is_blocked_never_sees_a_connection(book):
    book.from_client(b"GET http://bad.test/ HTTP/1.1\r\nHost: bad.test\r\n\r\n")
    assert book.to_client().startswith(b"HTTP/1.1 403 ")
    assert "open" not in book.log


def test_an_upload_that_is_blocked_is_answered_before_it_is_read(book):
    book.from_client(b"POST http://bad.test/ HTTP/1.1\r\nHost: bad.test\r\nContent-Length: 1000000\r\n\r\nx")
    assert book.to_client().startswith(b"HTTP/1.1 403 ")
    assert "open" not in book.log
    assert book.log.count("requestheaders") == 1


def test_the_next_request_of_a_connection_is_checked_too(book):
    book.from_client(b"GET http://good.test/x HTTP/1.1\r\nHost: good.test\r\n\r\n")
    book.from_origin(ANSWER)
    book.to_client()
    book.from_client(b"GET http://bad.test/ HTTP/1.1\r\nHost: bad.test\r\n\r\n")
    assert book.to_client().startswith(b"HTTP/1.1 403 ")
    assert book.log.count("open") == 1


def test_a_fault_in_the_check_and_in_its_policy_is_a_refusal(book, gatekeeper):
    gatekeeper.faults |= {"now", "unverifiable"}
    book.from_client(b"GET http://good.test/x HTTP/1.1\r\nHost: good.test\r\n\r\n")
    assert book.to_client().startswith(b"HTTP/1.1 403 ")
    assert "open" not in book.log
