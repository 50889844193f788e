"""Fetching again over real sockets, against a real origin on loopback."""

import asyncio
import contextlib
import hashlib
import socket
from contextlib import asynccontextmanager

import pytest

from agentkit.house import House
from agentkit.servers import FakeServer
from secondlook.agent.recheck.batch_check import BatchCheck
from secondlook.agent.recheck.content_check import ContentCheck
from secondlook.agent.recheck.refetch import Refetcher, RefetchError, RefetchLimits, is_public
from secondlook.core.answer import Tier
from secondlook.core.event import EventKind, QueueEntry
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import Risk, SubjectClass
from secondlook.resolver import Place

BODY = b"downloaded bytes" * 5000


def place(text):
    return Place(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


class Origin:
    def __init__(self) -> None:
        self.seen: list[str] = []
        self.serving: set[asyncio.Task] = set()

    async def serve(self, reader, writer):
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        try:
            await self.answer(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def answer(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.seen.append(head)
        path = head.split()[1]
        if path.startswith("/hop"):
            left = int(path[4:])
            where = f"/hop{left - 1}" if left else "/file"
            writer.write(
                f"HTTP/1.1 302 Found\r\nLocation: {where}\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n".encode()
            )
        elif path == "/inside":
            writer.write(
                b"HTTP/1.1 302 Found\r\nLocation: http://inside.test/secret\r\nContent-Length: 0\r\n\r\n"
            )
        elif path == "/gone":
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        elif path == "/slow":
            await reader.read()  # until the other side is tired of waiting
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
        await writer.drain()


@asynccontextmanager
async def origin():
    it = Origin()
    server = await asyncio.start_server(it.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def resolver(host):
        inside = {
            "inside.test": ["10.0.0.1"],
            "both.test": ["127.0.0.1", "10.0.0.1"],
            "none.test": [],
            "half.test": ["127.0.0.3", "127.0.0.1"],
        }
        return [place(text) for text in inside.get(host, ["127.0.0.1"])]

    def make(**limits):
        return Refetcher(
            RefetchLimits(**limits),
            resolver=resolver,
            allowed=lambda address: address.text in {"127.0.0.1", "127.0.0.3"},
            ports={"http": port},
        )

    async with server:
        yield it, make
        server.close()
        await asyncio.sleep(0)  # what was accepted last becomes a connection, which is waited for
        await asyncio.gather(*it.serving, return_exceptions=True)  # no connection outlives the loop


def fetch(path, host="files.test", **limits):
    async def main():
        async with origin() as (it, make):
            try:
                return await make(**limits).fetch(f"http://user:secret@{host}{path}"), it.seen
            except RefetchError as error:
                return str(error), it.seen

    return asyncio.run(main())


def test_content_is_hashed_and_nothing_private_is_sent():
    file, seen = fetch("/hop3")
    assert file.identity == hashlib.sha256(BODY).digest()
    assert file.size == len(BODY)
    assert len(seen) == 5
    for head in seen:
        lower = head.lower()
        assert "host: files.test\r\n" in lower
        for header in ("cookie", "authorization", "referer", "secret"):
            assert header not in lower


def test_the_next_address_is_tried_where_one_is_dead():
    file, seen = fetch("/file", host="half.test")
    assert (file.size, len(seen)) == (len(BODY), 1)


@pytest.mark.parametrize(
    ("path", "host", "limits", "words"),
    [
        ("/hop9", "files.test", {}, "more than 5 redirects"),
        ("/file", "files.test", {"max_bytes": 100}, "longer than 100 bytes"),
        ("/gone", "files.test", {}, "status 404"),
        ("/slow", "files.test", {"timeout_s": 0.2}, "not fetched within"),
        ("/inside", "files.test", {}, "10.0.0.1 is not a public address"),
        ("/file", "inside.test", {}, "10.0.0.1 is not a public address"),
        ("/file", "both.test", {}, "10.0.0.1 is not a public address"),
        ("/file", "none.test", {}, "no address"),
        (":8/file", "files.test", {}, "port 8"),
    ],
)
def test_limits_and_addresses(path, host, limits, words):
    error, seen = fetch(path, host, **limits)
    assert words in error
    assert all("inside.test" not in head for head in seen)


def test_only_web_schemes():
    with pytest.raises(RefetchError, match="scheme"):
        asyncio.run(Refetcher().fetch("ftp://files.test/x"))


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1",
        "10.1.1.1",
        "169.254.169.254",
        "::1",
        "::ffff:127.0.0.1",
        "fe80::1",
        "fd00::1",
        "0.0.0.0",
        "100.64.0.1",
    ],
)
def test_what_is_not_public(text):
    assert not is_public(place(text))


def test_the_defaults_reach_nothing_on_this_machine():
    async def main():
        async with origin() as (it, _):
            with pytest.raises(RefetchError, match="not a public address"):
                await Refetcher().fetch("http://127.0.0.1/")
            assert not it.seen

    asyncio.run(main())


class Fetched(Refetcher):
    def __init__(self, answer) -> None:
        super().__init__()
        self.answer = answer

    async def fetch(self, url):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("listed", [True, False])
def test_the_content_may_confirm_and_never_clears(listed):
    from secondlook.core.subject import FileSubject

    server = FakeServer(Tier.INTRANET)
    house = House(server)
    digest = b"f" * 32
    if listed:
        server.listed[digest] = Risk.DANGEROUS
    batch_check = BatchCheck(house.view, house.lookup, house.cache, house.clock)
    look = ContentCheck(Fetched(FileSubject((digest,), size=3)), batch_check, house.enforcement, house.clock)
    entry = QueueEntry(
        id="q", identity=b"u" * 32, kind=SubjectKind.URL, cls=SubjectClass.DOWNLOAD, hashes=(b"u" * 32,),
        url="http://files.test/a.exe", host="files.test", sha256=None, filename=None, size=None, clients=("127.0.0.1",),
        count=1, first_seen=0, last_seen=0, attempts=0, next_attempt=0, reason="",
    )  # fmt: skip
    assert house.run(look.look(entry)) is listed
    kinds = [event.kind for event in house.ledger.recorded]
    assert (EventKind.LATE_VERDICT in kinds) is listed
    assert EventKind.CLEARED not in kinds
    look = ContentCheck(Fetched(RefetchError("gone")), batch_check, house.enforcement, house.clock)
    assert house.run(look.look(entry)) is False
    house.close()
