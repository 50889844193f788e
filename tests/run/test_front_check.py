"""Whether the fronts of a running proxy answer, by its run file."""

import asyncio
import contextlib

import pytest

from icapkit.stand import Stand
from proxykit.gatekeeper import FakeGatekeeper
from secondlook.run.diagnosis import front_check
from secondlook.run.diagnosis.check_result import CheckResult
from secondlook.run.diagnosis.front_check import fronts


async def found(running: dict[str, object]) -> list[CheckResult]:
    return [each async for each in fronts(running, 0.1)]


async def looked(say: bytes, mode: str) -> CheckResult:
    """Look at a proxy that answers whatever it is asked with these bytes."""

    async def answer(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError):  # one that only knocks
            await reader.readuntil(b"\r\n\r\n")
        writer.write(say)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        (finding,) = await found({"listen": [address], "mode": mode})
    return finding


def page(text: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(text), text)


@pytest.mark.parametrize(
    ("say", "mode", "result"),
    [
        (page(b"ok\n"), "regular", "ok"),
        (page(b"no pattern"), "regular", "problem"),
        (b"", "upstream:http://next.test", "problem"),
        (b"", "socks5", "ok"),  # it speaks no HTTP about itself: that it takes a connection is all
        (b"", "wireguard", "ok"),
    ],
)
def test_a_proxy_where_it_listens(say, mode, result):
    assert asyncio.run(looked(say, mode)).result == result


def test_of_what_answers_in_the_proxy_s_place_little_is_shown():
    assert len(asyncio.run(looked(page(b"x" * 100_000), "regular")).text) < 300


def test_a_proxy_that_hangs(monkeypatch):
    monkeypatch.setattr(front_check, "NETWORK_TIMEOUT_S", 0.05)

    async def run() -> list[CheckResult]:
        ended = asyncio.Event()

        async def never(_reader, writer):
            await ended.wait()
            writer.close()

        async with await asyncio.start_server(never, "127.0.0.1", 0) as server:
            address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            seen = await found({"listen": [address], "mode": "regular"})
            ended.set()
        return seen

    (finding,) = asyncio.run(run())
    assert finding.text.endswith("does not answer: it took too long")


@pytest.mark.parametrize("mode", ["regular", "socks5"])
def test_a_proxy_that_is_not_there(mode):
    (finding,) = asyncio.run(found({"listen": ["127.0.0.9:1"], "mode": mode}))
    assert (finding.check, finding.result) == ("proxy", "problem")


def test_each_address_where_it_listens_is_asked():
    running = {"listen": ["127.0.0.9:1", "127.0.0.9:2"], "mode": "regular"}
    assert ["127.0.0.9:1" in each.text for each in asyncio.run(found(running))] == [True, False]


@pytest.mark.parametrize(
    ("say", "result"),
    [
        (b"ICAP/1.0 200 OK\r\n", "ok"),
        (b"ICAP/1.0 403 Forbidden\r\n", "ok"),  # it may be for a gateway elsewhere
        (b"ICAP/1.0 503 Overloaded\r\n", "problem"),
        (b"x" * 100_000, "problem"),
        (b"", "problem"),
    ],
)
def test_a_gateway_that_asks_by_icap(say, result):
    async def run() -> list[CheckResult]:
        async def answer(reader, writer):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"OPTIONS icap://127.0.0.1:")
            writer.write(say)
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            return await found({"listen": [], "icap": address})

    (finding,) = asyncio.run(run())
    assert (finding.check, finding.result) == ("icap", result)
    assert len(finding.text) < 300


def test_icap_where_nobody_listens():
    (finding,) = asyncio.run(found({"listen": [], "icap": "127.0.0.9:1"}))
    assert (finding.check, finding.result) == ("icap", "problem")


def test_our_own_icap_server_answers(tmp_path):
    stand = Stand(tmp_path, FakeGatekeeper())
    try:
        (finding,) = stand.run(found({"listen": [], "icap": f"127.0.0.1:{stand.socket.getsockname()[1]}"}))
    finally:
        stand.close()
    assert finding.result == "ok"


@pytest.mark.parametrize(
    ("say", "result"), [(b"1 OK\n", "ok"), (b"1 BH message=away\n", "problem"), (b"", "problem")]
)
def test_a_gateway_at_its_socket(tmp_path, say, result):
    async def run() -> list[CheckResult]:
        async def answer(reader, writer):
            await reader.readline()
            if say is not None:
                writer.write(say)
                writer.close()

        path = tmp_path / "gate.sock"
        async with await asyncio.start_unix_server(answer, path):
            running = {"listen": [], "gateway": str(path)}
            return await found(running)

    (finding,) = asyncio.run(run())
    assert (finding.check, finding.result) == ("gateway", result)


def test_a_gateway_without_a_socket(tmp_path):
    (finding,) = asyncio.run(found({"listen": [], "gateway": str(tmp_path / "none")}))
    assert finding.result == "problem"
