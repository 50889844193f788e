"""A request that its origin did not take up: which are made again, and how often. Events in, commands out."""

import pytest

from proxykit.gatekeeper import FakeGatekeeper
from proxykit.playbook import Playbook

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def book(tmp_path):
    book = Playbook(tmp_path, FakeGatekeeper())
    yield book
    book.close()


def request(method: str, body: bytes = b"", sent: bytes | None = None) -> bytes:
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    head = f"{method} http://files.test/x HTTP/1.1\r\nHost: files.test\r\n{length}\r\n"
    return head.encode() + (body if sent is None else sent)


@pytest.mark.parametrize(
    ("asked", "times"),
    [
        (request("GET"), 2),
        (request("DELETE"), 2),
        (request("POST"), 1),  # it may do twice what was meant once
        (
            request("PUT", b"all of it"),
            1,
        ),  # only the origin itself may say that it has seen nothing of a body
        (request("PUT", b"all of it", b"all"), 1),
    ],
    ids=["get", "delete", "post", "put", "put, in part"],
)
def test_a_kept_connection_that_was_closed_is_tried_over_another(book, asked, times):
    book.from_client(request("GET"))
    book.from_origin(ANSWER)
    assert book.to_client().endswith(b"ok")
    book.from_client(asked)
    book.closed_by(book.origin)
    assert book.log.count("open") == times
    assert (b"502" in book.to_client()) is (times == 1)


def test_a_new_connection_that_ends_before_the_answer_is_an_error(book):
    book.from_client(request("GET"))
    book.closed_by(book.origin)
    assert book.log.count("open") == 1
    assert book.to_client().startswith(b"HTTP/1.1 502 ")


def test_what_was_asked_again_once_is_not_asked_for_ever(book):
    book.from_client(request("GET"))
    book.from_origin(ANSWER)
    book.to_client()
    book.from_client(request("GET"))
    book.closed_by(book.origin)
    book.closed_by(book.origin)
    assert book.log.count("open") == 2
    assert book.to_client().startswith(b"HTTP/1.1 502 ")
