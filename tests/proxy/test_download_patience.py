"""A client that waits for a held body gets a little of it, never all of what is listed (about 8 s)."""

import asyncio
import contextlib
import gzip
import hashlib
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import pytest

from proxykit.gatekeeper import FakeGatekeeper
from proxykit.origin import Asked, Origin, send
from proxykit.proxy import RunningProxy
from proxykit.samples import program, prose, zipped
from secondlook.download.gate.trickle import PART

BODY = program(900_000)
PATIENCE = {"patience": 0.02}
BINARY = "Content-Type: application/octet-stream"
NAMES = count()


@dataclass
class Slow:
    """An origin that sends the rest of a body only when its client has had something of it."""

    body: bytes = field(repr=False, default=BODY)
    headers: tuple[str, ...] = (BINARY,)
    chunked: bool = False
    at_once: bool = False  # the verdict is what is slow
    seen: threading.Event = field(default_factory=threading.Event)
    waited: list[bool] = field(default_factory=list)

    async def reply(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        size = len(self.body)
        first, rest = (
            (self.body, b"") if self.at_once else (self.body[: size * 9 // 10], self.body[size * 9 // 10 :])
        )
        if self.chunked:
            lines = ["HTTP/1.1 200 OK", *self.headers, "Transfer-Encoding: chunked", "", ""]
            writer.write("\r\n".join(lines).encode() + b"%x\r\n%s\r\n" % (len(first), first))
        else:
            await send(writer, first, f"Content-Length: {size}", *self.headers, length=False)
        await writer.drain()
        if not self.at_once:
            self.waited.append(await asyncio.to_thread(self.seen.wait, 30))
        writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(rest), rest) if self.chunked else rest)


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory, judge: FakeGatekeeper) -> Iterator[RunningProxy]:
    proxy = RunningProxy(tmp_path_factory.mktemp("patience"), judge, downloads=PATIENCE)
    yield proxy
    proxy.close()


def _url(origin: Origin, name: str = "setup.exe") -> str:
    return f"http{'s' if origin.tls else ''}://127.0.0.1:{origin.port}/{next(NAMES)}/{name}"


@contextlib.contextmanager
def _client(proxy: RunningProxy, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    command = ["curl", "-sSN", "-k", "-m", "60", "-x", proxy.url, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
        yield running


def _fetch(proxy: RunningProxy, go_on: threading.Event, *arguments: str) -> tuple[bytes, int]:
    """Fetch; what is waited for goes on once the client has had its first byte of the body."""
    with _client(proxy, *arguments) as running:
        assert running.stdout is not None
        first = running.stdout.read(1)
        go_on.set()
        return first + running.stdout.read(), running.wait()


WAYS = {
    "length": ((), Slow()),
    "chunked": ((), Slow(chunked=True)),
    "HTTP/1.0": (("--http1.0",), Slow()),
    "HTTP/2": (("--http2",), Slow()),
    "HTTP/2 without a length": (("--http2",), Slow(chunked=True)),
    "encoded": ((), Slow(gzip.compress(BODY, 0), (BINARY, "Content-Encoding: gzip"))),
    "archive": ((), Slow(zipped({"a.exe": BODY}, 0), ("Content-Type: application/zip",))),
    "page": ((), Slow(prose(200_000), ("Content-Type: text/plain",))),
}


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_who_waits_for_a_slow_origin_gets_a_little(
    impatient, gatekeeper, make_origin, way: str, listed: bool
):
    arguments, like = WAYS[way]
    slow = Slow(like.body, like.headers, like.chunked)
    if listed:
        gatekeeper.bad.add(hashlib.sha256(slow.body).hexdigest())
    origin = make_origin(slow.reply, tls="HTTP/2" in way)
    got, code = _fetch(impatient, slow.seen, *arguments, _url(origin))
    assert slow.waited == [True]
    assert slow.body.startswith(got)
    if listed:
        assert code != 0
        assert len(got) <= len(slow.body) // PART
    else:
        assert (len(got), code) == (len(slow.body), 0)


@pytest.mark.parametrize("listed", [False, True])
def test_who_waits_for_a_slow_verdict_gets_a_little(impatient, gatekeeper, make_origin, listed: bool):
    digest = hashlib.sha256(BODY).hexdigest()
    gatekeeper.slow.add(digest)
    gatekeeper.opened = threading.Event()
    if listed:
        gatekeeper.bad.add(digest)
    origin = make_origin(Slow(at_once=True).reply)
    got, code = _fetch(impatient, gatekeeper.opened, _url(origin))
    assert BODY.startswith(got)
    assert len(got) <= len(BODY) // PART if listed else got == BODY
    assert (code == 0) is not listed


@pytest.mark.parametrize("listed", [False, True])
def test_a_range_that_is_sliced_from_the_whole_trickles_too(impatient, gatekeeper, make_origin, listed: bool):
    if listed:
        gatekeeper.bad.add(hashlib.sha256(BODY).hexdigest())
    slow = Slow()
    origin = make_origin(slow.reply)
    got, code = _fetch(impatient, slow.seen, "-r", "300000-799999", _url(origin))
    assert slow.waited == [True]
    assert BODY[300_000:800_000].startswith(got)
    assert len(got) <= 500_000 // PART if listed else len(got) == 500_000
    assert (code == 0) is not listed


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize(
    "body", [program(6_000_000), zipped({"a.exe": program(6_000_000)}, 0)], ids=["in the spool", "in memory"]
)
def test_a_tail_that_is_withheld_trickles_too(make_proxy, gatekeeper, make_origin, body: bytes, listed: bool):
    if listed:
        gatekeeper.bad.add(hashlib.sha256(body).hexdigest())
    proxy = make_proxy(downloads={**PATIENCE, "hold_up_to": 100_000, "tail_part": 0.5})
    slow = Slow(body)
    with _client(proxy, _url(make_origin(slow.reply))) as running:
        assert running.stdout is not None
        got = running.stdout.read(len(body) // 2 + 1)
        slow.seen.set()
        got += running.stdout.read()
    assert slow.waited == [True]
    assert body.startswith(got)
    assert len(got) <= len(body) // 2 + len(body) // 2 // PART if listed else got == body


def test_a_small_file_that_is_listed_gets_its_page_however_long_it_took(
    impatient, gatekeeper, make_origin, curl
):
    small = program(60_000)
    gatekeeper.bad.add(hashlib.sha256(small).hexdigest())

    async def halting(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await send(writer, small[:50_000], BINARY, f"Content-Length: {len(small)}", length=False)
        for start in range(50_000, 60_000, 1000):
            await writer.drain()
            await asyncio.sleep(0.03)  # longer than the patience
            writer.write(small[start : start + 1000])

    assert curl(impatient, "-i", _url(make_origin(halting))).stdout.startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize("settings", [{"hold": "full"}, {"patience": 0}])
def test_what_must_be_held_whole_gives_not_a_byte(make_proxy, gatekeeper, make_origin, settings):
    gatekeeper.bad.add(hashlib.sha256(BODY).hexdigest())
    proxy = make_proxy(downloads={**PATIENCE, **settings})

    async def halting(asked: Asked, writer: asyncio.StreamWriter) -> None:
        pieces = [BODY[start : start + 300_000] for start in range(0, len(BODY), 300_000)]
        for each in pieces[:1]:
            await send(writer, each, BINARY, f"Content-Length: {len(BODY)}", length=False)
        for each in pieces[1:]:
            await writer.drain()
            await asyncio.sleep(0.1)  # longer than the patience
            writer.write(each)

    with _client(proxy, "-i", _url(make_origin(halting))) as running:
        assert running.stdout is not None
        assert running.stdout.read().startswith(b"HTTP/1.1 403")
