"""A client that waits for a held body gets a little of it now and then: wakeups are data here, no time passes."""

import pytest
from mitmproxy.proxy import commands, events

from proxykit.gatekeeper import FakeGatekeeper
from proxykit.playbook import Playbook
from proxykit.samples import program
from secondlook.download.gate.trickle import EVERY_S, PART

PATIENCE_S = 15
BODY = program(40_000)
CAME = 20_000  # of it before the client loses its patience
GET = b"GET http://files.test/x HTTP/1.1\r\nHost: files.test\r\n\r\n"
HEAD = f"HTTP/1.1 200 OK\r\nContent-Type: application/x-msdownload\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()


class Waking(Playbook):
    """Keeps the wakeups that are asked for, for a test to let them come."""

    def __init__(self, *arguments, **downloads):
        self.asked: list[commands.RequestWakeup] = []
        super().__init__(*arguments, archives={"enabled": False}, **downloads)

    async def _obey(self, command):
        if isinstance(command, commands.RequestWakeup) and command.delay:
            self.asked.append(command)
            return None
        return await super()._obey(command)

    def wake(self) -> None:
        command = self.asked.pop()
        self.happens(events.Wakeup(command))


@pytest.fixture
def make_book(tmp_path):
    made = []

    def make(**downloads):
        book = Waking(tmp_path, FakeGatekeeper(), hold_up_to=60_000, tail_min=300, **downloads)
        made.append(book)
        book.from_client(GET)
        book.from_origin(HEAD + BODY[:CAME])
        assert book.to_client() == b""
        return book

    yield make
    for book in made:
        book.closed_by(book.client)
        book.close()


def given(book) -> bytes:
    return book.to_client().partition(b"\r\n\r\n")[2]


def test_once_nothing_went_on_for_so_long_a_little_does(make_book):
    book = make_book(patience=PATIENCE_S)
    assert [each.delay for each in book.asked] == [PATIENCE_S]
    book.wake()
    out = given(book)
    assert out
    assert BODY.startswith(out)
    assert [each.delay for each in book.asked] == [EVERY_S]
    while book.asked and len(out) < CAME // PART:
        book.wake()
        more = book.to_client()
        assert more
        out += more
    assert out == BODY[: CAME // PART]
    book.wake()
    assert book.to_client() == b""  # no more than a part of what came
    book.from_origin(BODY[CAME:])
    assert out + book.to_client() == BODY


def test_who_never_waits_long_is_looked_after_no_more_once_all_is_there(make_book):
    book = make_book(patience=PATIENCE_S)
    book.from_origin(BODY[CAME:])
    assert given(book) == BODY
    book.wake()
    assert book.to_client() == b""
    assert not book.asked


def test_a_client_gets_no_bytes_where_its_patience_is_none(make_book):
    assert not make_book(patience=0).asked


def test_what_must_be_held_whole_gives_nothing_however_often_it_is_looked(make_book):
    book = make_book(patience=PATIENCE_S, hold="full")
    for _ in range(3):
        if book.asked:
            book.wake()
    assert book.to_client() == b""
