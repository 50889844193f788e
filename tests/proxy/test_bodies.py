"""Which gate a response body gets, and what a piece is taken for: real flows, no socket."""

import pytest

from proxykit.gatekeeper import FakeGatekeeper
from proxykit.playbook import Playbook
from proxykit.samples import program
from secondlook.download.gate.gate_state import Fate
from secondlook.proxy.flow_state import state_of

BODY = program(5000)


@pytest.fixture
def book(tmp_path):
    book = Playbook(tmp_path, FakeGatekeeper(), hold_up_to=30_000, tail_min=300, archives={"enabled": False})
    yield book
    book.closed_by(book.client)
    book.close()


def request(*headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    lines = [f"{method} http://files.test/x HTTP/{version}", "Host: files.test", *headers, "", ""]
    return "\r\n".join(lines).encode()


def head(*headers: str, status: str = "200 OK", kind: str = "application/x-msdownload") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Type: {kind}", *headers, "", ""]).encode()


def body_of(book):
    state = state_of(book.flow)
    assert state is not None
    return state.body


def test_a_risky_body_gets_a_gate_that_holds_it(book):
    book.from_client(request())
    book.from_origin(head("Content-Length: 5000"))
    assert body_of(book).gate.fate is Fate.HOLD


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", head("Content-Length: 5000")),
        ("GET", head(status="304 Not Modified")),
        ("GET", head("Content-Length: 0")),
    ],
)
def test_what_has_no_body_gets_no_gate(book, method, answer):
    book.from_client(request(method=method))
    book.from_origin(answer)
    assert body_of(book) is None
    assert b"HTTP/1.1 " in book.to_client()


def test_a_client_of_http_1_0_gets_nothing_of_a_body_without_a_length_before_its_verdict(book):
    large = program(60_000)  # of which a client that sees a cut would get the most at once
    book.from_client(request(version="1.0"))
    book.from_origin(head("Transfer-Encoding: chunked") + b"%x\r\n%b" % (len(large), large))
    assert book.to_client() == b""
    assert body_of(book).gate.spare == 0
    book.from_origin(b"\r\n0\r\n\r\n")
    assert book.to_client().endswith(large)


def test_a_piece_that_nobody_asked_for_waits_for_its_verdict(book):
    """Its client takes a 206 for all of the file: what is in it is judged as one."""
    book.from_client(request())
    book.from_origin(
        head("Content-Length: 4999", "Content-Range: bytes 1-4999/5000", status="206 Partial Content")
        + BODY[1:-1]
    )
    assert book.to_client() == b""
    assert body_of(book).claims


def test_a_piece_that_says_that_it_is_all_is_given_as_what_was_asked_for(book):
    """The range was taken off the request: an origin that answers with all of it as a piece answers with a 200."""
    book.from_client(request("Range: bytes=0-"))
    book.from_origin(
        head("Content-Length: 5000", "Content-Range: bytes 0-4999/5000", status="206 Partial Content") + BODY
    )
    told = book.to_client()
    assert told.endswith(BODY)
    assert told.count(b"\r\n\r\n") == 1


@pytest.mark.parametrize(("hold", "patience_s"), [("full", 0.0), ("risky", 15.0)])
def test_what_is_held_in_full_has_no_patience(tmp_path, hold, patience_s):
    settings = {} if hold == "risky" else {"hold": hold}
    book = Playbook(tmp_path, FakeGatekeeper(), patience=15, archives={"enabled": False}, **settings)
    assert book.edge.bodies.pieces._patience.lasts_s == patience_s
    book.close()
