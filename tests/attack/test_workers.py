"""Two workers. What one does not know the other must; of both the first is measured."""

import asyncio
import contextlib
import time
from collections.abc import Iterator

import pytest

from attack.conftest import COME_BACK_S, LARGE_LISTED, LISTED, configuration, warm
from attackkit.site import Site, ranged
from attackkit.stand import Stand, at_once, body_of
from e2e.processes import Proxy
from proxykit.origin import Asked
from proxykit.samples import program


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[Stand]:
    """A proxy with two workers."""

    def start() -> Proxy:
        folder = tmp_path_factory.mktemp("pair")
        proxy = Proxy(folder / "state", configuration(folder, workers=2))
        warm(proxy, site)
        return proxy

    stand = Stand.make(start, site)
    yield stand
    stand.close()


@pytest.fixture
def stand(pair: Stand) -> Stand:
    assert pair.watch.served(COME_BACK_S)
    return pair


def _pieces(stand: Stand, path: str, size: int, count: int) -> bytes:
    """Ask for pieces at once, each over a connection of its own, which either worker may take."""
    got: dict[int, bytes] = {}
    step = size // count

    def piece(start: int) -> None:
        got[start] = body_of(stand.get(path, f"Range: bytes={start}-{start + step - 1}"))

    at_once(*(lambda n=n: piece(n * step) for n in range(count)))
    return b"".join(got[start] for start in sorted(got))


def test_listed_pieces(stand):
    """A listed program asked for in forty pieces at once, of either worker: they never make it whole."""

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(ranged(LISTED, asked))
        await writer.drain()

    stand.site.replies["/both-listed.exe"] = reply
    assert LISTED not in _pieces(stand, "/both-listed.exe", len(LISTED), 40)


def test_the_rest_from_elsewhere(stand):
    """A listed program of 20 MB that breaks off, and its rest by the same and by another address as a picture, of either worker: it never comes whole."""
    large = LARGE_LISTED

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        answer = ranged(large, asked)
        if asked.header("range"):
            answer = answer.replace(b"application/octet-stream", b"image/jpeg", 1).replace(b'"x"', b'"y"', 1)
        writer.write(answer)
        await writer.drain()

    for path in ("/token1", "/token2"):
        stand.site.replies[path] = reply
    begun = body_of(stand.get("/token1", "User-Agent: tool/1"))
    assert large.startswith(begun)
    assert len(begun) > len(large) // 2
    for path in ("/token1", "/token2") * 4:
        rest = stand.get(
            f"{path}?1" if path == "/token1" else path, "User-Agent: tool/1", f"Range: bytes={len(begun)}-"
        )
        assert rest.startswith(b"HTTP/1.1 403"), path


def test_clean_pieces(stand):
    """A hundred pieces of a 10 MB program at once, of either worker: the site sends it a few times, not a hundred."""
    clean = program(10_000_000, 9)
    sent: list[int] = []

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        answer = ranged(clean, asked)
        sent.append(len(answer))
        writer.write(answer)
        await writer.drain()

    stand.site.replies["/both-clean.exe"] = reply
    assert _pieces(stand, "/both-clean.exe", len(clean), 100) == clean
    assert sum(sent) < 9 * len(clean)


def test_waiting_requests(stand):
    """Four hundred requests to a site that does not answer, and a listed page asked for meanwhile: it is refused, others are served."""

    async def never(_asked: Asked, _writer: asyncio.StreamWriter) -> None:
        return

    stand.site.replies["/never"] = never
    url = stand.site.url("/never")
    with contextlib.ExitStack() as stack:
        for _ in range(400):
            stack.enter_context(stand.line()).sendall(f"GET {url} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        for _ in range(6):
            assert stand.curl("http://malware.secondlook.test/").status == 403
        time.sleep(1)
