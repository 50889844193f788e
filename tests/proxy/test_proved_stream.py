"""A piece of a judged file in the stream: only what was judged goes on, block by block, no socket."""

import gzip

import pytest

from proxykit.gatekeeper import FakeGatekeeper
from proxykit.playbook import Playbook
from proxykit.samples import program
from secondlook.download.judged_files import BLOCK_BYTES
from secondlook.proxy.flow_state import state_of

FILE = program(4 * BLOCK_BYTES)
FIRST, LAST = 1000, 2 * BLOCK_BYTES + 10  # of the piece that is wanted
END = 3 * BLOCK_BYTES  # of the blocks around it
PIECE = FILE[FIRST : LAST + 1]


@pytest.fixture
def book(tmp_path):
    """A connection over which the whole file was fetched and judged."""
    book = Playbook(tmp_path, FakeGatekeeper(), hold_up_to=1 << 20, archives={"enabled": False})
    book.from_client(get())
    book.from_origin(whole(FILE))
    assert book.to_client().endswith(b"\r\n\r\n" + FILE)
    assert book.is_freed()  # and what was judged is written down
    book.to_origin()
    yield book
    book.close()


def get(*headers: str) -> bytes:
    lines = ["GET http://files.test/x HTTP/1.1", "Host: files.test", *headers, "", ""]
    return "\r\n".join(lines).encode()


def whole(body: bytes, *more: str) -> bytes:
    return _head("200 OK", body, *more) + body


def piece(body: bytes, *more: str, size: int = len(FILE)) -> bytes:
    return _head("206 Partial Content", body, f"Content-Range: bytes 0-{END - 1}/{size}", *more) + body


def _head(status: str, body: bytes, *more: str) -> bytes:
    kind = "Content-Type: application/x-msdownload"
    lines = [f"HTTP/1.1 {status}", kind, f"Content-Length: {len(body)}", *more, "", ""]
    return "\r\n".join(lines).encode()


def ask(book: Playbook) -> None:
    book.from_client(get(f"Range: bytes={FIRST}-{LAST}"))
    assert f"bytes=0-{END - 1}".encode() in book.to_origin()  # the blocks around it
    assert book.flow is not None
    state = state_of(book.flow)
    assert state is not None
    assert state.proof is not None


def test_a_piece_of_what_was_judged_goes_on(book):
    ask(book)
    book.from_origin(piece(FILE[:END]))
    head, _, body = book.to_client().partition(b"\r\n\r\n")
    assert b" 206 " in head.splitlines()[0]
    assert f"bytes {FIRST}-{LAST}/{len(FILE)}".encode() in head
    assert body == PIECE


def test_nothing_of_a_block_goes_on_before_all_of_it_fits(book):
    ask(book)
    data = piece(FILE[:END])
    cut = len(data) - 2 * BLOCK_BYTES - 1
    book.from_origin(data[:cut])
    assert book.to_client() == b""
    book.from_origin(data[cut : cut + 1])
    assert book.to_client().partition(b"\r\n\r\n")[2] == FILE[FIRST:BLOCK_BYTES]


def test_another_file_is_asked_for_whole_where_nothing_went_on(book):
    ask(book)
    other = bytes([FILE[0] ^ 1]) + FILE[1:END]
    book.from_origin(piece(other))
    assert book.to_client() == b""
    (asked,) = book.sent.values()
    assert asked.startswith(b"GET ")
    assert b"range:" not in asked.lower()
    assert state_of(book.flow).proof is None
    assert state_of(book.flow).unproved


@pytest.mark.parametrize(
    "more", ["Content-Encoding: deflate", "Content-Type: multipart/byteranges; boundary=x"]
)
def test_the_same_bytes_that_are_to_be_read_otherwise_are_another_file(book, more):
    ask(book)
    book.from_origin(piece(FILE[:END], more))
    assert book.to_client() == b""
    (asked,) = book.sent.values()
    assert b"range:" not in asked.lower()
    assert state_of(book.flow).unproved


def test_a_piece_of_an_encoded_file_goes_on_with_its_coding(book):
    coding = "Content-Encoding: gzip"
    body = gzip.compress(FILE, 0)  # hardly larger than what is in it
    book.from_client(get())
    book.from_origin(whole(body, coding))
    assert book.to_client().endswith(body)
    assert book.is_freed()
    book.to_origin()
    ask(book)
    book.from_origin(piece(body[:END], coding, size=len(body)))
    head, _, got = book.to_client().partition(b"\r\n\r\n")
    assert coding.encode() in head
    assert got == body[FIRST : LAST + 1]


def test_what_becomes_another_file_in_the_middle_is_cut(book):
    ask(book)
    data = piece(FILE[:END])
    book.from_origin(data[:-1])
    book.from_origin(bytes([data[-1] ^ 1]))
    body = book.to_client().partition(b"\r\n\r\n")[2]
    assert body == FILE[FIRST : 2 * BLOCK_BYTES]  # of the last block nothing
    assert "secondlook_forget" in book.log
    assert "close client" in book.log


def test_a_piece_that_ends_early_is_cut(book):
    ask(book)
    first = FILE[:BLOCK_BYTES]
    told = f"Content-Range: bytes 0-{END - 1}/{len(FILE)}"
    kind = "Content-Type: application/x-msdownload"
    lines = [
        "HTTP/1.1 206 Partial Content",
        kind,
        told,
        "Transfer-Encoding: chunked",
        "",
        f"{len(first):x}",
        "",
    ]
    book.from_origin("\r\n".join(lines).encode() + first + b"\r\n0\r\n\r\n")
    assert book.to_client().partition(b"\r\n\r\n")[2] == first[FIRST:]
    assert "close client" in book.log
