"""What comes of the blocks around a piece, through ICAP: proved and cut, or nothing of it goes on."""

import asyncio
import contextlib
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from icapkit.pieces import (
    BODY,
    DIGEST,
    IDENTITY,
    KIND,
    SAYS,
    SECOND,
    SIZE,
    URL,
    WANTED,
    ask,
    come,
    judge,
    see,
    whole,
)
from icapkit.stand import respmod
from icapkit.wire import chunked
from secondlook.core.event import EventKind
from secondlook.core.subject import FileSubject
from secondlook.download.judged_files import BLOCK_BYTES


def test_a_file_that_is_listed_by_now_does_not_come_in_pieces(stand, gatekeeper):
    see(stand)
    judge(stand)
    gatekeeper.bad.add(DIGEST.hexdigest())
    assert ask(stand).head.startswith(b"HTTP/1.1 403")
    gatekeeper.bad.clear()
    assert not whole(ask(stand))
    gatekeeper.bad.add(DIGEST.hexdigest())  # between the two halves
    assert come(stand, BODY[slice(*SECOND)]).head.startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize("problem", [None, "encrypted"])
def test_whether_a_client_may_have_what_is_kept_by_now_is_asked_before_it_comes(stand, gatekeeper, problem):
    """Somebody else may have fetched another file since REQMOD let a piece through."""
    judge(stand, problem=problem)
    if problem is None:
        gatekeeper.slow.add(DIGEST.hexdigest())  # memory does not know it
        gatekeeper.bad.add(DIGEST.hexdigest())
    else:
        gatekeeper.unverifiable_blocks = True
    assert come(stand, BODY[slice(*SECOND)]).head.startswith(b"HTTP/1.1 403")
    gatekeeper.bad.clear()
    gatekeeper.unverifiable_blocks = False
    assert come(stand, BODY[slice(*SECOND)]).body == BODY[70_000:70_010]


def test_a_fault_never_lets_blocks_pass_that_nobody_proved(stand, gatekeeper, monkeypatch):
    judge(stand)
    with monkeypatch.context() as patched:
        patched.setattr(stand.gate.bodies.judged, "key", b"no key")
        reply = come(stand, BODY[slice(*SECOND)])
        assert (reply.status, reply.head[:13]) in {(200, b"HTTP/1.1 503 "), (0, b"")}
        assert BODY[70_000:70_010] not in reply.body
    gatekeeper.faults.add("check_now")
    for wanted, status in ((WANTED, 200), ("", 200), ("as-asked", 204)):
        reply = come(stand, BODY[slice(*SECOND)], wanted=wanted)
        assert (reply.status, reply.head.startswith(b"HTTP/1.1 503 ")) == (status, status == 200)


def test_where_another_piece_had_the_file_forgotten_nobody_is_accused(stand):
    see(stand)
    judge(stand)
    assert not whole(ask(stand))
    stand.run(stand.gate.bodies.judged.forget(IDENTITY))
    assert come(stand, BODY[slice(*SECOND)]).head.startswith(b"HTTP/1.1 503 ")
    smaller = FileSubject((DIGEST.digest(),), size=BLOCK_BYTES)
    judge(stand, size=BLOCK_BYTES, tags=bytes(16), subject=smaller)
    assert come(stand, BODY[slice(*SECOND)]).head.startswith(b"HTTP/1.1 503 ")
    assert stand.events == []
    judge(stand)
    assert not whole(ask(stand))


def test_pieces_at_once_of_a_file_that_changed_are_one_event(stand):
    judge(stand)
    head = respmod(
        "/a.exe",
        kind=KIND,
        length=BLOCK_BYTES,
        status=206,
        headers=f"Content-Range: bytes {BLOCK_BYTES}-{2 * BLOCK_BYTES - 1}/{SIZE}\r\n",
        asked="Range: bytes=65536-131071\r\n",
        icap=f"Preview: 4\r\n{SAYS}X-Second-Look-Wanted: {WANTED}\r\n",
    )

    async def both():
        gateways = [await stand.connect() for _ in range(2)]
        for gateway in gateways:
            await gateway.send(head + chunked(bytes(4)) + b"0\r\n\r\n")
            assert (await gateway.head()).status == 100
        for gateway in gateways:
            await gateway.send(chunked(bytes(BLOCK_BYTES - 4)) + b"0\r\n\r\n")
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await gateway.reply()  # refused, or cut

    stand.run(both())
    assert [each.kind for each in stand.events] == [EventKind.ERROR]


def test_what_was_wanted_is_cut_out_of_what_was_proved(stand):
    judge(stand)
    reply = come(stand, BODY[slice(*SECOND)])
    assert (reply.status, reply.body, reply.whole) == (200, BODY[70_000:70_010], True)
    assert reply.head.startswith(b"HTTP/1.1 206 ")
    assert b"content-length: 10\r\ncontent-range: bytes 70000-70009/%d\r\n" % SIZE in reply.head
    assert reply.head.lower().count(b"content-range") == 1


@pytest.mark.parametrize(
    "more",
    [
        {"place": (0, BLOCK_BYTES)},
        {"size": SIZE + 1},
        {"length": BLOCK_BYTES - 1},
        {"wanted": "nonsense"},
        {"wanted": "bytes=5-9"},
        {"headers": "Content-Encoding: deflate\r\n"},
        {"headers": "Content-Type: multipart/byteranges; boundary=x\r\n"},
    ],
)
def test_a_piece_that_was_not_asked_for_does_not_begin(stand, more):
    judge(stand)
    reply = come(stand, BODY[slice(*SECOND)], **more)
    assert reply.head.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 1\r\n" in reply.head
    [event] = [each for each in stand.events if each.kind is EventKind.ERROR]
    assert (event.stage, event.url, event.gateway) == ("pieces", URL, "our squid")


def test_after_a_piece_of_another_file_the_whole_is_asked_for(stand):
    see(stand)
    judge(stand)
    bad = bytearray(BODY[2 * BLOCK_BYTES :])
    bad[-1] ^= 1
    reply = come(stand, bytes(bad), (2 * BLOCK_BYTES, SIZE), wanted="bytes=-5")
    assert reply.head.startswith(b"HTTP/1.1 503 ")
    assert stand.run(stand.gate.bodies.judged.known(IDENTITY)) is None
    judge(stand)
    assert whole(ask(stand))  # an origin that gives another each time


def test_a_piece_that_ends_early_is_seen_to(stand):
    judge(stand)
    assert come(stand, BODY[BLOCK_BYTES : BLOCK_BYTES + 500], length=BLOCK_BYTES).head.startswith(
        b"HTTP/1.1 503 "
    )
    short = come(stand, BODY[: BLOCK_BYTES + 500], (0, SIZE), wanted="bytes=0-", length=SIZE)
    assert (short.whole, BODY.startswith(short.body)) == (False, True)


def test_all_of_it_in_place_of_a_piece_is_judged_and_says_no_length(stand, gatekeeper, tmp_path):
    """Squid cuts the blocks out of what has a length where it is set to fetch wholes (`range_offset_limit`)."""
    see(stand)
    judge(stand)
    reply = come(stand, BODY, status=200)
    assert (reply.status, reply.body, reply.whole) == (200, BODY, True)
    assert reply.head.startswith(b"HTTP/1.1 200 ")
    assert b"content-length" not in reply.head.lower()
    assert whole(ask(stand))  # such an origin gives no pieces
    [mark] = (tmp_path / "judged").glob("*.ask-whole")
    os.utime(mark, (0, 0))
    assert not whole(ask(stand))  # though by now it may
    gatekeeper.bad.add(DIGEST.hexdigest())
    assert come(stand, BODY, status=200).head.startswith(b"HTTP/1.1 403")


def test_a_gateway_that_reads_on_only_once_its_client_gets_something_does_not_stop(stand):
    """Squid's bug 5352: its buffer is a byte smaller than a block."""
    judge(stand)
    head = respmod(
        "/a.exe",
        kind=KIND,
        status=206,
        headers=f"Content-Range: bytes 0-{SIZE - 1}/{SIZE}\r\n",
        asked=f"Range: bytes=0-{SIZE - 1}\r\n",
        icap=f"{SAYS}X-Second-Look-Wanted: bytes=0-\r\n",
    )

    async def story():
        gateway = await stand.connect()
        await gateway.send(head + chunked(BODY[: BLOCK_BYTES - 1], 1 << 20))
        reply = await gateway.head()
        await gateway.send(chunked(BODY[BLOCK_BYTES - 1 : BLOCK_BYTES]))
        await gateway.body(
            reply, BLOCK_BYTES
        )  # the last byte of the block too, though the next does not come
        return reply

    assert stand.run(story()).body == BODY[:BLOCK_BYTES]


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_nothing_of_another_file_passes_and_what_passes_is_what_was_wanted(stand, data):
    first = data.draw(st.integers(0, SIZE - 1))
    last = data.draw(st.integers(first, SIZE - 1))
    judge(stand)
    asked = (first // BLOCK_BYTES * BLOCK_BYTES, min(SIZE, (last // BLOCK_BYTES + 1) * BLOCK_BYTES))
    piece = bytearray(BODY[slice(*asked)])
    changed = data.draw(st.none() | st.integers(0, len(piece) - 1), label="changed")
    if changed is not None:
        piece[changed] ^= 1
    sent = data.draw(st.just(len(piece)) | st.integers(0, len(piece)), label="sent")
    reply = come(stand, bytes(piece[:sent]), asked, wanted=f"bytes={first}-{last}", length=len(piece))
    wanted = BODY[first : last + 1]
    if changed is None and sent == len(piece):
        assert (reply.body, reply.whole) == (wanted, True)
    elif reply.head.startswith(b"HTTP/1.1 206"):
        at = sent if changed is None else min(changed, sent)
        proved = (asked[0] + at) // BLOCK_BYTES * BLOCK_BYTES
        assert (reply.whole, reply.body == BODY[first:proved][: len(reply.body)]) == (False, True)
        assert len(reply.body) < len(wanted)
    else:
        assert reply.head.startswith(b"HTTP/1.1 503 ") or not reply.head
