"""What a state of the gate holds of a body: the end of a download goes on for nobody before its verdict."""

import asyncio
from dataclasses import replace

import pytest

from proxykit.gate import LIMITS
from proxykit.samples import program
from secondlook.download.body.body_type import declared
from secondlook.download.body.inspection import BodyLook
from secondlook.download.gate import gate_state
from secondlook.download.gate.gate_state import Tail
from secondlook.download.gate.spool import Spool, SpoolRoom

SIZE = 9000
BODY = program(SIZE)
END = 900  # a tenth: LIMITS.tail_part
LAST = 400


def make_look() -> BodyLook:
    return BodyLook(
        declared("application/x-msdownload", None, "/file"), None, kinds=frozenset(), ratio=100, layers=4,
        multipart=False,
    )  # fmt: skip


def feed(tail: Tail, look: BodyLook, data: bytes) -> bytes:
    look.feed(data)
    return tail.feed(data, look)


@pytest.fixture(autouse=True)
def last_bytes(monkeypatch):
    """The last bytes received are fewer than the end of the length, as they are of a body of many megabytes."""
    monkeypatch.setattr(gate_state, "LAST_MEMORY_BYTES", LAST)


@pytest.fixture
def room(tmp_path):
    room = SpoolRoom(tmp_path / "spool", 1 << 20, 256)
    yield room
    room.close()


@pytest.fixture
def nothing_fits(tmp_path):
    room = SpoolRoom(tmp_path / "spool", 0, 0)
    yield room
    room.close()


@pytest.mark.parametrize("piece", [1, 77, 1000, SIZE])
def test_the_end_of_a_declared_length_is_withheld(room, piece):
    async def story():
        tail, look, went = Tail(SIZE, LIMITS, room), make_look(), b""
        for at in range(0, SIZE, piece):
            went += feed(tail, look, BODY[at : at + piece])
        assert went == BODY[: SIZE - END]
        held = b""
        if tail.spool is not None:
            while found := await tail.spool.read():
                held += found
            tail.spool.close()
        assert went + held + tail.take_piece() == BODY

    asyncio.run(story())


def test_what_no_disk_takes_of_the_end_waits_in_memory(nothing_fits):
    async def story():
        tail, look, went = Tail(SIZE, LIMITS, nothing_fits), make_look(), b""
        for at in range(0, SIZE, 100):
            went += feed(tail, look, BODY[at : at + 100])
        assert went == BODY[: SIZE - END]
        assert tail.in_memory
        assert went + tail.take_piece() == BODY

    asyncio.run(story())


def test_the_last_bytes_of_an_unknown_length_are_withheld(room):
    tail, look = Tail(None, LIMITS, room), make_look()
    assert feed(tail, look, BODY[:300]) == b""
    assert tail.has_all(300)
    assert feed(tail, look, BODY[300:400]) == BODY[:100]
    assert not tail.has_all(400)
    assert feed(tail, look, BODY[400:]) == BODY[100 : SIZE - END]
    assert tail.take_piece() == BODY[SIZE - END :]


def test_a_length_that_is_too_long_withholds_the_last_bytes_all_the_same(room):
    tail, look = Tail(100 * SIZE, LIMITS, room), make_look()
    assert feed(tail, look, BODY) == BODY[: SIZE - LAST]
    assert tail.spool is None
    assert tail.take_piece() == BODY[SIZE - LAST :]


@pytest.mark.parametrize(
    ("size", "copies", "uncopied"),
    [
        (5000, 0, None),
        (5001, 0, "larger than downloads.archives.max_bytes"),
        (5001, 6000, None),
        (6001, 6000, "larger than scan.yara.max_bytes"),
    ],
)
def test_a_copy_has_a_size(room, size, copies, uncopied):
    tail = Tail(size, replace(LIMITS, copy_up_to=copies), room)
    tail.choose_copy(size)
    assert tail.uncopied == uncopied
    assert tail.copying is tail.in_memory is (uncopied is None)


def test_a_copy_that_grows_too_large_is_given_up_and_says_why(room):
    async def story():
        tail, look = Tail(None, LIMITS, room), make_look()
        tail.choose_copy(0)
        data = b"PK\x03\x04" + BODY
        feed(tail, look, data[:5000])
        assert tail.copying
        assert tail.spool is not None
        assert tail.spool.size == 5000
        await tail.spool.settle()
        feed(tail, look, data[5000:5001])
        assert not tail.copying
        assert tail.spool is None
        assert tail.uncopied == "larger than downloads.archives.max_bytes"
        assert room.left_bytes == 1 << 20

    asyncio.run(story())


def test_what_was_held_goes_on_before_what_came_after_it(room):
    async def story():
        tail, look, spool = Tail(None, LIMITS, room), make_look(), Spool(room)
        look.feed(BODY[:2000])
        spool.put(BODY[:2000])
        look.feed(BODY[2000:])
        after = tail.take_over(spool, BODY[2000:], look)
        assert tail.releasing
        before = b""
        while found := await spool.read():
            before += found
        tail.released(look)
        assert not tail.releasing
        assert tail.spool is None
        assert room.left_bytes == 1 << 20  # what has gone on needs no room
        assert before + after + tail.take_piece() == BODY
        assert len(before + after) <= SIZE - END

    asyncio.run(story())


def test_a_piece_of_the_end_is_taken_from_its_front(nothing_fits):
    tail, look = Tail(SIZE, LIMITS, nothing_fits), make_look()
    feed(tail, look, BODY)
    assert tail.end_bytes == END - LAST
    assert tail.take(100) + tail.take(100) == BODY[SIZE - END :][:200]
    assert tail.end_bytes == END - LAST - 200
    assert tail.take_piece() == BODY[SIZE - END + 200 :]
