"""Connections that send nothing, too much or for ever, over real sockets (4 s)."""

import asyncio
import ssl
from contextlib import asynccontextmanager

import httpx
import pytest

from e2e.processes import make_certificate
from secondlook.config.service import LimitsSettings
from secondlook.ground.tcp import listen_on
from secondlook.server.http.app import AppSettings, ServerApp
from secondlook.server.http.serving import Serving
from secondlook.server.reader import FileReader
from serverkit import listening, make_store

GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
SHORT_S = 0.3
LONG_S = 60.0


@asynccontextmanager
async def serving(tmp_path, **limits):
    """A server with limits of its own; gives a way to open raw connections, and a client."""
    store = make_store(tmp_path, ["evil.example"])
    opened = []
    async with listening(store, AppSettings(limits=LimitsSettings(**limits))) as (server, client):

        async def connect(data=b""):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            opened.append(writer)
            writer.write(data)
            return reader, writer

        try:
            yield connect, client
        finally:
            for writer in opened:
                writer.close()


async def rest(reader):
    """What comes until the other side closes; a connection that is reset is closed too."""
    try:
        return await asyncio.wait_for(reader.read(), 60)
    except ConnectionError:
        return b""


async def drip(writer, data):
    try:
        while True:
            writer.write(data)
            await writer.drain()
            await asyncio.sleep(0.02)
    except ConnectionError:
        return


SLOW = {
    "silent": (b"", b""),
    "half a head": (b"GET /healthz HTT", b""),
    "a header that drips": (GET + b"X: ", b"y"),
    "a body that drips": (b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", b"y"),
    "empty lines between requests": (GET + b"\r\n", b"\r\n"),
}


@pytest.mark.parametrize("slow", SLOW)
def test_a_request_that_does_not_end_is_cut(tmp_path, slow):
    first, more = SLOW[slow]

    async def scene():
        async with serving(tmp_path, timeout=SHORT_S) as (connect, client):
            reader, writer = await connect(first)
            dripping = asyncio.create_task(drip(writer, more)) if more else None
            if b"\r\n\r\n" in first:
                assert b"200" in await reader.readline()
            await rest(reader)
            if dripping is not None:
                dripping.cancel()
            assert (await client.get("/healthz")).status_code == 200

    asyncio.run(scene())


def test_an_idle_connection_outlives_the_time_of_a_request(tmp_path):
    async def scene():
        async with serving(tmp_path, timeout=SHORT_S) as (connect, _):
            reader, writer = await connect(GET + b"\r\n")
            await reader.readuntil(b"generation=1\n")
            slow, _ = await connect()
            assert await rest(slow) == b""  # the time is over
            writer.write(GET + b"\r\n")
            assert b"200" in await reader.readline()

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"\x16\x03\x01 hello\r\n\r\n", b"HTTP/1.1 400"),
        (GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", b"HTTP/1.1 200"),
    ],
)
def test_what_a_peer_does_wrong_is_answered_and_not_logged(tmp_path, caplog, sent, answer):
    async def scene():
        async with serving(tmp_path) as (connect, _):
            reader, _ = await connect(sent)
            assert (await asyncio.wait_for(reader.readline(), 60)).startswith(answer)

    asyncio.run(scene())
    assert caplog.text == ""


HEADS = {
    "one header": (lambda size: b"X: " + b"y" * size + b"\r\n"),
    "many headers": (lambda size: (b"X: " + b"y" * 95 + b"\r\n") * (size // 100)),
}


@pytest.mark.parametrize("head", HEADS)
def test_headers_are_bounded(tmp_path, head):
    make = HEADS[head]

    async def scene():
        async with serving(tmp_path, headers=8192) as (connect, _):
            for size, status in ((7000, b"200"), (9000, b"431"), (100_000, b"431")):
                reader, writer = await connect()
                writer.write(GET + make(size) + b"Connection: close\r\n\r\n")
                assert (await reader.readline()).split()[1] == status, size
            # in pieces, and never ended
            reader, writer = await connect(GET + b"X: ")
            dripping = asyncio.create_task(drip(writer, b"y" * 1000))
            assert (await reader.readline()).split()[1] == b"431"
            dripping.cancel()
            # in pieces, and within
            reader, writer = await connect(GET)
            for _ in range(7):
                writer.write(b"X: " + b"y" * 995 + b"\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)
            writer.write(b"\r\n")
            assert (await reader.readline()).split()[1] == b"200"

    asyncio.run(scene())


@pytest.mark.parametrize("limit", ["connections", "connections_per_address"])
@pytest.mark.parametrize("first", [b"", b"GET /v5/hashLists HTTP/1.1\r\nHo", GET + b"\r\n"])
def test_connections_that_only_wait_make_room(tmp_path, limit, first):
    async def scene():
        async with serving(tmp_path, **{limit: 5, "timeout": LONG_S}) as (connect, client):
            waiting = [await connect(first) for _ in range(8)]
            if first.endswith(b"\r\n\r\n"):
                for reader, _ in waiting:
                    assert b"200" in await reader.readline()
            for _ in range(3):
                assert (await client.get("/healthz", headers={"connection": "close"})).status_code == 200
            ended = [await rest(reader) for reader, _ in waiting[:3]]
            assert len(ended) == 3  # the first that came were closed: `rest` saw their ends

    asyncio.run(scene())


@asynccontextmanager
async def serving_tls(tmp_path, **limits):
    """A server with a certificate, and a client that trusts it."""
    certificate, key = make_certificate(tmp_path, "127.0.0.1")
    settings = AppSettings(limits=LimitsSettings(**limits))
    app = ServerApp(FileReader(make_store(tmp_path, ["evil.example"])), settings)
    server = Serving(app, [listen_on("127.0.0.1", 0)], certificate=certificate, key=key)
    await server.start()
    trusting = ssl.create_default_context(cafile=certificate)
    base = f"https://127.0.0.1:{server.port}"
    try:
        async with httpx.AsyncClient(base_url=base, verify=trusting, trust_env=False) as client:
            yield server, client
    finally:
        await server.stop()


HELLO = b"\x16\x03\x01"


@pytest.mark.parametrize("first", [b"", HELLO])
@pytest.mark.parametrize("limit", ["connections", "connections_per_address"])
def test_handshakes_that_do_not_end_make_room(tmp_path, limit, first):
    async def scene():
        async with serving_tls(tmp_path, **{limit: 5, "timeout": LONG_S}) as (server, client):
            waiting = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(8)]
            for _, writer in waiting:
                writer.write(first)
            for _ in range(3):
                assert (await client.get("/healthz", headers={"connection": "close"})).status_code == 200
            for reader, _ in waiting[:3]:
                assert await rest(reader) == b""
            for _, writer in waiting:
                writer.close()

    asyncio.run(scene())


def test_a_handshake_that_does_not_end_is_cut_and_one_that_is_none_too(tmp_path):
    async def scene():
        async with serving_tls(tmp_path, timeout=SHORT_S) as (server, client):
            for first in (b"", HELLO, GET + b"\r\n"):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(first)
                assert b"HTTP" not in await rest(reader)
                writer.close()
            assert (await client.get("/healthz")).text == "ok generation=1\n"

    asyncio.run(scene())


def test_stopping_does_not_wait_for_handshakes(tmp_path):
    async def scene():
        async with serving_tls(tmp_path, timeout=LONG_S) as (server, client):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            assert (await client.get("/healthz")).status_code == 200
        assert await rest(reader) == b""
        writer.close()

    asyncio.run(scene())


def test_what_never_asked_makes_room_before_what_is_idle(tmp_path):
    async def scene():
        async with serving(tmp_path, connections=3, timeout=LONG_S) as (connect, _):
            kept, writer = await connect(GET + b"\r\n")
            await kept.readuntil(b"generation=1\n")
            silent, _ = await connect(b"G")
            other, _ = await connect(b"G")
            await connect(b"G")
            assert await rest(silent) == b""
            writer.write(GET + b"\r\n")
            assert b"200" in await kept.readline()
            assert not other.at_eof()

    asyncio.run(scene())


def test_a_balancer_may_have_all_connections(tmp_path):
    async def scene():
        limits = {"connections_per_address": 2, "balancers": ("127.0.0.1",), "timeout": LONG_S}
        async with serving(tmp_path, **limits) as (connect, _):
            held = [await connect(GET + b"\r\n") for _ in range(5)]
            for reader, writer in held:
                await reader.readuntil(b"generation=1\n")
                writer.write(GET + b"\r\n")
            for reader, _ in held:
                assert b"200" in await reader.readline()

    asyncio.run(scene())
