"""What can be done about a response, whatever was decided about it. Events in, commands out."""

import hashlib

import pytest

from proxykit.gatekeeper import FakeGatekeeper
from proxykit.playbook import Playbook
from proxykit.samples import program

FILE = program(50_000)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-msdownload\r\nContent-Length: %d\r\n\r\n" % len(FILE)


@pytest.fixture
def gatekeeper():
    return FakeGatekeeper()


@pytest.fixture
def book(tmp_path, gatekeeper):
    book = Playbook(tmp_path, gatekeeper, hold_up_to=1 << 20, archives={"enabled": False})
    yield book
    book.close()


def ask(book: Playbook, *fields: str) -> None:
    lines = "".join(f"{field}\r\n" for field in ("Host: files.test", *fields))
    book.from_client(f"GET http://files.test/setup.exe HTTP/1.1\r\n{lines}\r\n".encode())


def test_a_piece_is_cut_out_of_the_file_that_was_judged_whole(book):
    ask(book, "Range: bytes=10-29")
    assert b"range" not in book.to_origin().lower()
    book.from_origin(HEAD + FILE)
    head, _, body = book.to_client().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 206 ")
    assert b"bytes 10-29/50000" in head
    assert body == FILE[10:30]


def test_a_refusal_takes_the_place_of_what_has_not_begun(book, gatekeeper):
    gatekeeper.bad.add(hashlib.sha256(FILE).hexdigest())
    ask(book)
    book.from_origin(HEAD + FILE)
    assert book.to_client().startswith(b"HTTP/1.1 403 ")
    assert "error" not in book.log
    assert book.is_freed()


def test_the_origin_of_what_is_refused_before_its_body_is_stopped(tmp_path, gatekeeper):
    gatekeeper.unverifiable_blocks = True
    book = Playbook(tmp_path, gatekeeper, hold="full", archives={"enabled": False})
    ask(book)
    book.from_origin(HEAD.replace(b"50000", b"50000000000") + FILE)  # larger than there is room for
    assert book.to_client().startswith(b"HTTP/1.1 403 ")
    assert "close origin" in book.log
    book.close()
