"""Which gate a body gets, whichever front it comes by."""

import asyncio
from contextlib import contextmanager

import pytest

from proxykit.gatekeeper import FakeGatekeeper
from secondlook.config.traffic import DownloadsSettings
from secondlook.core.subject import RequestContext
from secondlook.core.verdict import SubjectClass
from secondlook.download.body.ranges import EntityMemory, Piece, WantedRange
from secondlook.download.body.response_facts import ResponseFacts
from secondlook.download.exchange import Exchange
from secondlook.download.gate.gate_state import Fate
from secondlook.download.gate.spool import SpoolRoom
from secondlook.download.gate_maker import GateMaker, Message, read_form
from secondlook.download.request_facts import RequestFacts

PARTS = "multipart/byteranges; boundary=b"
PROGRAM = ResponseFacts(content_type="application/x-msdownload", etag='"1"')
PAGE = ResponseFacts(content_type="text/html")


@contextmanager
def made(folder, state, facts, length, message, *, risky=False, **piece):
    """Give the body that a gate is made for; `risky`: its URL gave something risky before."""
    gatekeeper, memory = FakeGatekeeper(), EntityMemory()
    if risky:
        memory.note_risky(state.subject.identity)
    room = SpoolRoom(folder / "spool", 1 << 20, 1 << 16)
    settings = DownloadsSettings(hold_up_to=4000)
    maker = GateMaker(settings, room, None, memory, bytes(32), gatekeeper.digest_kinds)
    try:
        yield maker.body(state, facts, length, message, **piece)
    finally:
        room.close()


def exchange(**asked):
    subject = FakeGatekeeper().subject("http", "site.test", "/file")
    return Exchange(subject, RequestContext(SubjectClass.PAGE), RequestFacts(**asked))


@pytest.mark.parametrize(("http10", "fate"), [(False, Fate.TAIL), (True, Fate.HOLD)])
def test_a_body_without_a_length_is_held_whole_for_a_client_of_http_1_0(tmp_path, http10, fate):
    async def main():
        message = Message("/setup.exe", 200, http10=http10)
        with made(tmp_path, exchange(), PROGRAM, None, message) as body:
            body.gate.feed(bytes(5000))
            assert body.gate.fate is fate

    asyncio.run(main())


@pytest.mark.parametrize(
    ("content_type", "status", "first", "asked", "partial", "form"),
    [
        ("text/html", 200, None, None, False, (True, False, False)),
        ("text/html", 206, 0, "bytes=0-9", True, (True, False, False)),
        ("text/html", 206, 5, "bytes=5-9", True, (False, False, False)),
        (PARTS, 200, None, "bytes=0-1,4-5", False, (True, False, False)),
        (PARTS, 206, None, "bytes=0-1,4-5", True, (True, True, False)),
        (PARTS, 206, None, "bytes=2-3,4-5", True, (False, True, False)),
        (PARTS, 206, None, "bytes=0-1,4-5", False, (True, False, True)),
        (PARTS, 206, None, "bytes=0-1", False, (True, False, False)),
        (PARTS, 206, None, None, False, (True, False, False)),
    ],
)
def test_which_pieces_a_body_holds(content_type, status, first, asked, partial, form):
    piece = None if first is None else Piece(first, 9, 10)
    got = read_form(ResponseFacts(content_type=content_type), status, piece, asked, partial=partial)
    assert (got.from_start, got.multipart, got.unasked) == form


@pytest.mark.parametrize(
    ("content_type", "encoding", "partial", "risky", "unproved"),
    [
        (PARTS, None, False, True, True),  # unasked
        (PARTS, None, True, False, False),
        (PARTS, "gzip", True, True, False),  # its client decodes what it puts together
        ("text/html", "dcb", True, False, True),
        ("text/html", None, True, False, False),
    ],
)
def test_what_a_client_makes_a_file_of_is_risky(tmp_path, content_type, encoding, partial, risky, unproved):
    async def main():
        state = exchange(range="bytes=0-1,4-5")
        facts = ResponseFacts(content_type=content_type, encoding=encoding)
        with made(tmp_path, state, facts, 10, Message("/", 206), partial=partial) as body:
            assert (body.gate.look.risky, body.unproved) == (risky, unproved)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("risky", "partial", "by_memory"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_a_piece_is_what_its_url_gave_before(tmp_path, risky, partial, by_memory):
    async def main():
        state, piece = exchange(range="bytes=5-9"), Piece(5, 9, 10)
        with made(
            tmp_path, state, PAGE, 5, Message("/", 206), risky=risky, piece=piece, partial=partial
        ) as body:
            assert (body.by_memory, body.gate.look.risky) == (by_memory, by_memory)
            assert body.left == (5 if partial else None)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("facts", "status", "if_range", "kept"),
    [
        (PROGRAM, 200, None, True),
        (PROGRAM, 200, '"1"', True),
        (PROGRAM, 200, '"2"', False),  # of another state of it
        (PAGE, 200, None, False),  # its client may have all that is harmless
    ],
)
def test_the_range_that_a_client_wanted_is_kept_of_what_is_risky(tmp_path, facts, status, if_range, kept):
    async def main():
        state = exchange()
        state.wanted = WantedRange(2, 4, if_range)
        with made(tmp_path, state, facts, 10, Message("/file", status)) as body:
            assert (body.wanted is not None) is kept

    asyncio.run(main())
