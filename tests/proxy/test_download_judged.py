"""A file that was judged once costs its pieces, which are held to what was judged (about 6 s)."""

import asyncio
import concurrent.futures
import email
import hashlib
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
from secondlook.download.judged_files import BLOCK_BYTES

MB = 1_000_000
BODY = program(20 * MB)
BINARY = "Content-Type: application/octet-stream"
NAMES = count()


@dataclass
class Server:
    """An origin that obeys Range, without ETag or date; it counts what it sends, and may lie in pieces."""

    body: bytes = field(repr=False, default=BODY)
    evil: bytes | None = field(repr=False, default=None)  # what pieces are cut from
    evil_from: int = 0
    no_such: bytes = b""  # the body of a 416
    sent: int = 0
    ranges: list[str | None] = field(default_factory=list)

    async def reply(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.header("if-none-match") is not None:
            await send(writer, b"", status="304 Not Modified", length=False)
            return
        self.ranges.append(asked.header("range"))
        wanted = one_range(asked, len(self.body))
        if wanted is None:
            self.sent += len(self.body)
            await send(writer, self.body, BINARY)
            return
        first, last = wanted
        if first > last:
            await send(
                writer, self.no_such, f"Content-Range: bytes */{len(self.body)}", status="416 Unsatisfiable"
            )
            return
        body = self.body
        if self.evil is not None and self.evil_from <= last:
            body = body[: self.evil_from] + self.evil[self.evil_from :]
        self.sent += last + 1 - first
        await send_piece(writer, body, wanted, BINARY)


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory, judge: FakeGatekeeper) -> Iterator[list[RunningProxy]]:
    """Two workers of one installation, as far as they share anything: its folder."""
    state: Path = tmp_path_factory.mktemp("judged")
    running = [RunningProxy(state, judge) for _ in range(2)]
    yield running
    for proxy in running:
        proxy.close()


def _url(origin: Origin, name: str = "setup.exe") -> str:
    return f"http://127.0.0.1:{origin.port}/{next(NAMES)}/{name}"


@pytest.mark.parametrize("name", ["setup.exe", "thing"])
def test_twenty_pieces_cost_one_whole_and_the_pieces(workers, gatekeeper, make_origin, curl, name):
    server = Server()
    url = _url(make_origin(server.reply), name)

    def piece(index: int) -> bytes:
        return curl(workers[index % 2], "-r", f"{index * MB}-{index * MB + MB - 1}", url).stdout

    with concurrent.futures.ThreadPoolExecutor(6) as six:
        got = list(six.map(piece, range(20)))
    assert b"".join(got) == BODY
    assert server.sent <= 2.3 * len(BODY)
    assert server.ranges.count(None) == 1
    judged = {subject.hashes[0] for _, subject, _, _ in gatekeeper.files()}
    assert judged == {hashlib.sha256(BODY).digest()}


def test_a_piece_after_a_whole_download_costs_a_piece_in_every_worker(workers, gatekeeper, make_origin, curl):
    server = Server()
    url = _url(make_origin(server.reply))
    assert curl(workers[0], url).stdout == BODY
    server.sent = 0
    for worker in workers:
        head, _, body = curl(worker, "-i", "-r", "5000000-5999999", url).stdout.partition(b"\r\n\r\n")
        assert b" 206 " in head
        assert f"content-range: bytes 5000000-5999999/{len(BODY)}".encode() in head.lower()
        assert body == BODY[5 * MB : 6 * MB]
    assert server.sent <= 2 * (MB + 2 * BLOCK_BYTES)


@pytest.mark.parametrize("wanted", ["0-0", "65535-65536", "-1", "-70000", "19999999-", "0-", "7-19999998"])
def test_any_piece_of_what_was_judged(workers, gatekeeper, make_origin, curl, wanted):
    server = Server()
    url = _url(make_origin(server.reply))
    assert curl(workers[0], "-r", "0-9", url).stdout == BODY[:10]
    first, _, last = wanted.partition("-")
    start, end = (len(BODY) - int(last), len(BODY)) if not first else (int(first), int(last or len(BODY)) + 1)
    assert curl(workers[1], "-r", wanted, url).stdout == BODY[start:end]
    assert server.ranges[1] is not None


@pytest.mark.parametrize(
    "wanted", ["5-9,100-200000,19999990-", "-5,7-7", "3-3,0-0", "100-199,150-299,300-300"]
)
def test_several_ranges_are_answered_as_asked(workers, gatekeeper, make_origin, curl, wanted):
    server = Server()
    url = _url(make_origin(server.reply))
    expected = [
        (first, BODY[first : first + count])
        for first, count in read_ranges(f"bytes={wanted}", None).windows(len(BODY))
    ]
    for worker in workers:  # cut from the whole that is judged, then out of a piece of it
        head, _, body = curl(worker, "-i", "-r", wanted, url).stdout.partition(b"\r\n\r\n")
        assert b" 206 " in head
        assert f"content-length: {len(body)}".encode() in head.lower()
        if len(expected) == 1:
            assert body == expected[0][1]
            continue
        message = email.message_from_bytes(head.partition(b"\r\n")[2] + b"\r\n\r\n" + body, policy=HTTP)
        parts = [
            (int(part["content-range"].split()[1].partition("-")[0]), part.get_payload(decode=True))
            for part in message.iter_parts()
        ]
        assert parts == expected
    assert server.ranges.count(None) == 1


def test_a_listed_file_does_not_come_in_several_ranges_of_what_was_judged(
    workers, gatekeeper, make_origin, curl
):
    url = _url(make_origin(Server().reply))
    assert curl(workers[0], "-r", "0-9", url).stdout == BODY[:10]
    gatekeeper.bad.add(hashlib.sha256(BODY).hexdigest())
    assert curl(workers[1], "-i", "-r", "5-9,100-", url).stdout.startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize("evil_from", [0, 5 * MB + 300_000])
def test_a_piece_that_is_not_of_what_was_judged_does_not_pass(
    workers, gatekeeper, make_origin, curl, evil_from
):
    evil = program(len(BODY), seed=1)
    server = Server(evil=evil, evil_from=evil_from)
    url = _url(make_origin(server.reply))
    assert curl(workers[0], url).stdout == BODY
    done = curl(workers[1], "-r", "5000000-5999999", url)
    assert BODY[5 * MB : 6 * MB].startswith(done.stdout)
    assert (done.returncode == 0) == (evil_from == 0)  # asked for whole, or cut
    assert server.ranges.count(None) == (2 if evil_from == 0 else 1)
    event = workers[1].log.events[-1]
    assert (event.kind, event.stage, event.url, event.client) == ("error", "pieces", url, "127.0.0.1")
    assert "not of the file that was judged" in event.detail


def test_a_file_that_is_listed_by_now_does_not_come_in_pieces(workers, gatekeeper, make_origin, curl):
    server = Server()
    url = _url(make_origin(server.reply))
    assert curl(workers[0], url).stdout == BODY
    gatekeeper.bad.add(hashlib.sha256(BODY).hexdigest())
    before = len(server.ranges)
    for worker in workers:
        assert curl(worker, "-i", "-r", "0-9", url).stdout.startswith(b"HTTP/1.1 403")
    assert len(server.ranges) == before  # nobody asked the origin


def test_who_has_kept_a_file_that_is_listed_by_now_is_not_let_go_on_with_it(
    workers, gatekeeper, make_origin, curl
):
    url, kept = _url(make_origin(Server(body=program(1000)).reply)), ("-i", "-H", 'If-None-Match: "1"')
    assert curl(workers[0], *kept, url).stdout.startswith(b"HTTP/1.1 304"), "nothing is known of it"
    assert curl(workers[0], url).stdout == program(1000)
    assert curl(workers[0], *kept, url).stdout.startswith(b"HTTP/1.1 304")
    gatekeeper.bad.add(hashlib.sha256(program(1000)).hexdigest())
    for worker in workers:
        assert curl(worker, *kept, url).stdout.startswith(b"HTTP/1.1 403")


def test_another_file_of_the_same_length_is_judged_anew(workers, gatekeeper, make_origin, curl):
    server = Server()
    url = _url(make_origin(server.reply))
    assert curl(workers[0], "-r", "0-9", url).stdout == BODY[:10]
    server.body = program(len(BODY), seed=2)
    gatekeeper.bad.add(hashlib.sha256(server.body).hexdigest())
    assert curl(workers[1], "-i", "-r", "0-9", url).stdout.startswith(b"HTTP/1.1 403")
    gatekeeper.bad.clear()
    assert curl(workers[0], "-r", "0-99", url).stdout == server.body[:100]


@pytest.mark.parametrize("said", [b"", b"no such bytes"])
def test_the_end_of_a_file_that_is_shorter_by_now_is_that_of_the_new_one(
    workers, gatekeeper, make_origin, curl, said
):
    server = Server(body=program(9 * BLOCK_BYTES), no_such=said)
    url = _url(make_origin(server.reply))
    assert curl(workers[0], url).stdout == server.body
    server.body = program(2 * BLOCK_BYTES, seed=3)
    assert curl(workers[1], "-i", "-r", f"{8 * BLOCK_BYTES}-", url).stdout.startswith(b"HTTP/1.1 416")
    assert curl(workers[1], "-r", "-100", url).stdout == server.body[-100:]


def test_another_file_of_another_length_is_judged_anew(workers, gatekeeper, make_origin, curl):
    server = Server()
    url = _url(make_origin(server.reply))
    assert curl(workers[0], "-r", "0-9", url).stdout == BODY[:10]
    server.body = program(MB, seed=2)
    gatekeeper.bad.add(hashlib.sha256(server.body).hexdigest())
    assert curl(workers[1], "-i", "-r", "0-9", url).stdout.startswith(b"HTTP/1.1 403")


def test_where_nothing_can_be_kept_the_whole_is_asked_for(make_proxy, tmp_path, make_origin, curl):
    (tmp_path / "state0").mkdir()
    (tmp_path / "state0" / "judged").touch()  # no folder can be made there
    proxy = make_proxy()
    url = _url(make_origin(Server().reply))
    for _ in range(2):
        assert curl(proxy, "-r", "5-9", url).stdout == BODY[5:10]


def test_who_waits_is_refused_with_the_one_who_asked(workers, gatekeeper, make_origin, curl):
    gatekeeper.bad.add(hashlib.sha256(BODY).hexdigest())
    server = Server()
    url = _url(make_origin(server.reply))

    def piece(index: int) -> bytes:
        return curl(workers[index % 2], "-i", "-r", f"{index * MB}-{index * MB + MB - 1}", url).stdout

    with concurrent.futures.ThreadPoolExecutor(4) as four:
        assert all(answer.startswith(b"HTTP/1.1 403") for answer in four.map(piece, range(4)))


def test_when_who_asked_goes_away_the_next_one_asks(workers, gatekeeper, make_origin, curl):
    server = Server()
    honest, begun = server.reply, threading.Event()

    async def halting(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if begun.is_set():
            await honest(asked, writer)
            return
        begun.set()
        await send(writer, BODY[:MB], BINARY, f"Content-Length: {len(BODY)}", length=False)

    url = _url(make_origin(halting))
    with concurrent.futures.ThreadPoolExecutor(2) as two:
        gone = two.submit(curl, workers[0], "-r", "0-9", url, timeout_s=2)
        assert begun.wait(60)
        assert curl(workers[1], "-r", "10-19", url).stdout == BODY[10:20]
        assert gone.result().returncode != 0
