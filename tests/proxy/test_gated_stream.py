"""What becomes of a response body in the stream: events in, commands out, no socket."""

import hashlib

import pytest

from proxykit.gatekeeper import FakeGatekeeper
from proxykit.playbook import Playbook
from proxykit.samples import program

GET = b"GET http://files.test/x HTTP/1.1\r\nHost: files.test\r\n\r\n"
SMALL, LARGE = program(5_000), program(60_000)
TAIL = 20_000


@pytest.fixture
def gatekeeper():
    return FakeGatekeeper()


@pytest.fixture
def book(tmp_path, gatekeeper):
    book = Playbook(tmp_path, gatekeeper, hold_up_to=30_000, tail_min=TAIL, archives={"enabled": False})
    yield book
    book.close()


def head(body: bytes, kind: str = "application/x-msdownload") -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode()


def is_listed(gatekeeper: FakeGatekeeper, body: bytes) -> None:
    gatekeeper.bad.add(hashlib.sha256(body).hexdigest())


def test_a_held_body_goes_on_after_its_verdict(book):
    book.from_client(GET)
    book.from_origin(head(SMALL) + SMALL[:-1])
    assert book.to_client() == b""
    book.from_origin(SMALL[-1:])
    assert book.to_client().endswith(b"\r\n\r\n" + SMALL)
    assert book.is_freed()


def test_a_held_body_that_is_listed_is_replaced(book, gatekeeper):
    is_listed(gatekeeper, SMALL)
    book.from_client(GET)
    book.from_origin(head(SMALL) + SMALL)
    answer = book.to_client()
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert SMALL[:100] not in answer
    assert "secondlook_cut" not in book.log
    assert book.is_freed()


def test_of_a_large_body_the_end_waits_for_the_verdict(book):
    book.from_client(GET)
    book.from_origin(head(LARGE) + LARGE[:-1])
    early = book.to_client()
    assert early.endswith(LARGE[: len(early) - early.index(b"\r\n\r\n") - 4])
    assert len(early) < len(LARGE) - TAIL + 500
    book.from_origin(LARGE[-1:])
    assert (early + book.to_client()).endswith(b"\r\n\r\n" + LARGE)
    assert "close client" not in book.log
    assert book.is_freed()


def test_a_large_body_that_is_listed_is_cut_once_the_refusal_is_in_force(book, gatekeeper):
    is_listed(gatekeeper, LARGE)
    book.from_client(GET)
    book.from_origin(head(LARGE) + LARGE)
    assert LARGE[-TAIL:] not in book.to_client()
    assert book.log.index("secondlook_cut") < book.log.index("error") < book.log.index("close client")
    assert gatekeeper.waited == 1
    assert book.is_freed()


def test_the_origin_waits_while_somebody_is_asked(book, gatekeeper):
    gatekeeper.slow.add(hashlib.sha256(SMALL).hexdigest())
    gatekeeper.delay_s = 0
    book.from_client(GET)
    book.from_origin(head(SMALL) + SMALL)
    assert "secondlook_body" in book.log
    assert book.to_client().endswith(SMALL)
    assert book.pressure[-1:] != ["press"]


def test_a_held_body_whose_origin_fails_is_not_given(book):
    book.from_client(GET)
    book.from_origin(head(SMALL) + SMALL[:-1])
    book.closed_by(book.origin)
    assert SMALL[:100] not in book.to_client()
    assert book.is_freed()


def test_a_client_that_leaves_frees_what_was_held_and_stops_the_origin(book):
    book.from_client(GET)
    book.from_origin(head(SMALL) + SMALL[:-1])
    book.closed_by(book.client)
    assert "close origin" in book.log
    assert book.is_freed()


@pytest.mark.parametrize("kind", ["application/x-msdownload", "video/mp4"])
def test_a_fault_in_the_gate_cuts_what_could_hurt_and_lets_anything_else_on(book, monkeypatch, kind):
    def broken(*_: object) -> bytes:
        raise RuntimeError("injected")

    risky = kind == "application/x-msdownload"
    monkeypatch.setattr("secondlook.download.gate.gate.BodyGate.feed", broken)
    body = SMALL if risky else b"\0\0\0\x18ftypmp42" + bytes(70_000)
    book.from_client(GET)
    book.from_origin(head(body, kind) + body)
    answer = book.to_client()
    assert answer.startswith(b"HTTP/1.1 403 " if risky else b"HTTP/1.1 200 ")
    assert (body in answer) is not risky


def test_a_fault_in_the_judgement_refuses(book, gatekeeper):
    book.from_client(GET)
    gatekeeper.faults |= {"now", "check", "unverifiable"}
    book.from_origin(head(SMALL) + SMALL)
    assert book.to_client().startswith(b"HTTP/1.1 403 ")
    assert book.is_freed()
