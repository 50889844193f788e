"""A publisher that answers without an end, packed, or drop by drop costs a replica neither memory nor its pulls."""

import asyncio
from contextlib import asynccontextmanager, suppress

import httpx
import pytest

from secondlook.config.service import UpstreamSettings
from secondlook.ground.errors import PatternError, ServiceError
from secondlook.server.replica import publisher_answer
from secondlook.server.replica.forwarding import ForwardedFindings
from secondlook.server.replica.replica import Replica
from secondlook.server.store.store import ServerStore
from secondlook.wire.finding import Finding, Report

MUCH_BYTES = 64 << 20
REPORT = Report("desk-7", (Finding(subject="evil.example", name="Eicar", engine="clamav"),))


class Publisher:
    """A server that answers everything with `fields` and as many `pieces` as are taken."""

    def __init__(self, fields, piece, pause_s=0.0):
        self.fields = fields
        self.piece = piece
        self.pause_s = pause_s
        self.asked = b""
        self.sent = 0
        self.gone = asyncio.Event()

    async def serve(self, reader, writer):
        with suppress(ConnectionError):
            self.asked = await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + self.fields + b"\r\n")
            while self.sent < MUCH_BYTES:
                writer.write(self.piece)
                await writer.drain()
                self.sent += len(self.piece)
                await asyncio.sleep(self.pause_s)
        self.gone.set()
        writer.close()


@asynccontextmanager
async def publishing(fields=b"", piece=bytes(1 << 16), pause_s=0.0):
    publisher = Publisher(fields, piece, pause_s)
    server = await asyncio.start_server(publisher.serve, "127.0.0.1", 0)
    async with server, asyncio.timeout(60):
        yield publisher, UpstreamSettings(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")


def pull(tmp_path, raised, match, **options):
    async def story():
        async with publishing(**options) as (publisher, upstream):
            replica = Replica(ServerStore(tmp_path), upstream)
            with pytest.raises(raised, match=match):
                await replica.pull()
            await replica.aclose()
            await publisher.gone.wait()
            return publisher

    return asyncio.run(story())


def test_an_answer_without_an_end_is_read_up_to_its_bound(tmp_path):
    publisher = pull(tmp_path, PatternError, "current is longer than it may be: more than 64 bytes")
    assert publisher.sent < MUCH_BYTES


def test_a_packed_answer_is_not_asked_for_and_not_unpacked(tmp_path):
    publisher = pull(tmp_path, ServiceError, "compressed without", fields=b"Content-Encoding: gzip\r\n")
    assert b"\r\naccept-encoding: identity\r\n" in publisher.asked.lower()


def test_an_answer_drop_by_drop_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(publisher_answer, "WHOLE_S", 0.5)
    pull(tmp_path, ServiceError, r"current: not whole within 0\.5", piece=b"1", pause_s=0.1)


def test_at_the_bound_and_one_past_it():
    async def read(limit):
        async with (
            publishing(b"Content-Length: 65536\r\n") as (_, upstream),
            httpx.AsyncClient(trust_env=False) as client,
            client.stream("GET", upstream.url) as response,
        ):
            return await publisher_answer.whole(response, "it", limit)

    assert len(asyncio.run(read(65536))) == 65536
    with pytest.raises(PatternError):
        asyncio.run(read(65535))


def test_what_a_publisher_says_of_a_report_is_bounded_too():
    async def story():
        async with publishing() as (publisher, upstream):
            forwarded = ForwardedFindings(upstream)
            with pytest.raises(ServiceError, match="cannot be asked: findings is longer than it may be"):
                await forwarded.take(REPORT, "10.0.0.7")
            await forwarded.aclose()
            await publisher.gone.wait()
            assert publisher.sent < MUCH_BYTES

    asyncio.run(story())
