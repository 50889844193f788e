"""HTTP to addresses that were judged: how far inside one lies, and that no other is connected to."""

import asyncio
import contextlib

import httpx
import pytest

from secondlook.reach import Depth, depth, get
from secondlook.resolver import Place


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.43.8", Depth.PUBLIC),
        ("2a00:1450::1", Depth.PUBLIC),
        ("10.0.0.1", Depth.NETWORK),
        ("192.168.1.1", Depth.NETWORK),
        ("fd00::1", Depth.NETWORK),
        ("127.0.0.1", Depth.MACHINE),
        ("::1", Depth.MACHINE),
        ("0.0.0.0", Depth.MACHINE),
        ("169.254.169.254", Depth.MACHINE),
        ("fe80::1", Depth.MACHINE),
        ("::ffff:127.0.0.1", Depth.MACHINE),
        ("no address", Depth.MACHINE),  # what is not understood leads furthest inside
    ],
)
def test_how_far_inside_an_address_lies(text, expected):
    assert depth(Place(0, text)) is expected


@contextlib.asynccontextmanager
async def serving(seen: list[bytes]):
    async def answer(reader, writer):
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere.test/\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def asked(url: str, places: list[Place], port: int) -> tuple[int, bytes]:
    async with (
        httpx.AsyncClient(trust_env=False, timeout=5) as client,
        get(client, httpx.URL(url), places, {"X-Of": "ours"}, port=port) as response,
    ):
        return response.status_code, await response.aread()


def test_the_judged_address_is_asked_by_the_name_and_nothing_is_followed():
    seen: list[bytes] = []

    async def run():
        async with serving(seen) as port:
            return await asked("http://name.test/a?b#c", [Place(0, "127.0.0.1")], port)

    assert asyncio.run(run()) == (302, b"ok")
    head = seen[0].lower()
    assert head.startswith(b"get /a?b http/1.1\r\n")
    assert b"\r\nhost: name.test\r\n" in head
    assert b"\r\nx-of: ours\r\n" in head


def test_the_next_address_is_asked_where_one_takes_no_connection():
    seen: list[bytes] = []

    async def run():
        async with serving(seen) as port:
            return await asked("http://name.test/", [Place(0, "127.0.0.9"), Place(0, "127.0.0.1")], port)

    assert asyncio.run(run()) == (302, b"ok")
    assert len(seen) == 1


@pytest.mark.parametrize("places", [[], [Place(0, "127.0.0.9")]], ids=["no address", "nobody there"])
def test_without_a_connection_it_fails_as_httpx_does(places):
    async def run():
        async with serving([]) as port:
            await asked("http://name.test/", places, port)

    with pytest.raises(httpx.ConnectError):
        asyncio.run(run())
