"""A piece that waits for somebody else's fetch of its file comes ahead, and trickles (about 8 s)."""

import asyncio
import contextlib
import email
import hashlib
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.policy import HTTP
from itertools import count
from pathlib import Path

import pytest

from proxykit.gatekeeper import FakeGatekeeper
from proxykit.origin import Asked, Origin, one_range, send, send_piece
from proxykit.proxy import RunningProxy
from proxykit.samples import program
from secondlook.download.body.ranges import read_ranges
from secondlook.download.gate.trickle import PART
from secondlook.download.judged_files import BLOCK_BYTES
from secondlook.proxy.ahead import HELD_MAX_BYTES

BODY = program(900_000)
DIGEST = hashlib.sha256(BODY).hexdigest()
BINARY = "Content-Type: application/octet-stream"
NAMES = count()
WANTED = (300_000, 500_000)  # first byte and count
TOUCHED = "bytes=262144-851967"  # the blocks around them
SMALL = (400_000, 1000)
END = f"-{WANTED[1]}"
SEVERAL = "300000-399999,420000-420099,500000-799999"
WAIT_S = 30


@dataclass
class Halting:
    """An origin that gives the whole up to its half until it may go on, and pieces at once."""

    piece: bytes | None = field(repr=False, default=None)  # what pieces are cut from, in place of the body
    ranges: bool = True
    begun: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    asked: list[str | None] = field(default_factory=list)
    waited: list[bool] = field(default_factory=list)
    body: bytes = field(repr=False, default=BODY)

    async def reply(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        self.asked.append(asked.header("range"))
        wanted = one_range(asked, len(self.body))
        if wanted is not None and self.ranges:
            await send_piece(writer, self.piece or self.body, wanted, BINARY)
            return
        half = len(self.body) // 2
        await send(writer, self.body[:half], f"Content-Length: {len(self.body)}", BINARY, length=False)
        await writer.drain()
        self.begun.set()
        self.waited.append(await asyncio.to_thread(self.go_on.wait, WAIT_S))
        writer.write(self.body[half:])


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory, judge: FakeGatekeeper) -> Iterator[list[RunningProxy]]:
    """Two workers of one installation, whose clients have little patience."""
    state: Path = tmp_path_factory.mktemp("ahead")
    running = [RunningProxy(state, judge, downloads={"patience": 0.05}) for _ in range(2)]
    yield running
    for proxy in running:
        proxy.close()


@pytest.fixture
def halting() -> Iterator[Halting]:
    origin = Halting()
    yield origin
    origin.go_on.set()


def _url(origin: Origin) -> str:
    return f"http{'s' if origin.tls else ''}://127.0.0.1:{origin.port}/{next(NAMES)}/setup.exe"


@contextlib.contextmanager
def _client(
    proxy: RunningProxy, url: str, wanted: tuple[int, int] | str | None, *more: str
) -> Iterator[subprocess.Popen]:
    piece = wanted if isinstance(wanted, str | None) else f"{wanted[0]}-{sum(wanted) - 1}"
    asked = [] if piece is None else ["-r", piece]
    command = ["curl", "-sSN", "-k", "-m", "60", "-x", proxy.url, *asked, *more, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
        assert running.stdout is not None
        yield running
        running.kill()


def _part(wanted: tuple[int, int]) -> bytes:
    return BODY[wanted[0] : sum(wanted)]


@contextlib.contextmanager
def _while_first_waits(worker, url, halting):
    """While a client asks for the beginning, and the origin has begun to answer it and waits."""
    with _client(worker, url, (0, 10)):
        assert halting.begun.wait(WAIT_S)
        yield


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("worker", [0, 1])
@pytest.mark.parametrize("more", [(), ("--http2",)])
def test_who_waits_for_anothers_fetch_gets_a_little(
    workers, gatekeeper, make_origin, halting, listed, worker, more
):
    if listed:
        gatekeeper.bad.add(DIGEST)
    url = _url(make_origin(halting.reply, tls=bool(more)))
    with _client(workers[0], url, (0, 10)) as first:
        assert halting.begun.wait(WAIT_S)
        with _client(workers[worker], url, WANTED, *more) as second:
            got = second.stdout.read(1)
            assert len(got) == 1
            halting.go_on.set()
            got += second.stdout.read()
            code = second.wait()
        assert listed or first.stdout.read() == BODY[:10]
    assert halting.waited == [True]
    assert _part(WANTED).startswith(got)
    assert len(got) <= WANTED[1] // PART if listed else got == _part(WANTED)
    assert (code == 0) is not listed
    assert halting.asked == [None, TOUCHED]  # nothing twice


def _parts(answer: bytes) -> list[tuple[int, bytes]]:
    """Return the first bytes' places and the bytes of a multipart/byteranges answer, with its head."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b" 206" in head[:13]
    assert f"content-length: {len(body)}".encode() in head.lower()
    message = email.message_from_bytes(head.partition(b"\r\n")[2] + b"\r\n\r\n" + body, policy=HTTP)
    return [
        (int(part["content-range"].split()[1].partition("-")[0]), part.get_payload(decode=True))
        for part in message.iter_parts()
    ]


@pytest.mark.parametrize("more", [(), ("--http2",)])
def test_who_wants_a_piece_waits_for_who_wants_the_whole(workers, gatekeeper, make_origin, halting, more):
    url = _url(make_origin(halting.reply, tls=bool(more)))
    with _client(workers[0], url, None, *more) as first, contextlib.ExitStack() as stack:
        assert halting.begun.wait(WAIT_S)
        second = stack.enter_context(_client(workers[1], url, WANTED, *more))
        got = second.stdout.read(1)
        halting.go_on.set()
        assert got + second.stdout.read() == _part(WANTED)
        assert first.stdout.read() == BODY
    assert halting.waited == [True]
    assert halting.asked == [None, TOUCHED]


@pytest.mark.parametrize("worker", [0, 1])
@pytest.mark.parametrize("more", [(), ("--http2",)])
def test_who_waits_for_the_end_of_a_file_gets_a_little(
    workers, gatekeeper, make_origin, halting, worker, more
):
    url = _url(make_origin(halting.reply, tls=bool(more)))
    with _while_first_waits(workers[0], url, halting), _client(workers[worker], url, END, *more) as second:
        got = second.stdout.read(1)
        halting.go_on.set()
        assert got + second.stdout.read() == BODY[-WANTED[1] :]
    assert halting.waited == [True]
    assert halting.asked == [None, f"bytes=-{WANTED[1] + BLOCK_BYTES - 1}"]


@pytest.mark.parametrize("worker", [0, 1])
@pytest.mark.parametrize("more", [(), ("--http2",)])
def test_who_waits_for_several_ranges_gets_a_little(workers, gatekeeper, make_origin, halting, worker, more):
    url = _url(make_origin(halting.reply, tls=bool(more)))
    inside = ("-i", "--suppress-connect-headers", *more)
    with (
        _while_first_waits(workers[0], url, halting),
        _client(workers[worker], url, SEVERAL, *inside) as second,
    ):
        got = second.stdout.read(2000)
        assert BODY[300_000:301_000] in got
        halting.go_on.set()
        parts = _parts(got + second.stdout.read())
    wanted = read_ranges(f"bytes={SEVERAL}", None).windows(len(BODY))
    assert parts == [(first, BODY[first : first + count]) for first, count in wanted]
    assert halting.waited == [True]
    assert halting.asked == [None, "bytes=262144-851967"]


@pytest.mark.parametrize("asked", [END, SEVERAL])
def test_neither_the_end_nor_several_ranges_of_a_listed_file_come(
    workers, gatekeeper, make_origin, halting, asked
):
    gatekeeper.bad.add(DIGEST)
    url = _url(make_origin(halting.reply))
    with _while_first_waits(workers[0], url, halting), _client(workers[1], url, asked) as second:
        got = second.stdout.read(1)
        halting.go_on.set()
        got += second.stdout.read()
        assert second.wait() != 0
    assert halting.waited == [True]
    assert len(got) <= WANTED[1] // PART + 1000  # and the heads of parts


@pytest.mark.parametrize("asked", [SMALL, f"-{SMALL[1]}", "400000-400099,400200-400299"])
def test_little_of_a_listed_file_gets_the_page_whatever_was_asked_for(
    workers, gatekeeper, make_origin, halting, asked
):
    gatekeeper.bad.add(DIGEST)
    url = _url(make_origin(halting.reply))
    with _while_first_waits(workers[0], url, halting), _client(workers[1], url, asked, "-i") as second:
        _until(lambda: len(halting.asked) == 2)
        halting.go_on.set()
        assert second.stdout.read().startswith(b"HTTP/1.1 403")


def test_the_end_and_a_piece_wait_and_are_answered_as_asked(workers, gatekeeper, make_origin, halting):
    """Nobody knows where they lie to each other before the size is known: so nothing comes ahead."""
    url = _url(make_origin(halting.reply))
    with (
        _while_first_waits(workers[0], url, halting),
        _client(workers[1], url, "800000-800009,-5", "-i") as second,
    ):
        _until(lambda: workers[1].worker.listener.open_connections == 1)
        halting.go_on.set()
        assert _parts(second.stdout.read()) == [(800_000, BODY[800_000:800_010]), (899_995, BODY[-5:])]
    assert halting.asked == [None, "bytes=786432-899999"]


@pytest.mark.parametrize("listed", [False, True])
def test_who_fetches_and_wants_several_ranges_gets_a_little_too(
    workers, gatekeeper, make_origin, halting, listed
):
    if listed:
        gatekeeper.bad.add(DIGEST)
    url = _url(make_origin(halting.reply))
    with _client(workers[0], url, "100000-399999,420000-420099", "-i") as client:
        got = client.stdout.read(2000)
        assert BODY[100_000:101_000] in got
        halting.go_on.set()
        got += client.stdout.read()
        assert (client.wait() == 0) is not listed
    assert halting.waited == [True]
    if not listed:
        assert _parts(got) == [(100_000, BODY[100_000:400_000]), (420_000, BODY[420_000:420_100])]


@pytest.mark.parametrize("more", [(), ("--http2",)])
def test_a_large_piece_is_held_in_part_and_comes_whole(workers, gatekeeper, make_origin, halting, more):
    halting.body = program(4 * HELD_MAX_BYTES)
    url = _url(make_origin(halting.reply, tls=bool(more)))
    wanted = (7, 4 * HELD_MAX_BYTES - 7)
    with _while_first_waits(workers[0], url, halting), _client(workers[1], url, wanted, *more) as second:
        got = second.stdout.read(1)
        halting.go_on.set()
        assert got + second.stdout.read() == halting.body[7:]
    assert halting.waited == [True]


def test_a_piece_that_is_not_of_the_judged_file_is_cut(workers, gatekeeper, make_origin, halting):
    halting.piece = BODY[:700_000] + bytes(200_000)
    url = _url(make_origin(halting.reply))
    with _while_first_waits(workers[0], url, halting), _client(workers[1], url, WANTED) as second:
        got = second.stdout.read(1)
        halting.go_on.set()
        got += second.stdout.read()
        assert second.wait() != 0
    assert len(got) <= 700_000 - WANTED[0]
    assert BODY[WANTED[0] :].startswith(got)


def test_a_small_piece_that_is_not_of_the_judged_file_is_sliced_from_the_whole(
    workers, gatekeeper, make_origin, halting
):
    halting.piece = bytes(len(BODY))
    url = _url(make_origin(halting.reply))
    with _while_first_waits(workers[0], url, halting), _client(workers[1], url, SMALL) as second:
        _until(lambda: len(halting.asked) == 2)
        halting.go_on.set()
        assert second.stdout.read() == _part(SMALL)
    assert halting.asked[2:] == [None]


@pytest.mark.parametrize("wanted", [WANTED, SMALL])
def test_when_who_fetches_goes_away_the_piece_is_cut_or_asked_for_whole(
    workers, gatekeeper, make_origin, halting, wanted
):
    url = _url(make_origin(halting.reply))
    with contextlib.ExitStack() as stack:
        with _client(workers[0], url, (0, 10)):
            assert halting.begun.wait(WAIT_S)
            second = stack.enter_context(_client(workers[1], url, wanted))
            _until(lambda: len(halting.asked) == 2)
            got = second.stdout.read(1) if wanted == WANTED else b""
        if wanted == WANTED:
            got += second.stdout.read()
            assert second.wait() != 0
            assert _part(WANTED).startswith(got)
            assert len(got) <= WANTED[1] // PART
        else:
            _until(lambda: halting.asked[2:] == [None])
            halting.go_on.set()
            assert second.stdout.read() == _part(SMALL)


def test_an_origin_without_ranges_gives_the_whole(workers, gatekeeper, make_origin, halting):
    halting.ranges = False
    url = _url(make_origin(halting.reply))
    with _while_first_waits(workers[0], url, halting), _client(workers[1], url, WANTED) as second:
        got = second.stdout.read(1)
        halting.go_on.set()
        assert got + second.stdout.read() == _part(WANTED)


@pytest.mark.parametrize("settings", [{"hold": "full"}, {"patience": 0}])
def test_without_patience_nothing_comes_ahead(make_proxy, gatekeeper, make_origin, halting, settings):
    proxy = make_proxy(downloads={"patience": 0.02, **settings})
    url = _url(make_origin(halting.reply))
    with _client(proxy, url, (0, 10)), contextlib.ExitStack() as stack:
        assert halting.begun.wait(WAIT_S)
        second = stack.enter_context(_client(proxy, url, WANTED))
        _until(lambda: proxy.worker.listener.open_connections == 2)
        halting.go_on.set()
        assert second.stdout.read() == _part(WANTED)
    assert halting.asked == [None, TOUCHED]


def _until(come) -> None:
    waiting = threading.Event()
    for _ in range(600):
        if come():
            return
        waiting.wait(0.05)
    raise AssertionError("it did not come")
