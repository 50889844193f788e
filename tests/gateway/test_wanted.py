"""What REQMOD asks for where a piece of a judged file is wanted, and for whom."""

import os

import pytest

from icapkit.pieces import (
    BODY,
    DIGEST,
    IDENTITY,
    KIND,
    SAYS,
    SECOND,
    SIZE,
    WANTED,
    ask,
    come,
    judge,
    see,
    whole,
)
from icapkit.stand import respmod
from icapkit.wire import chunked
from proxykit.samples import program
from secondlook.download.judged_files import BLOCK_BYTES


def test_the_blocks_around_a_piece_are_asked_for_and_its_range_is_handed_on(stand, gatekeeper):
    see(stand)
    judge(stand)
    reply = ask(stand, headers='If-Range: "x"\r\nCache-Control: max-age=0\r\n')
    assert reply.fields["x-second-look-wanted"] == WANTED
    assert reply.head == (
        b"GET http://site.test/a.exe HTTP/1.1\r\nHost: site.test\r\n"
        b'If-Range: "x"\r\nCache-Control: max-age=0\r\nRange: bytes=65536-131071\r\nCache-Control: no-cache\r\n\r\n'
    )
    assert [subject.hashes for how, subject, _, _ in gatekeeper.files()][1:] == [(DIGEST.digest(),)]
    for wanted, asked in (("bytes=-1", b"131072-132071"), ("bytes=5-", b"0-132071")):
        assert b"Range: bytes=%b\r\n" % asked in ask(stand, wanted).head


def test_where_nobody_would_hear_of_it_the_whole_is_asked_for(stand):
    judge(stand)
    assert whole(reply := ask(stand))  # not seen yet
    assert reply.fields["x-second-look-wanted"] == "as-asked"
    see(stand)
    assert not whole(ask(stand))
    for icap in ("", SAYS.replace("Wanted", "Other")):
        assert whole(reply := ask(stand, icap=icap))
        assert "x-second-look-wanted" not in reply.fields


def test_a_gateway_that_keeps_handing_on_is_not_among_what_was_noted_long_ago(stand, tmp_path):
    """The oldest of what is kept beside judged files goes first."""
    see(stand)
    [mark] = (tmp_path / "judged").glob("*.hands-on")
    os.utime(mark, (0, 0))
    see(stand)
    assert mark.stat().st_mtime > 0


@pytest.mark.parametrize(
    ("wanted", "headers"),
    [
        (WANTED, "Cache-Control: only-if-cached\r\n"),
        ("bytes=5-9,70000-70009", ""),
        (f"bytes={SIZE}-", ""),
        ("lines=1-2", ""),
    ],
)
def test_what_is_no_one_piece_of_the_file_is_asked_for_whole(stand, wanted, headers):
    see(stand)
    judge(stand)
    assert whole(ask(stand, wanted, headers=headers))


def test_what_was_not_judged_or_has_larger_blocks_is_asked_for_whole(stand):
    see(stand)
    assert whole(ask(stand))
    judge(stand, block=2 * BLOCK_BYTES, tags=bytes(32))
    assert whole(ask(stand))


def test_a_range_of_what_is_harmless_goes_on_as_asked(stand):
    reply = ask(stand, url="http://site.test/a.mp4")
    assert (reply.status, reply.fields["x-second-look-wanted"]) == (204, "as-asked")


def test_all_of_it_for_if_range_says_nothing_about_its_origin(stand):
    see(stand)
    judge(stand)
    head = respmod(
        "/a.exe",
        kind=KIND,
        length=SIZE,
        asked='Range: bytes=65536-131071\r\nIf-Range: "old"\r\n',
        icap=f"{SAYS}X-Second-Look-Wanted: {WANTED}\r\n",
    )
    stand.run(stand.ask(head + chunked(BODY) + b"0\r\n\r\n"))
    assert not whole(ask(stand))


def test_a_file_that_became_smaller_is_forgotten(stand):
    judge(stand)
    reply = come(stand, b"no", status=416)
    assert reply.status == 204
    assert stand.run(stand.gate.bodies.judged.known(IDENTITY)) is None


def test_a_suffix_of_a_file_that_became_smaller_is_asked_for_again(stand):
    """Its origin was asked for blocks by their places, and has none there: it has a suffix of any length."""
    see(stand)
    judge(stand)
    reply = come(stand, b"no", status=416, wanted="bytes=-500")
    assert reply.head.startswith(b"HTTP/1.1 503 ")
    assert whole(ask(stand, "bytes=-500"))
    head = respmod(
        "/a.exe",
        status=416,
        asked="Range: bytes=131072-132071\r\n",
        icap=f"Allow: 204\r\n{SAYS}X-Second-Look-Wanted: bytes=-500\r\n",
        body=False,
    )
    assert stand.run(stand.ask(head)).head.startswith(b"HTTP/1.1 503 ")


def test_a_file_that_cannot_be_forgotten_is_no_fault(stand, tmp_path, caplog):
    (tmp_path / "judged" / IDENTITY.hex()).mkdir(parents=True)
    assert come(stand, b"no", status=416).status == 204
    assert "could not be answered" not in caplog.text
    assert "is not forgotten" in caplog.text


@pytest.mark.parametrize(
    ("place", "size", "more"),
    [
        ((0, BLOCK_BYTES - 1), SIZE, {"asked": "bytes=0-65535"}),  # not what was asked for
        ((0, 1000), 1000, {}),  # all of it
        (SECOND, SIZE, {"path": "/a", "headers": "Content-Type: video/mp4\r\n"}),  # nothing risky
    ],
)
def test_where_what_was_wanted_is_missing_no_piece_of_a_judged_file_passes(stand, place, size, more):
    path = more.get("path", "/a.exe")
    judge(stand, stand.gatekeeper.subject("http", "site.test", path).identity)
    reply = come(stand, BODY[slice(*place)], place, size=size, wanted="", **more)
    assert reply.head.startswith(b"HTTP/1.1 503 ")


def test_where_what_was_wanted_is_missing_another_piece_than_was_asked_for_does_not_pass(stand):
    place = (0, BLOCK_BYTES - 1)
    reply = come(stand, BODY[slice(*place)], place, wanted="", asked="bytes=0-65535")
    assert not BODY[: BLOCK_BYTES - 1].startswith(reply.body or b"nothing")
    assert reply.head.startswith(b"HTTP/1.1 403")


def test_where_what_was_wanted_is_missing_no_risky_piece_passes_and_the_whole_is_asked_for(stand):
    see(stand)
    judge(stand)
    piece = program(1000)
    reply = come(stand, piece, (0, 1000), wanted="")
    assert reply.head.startswith(b"HTTP/1.1 503 ")
    stand.run(stand.gate.bodies.judged.forget(IDENTITY))
    reply = come(stand, piece, (0, 1000), wanted="")
    assert reply.head.startswith(b"HTTP/1.1 403")
    judge(stand)
    assert whole(ask(stand))
    assert come(stand, piece, (0, 1000), wanted="as-asked").status == 204  # as `downloads.partial` says
