"""A declared length that is a lie, and bodies that end early (about 4 s)."""

import asyncio
import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from proxykit.gatekeeper import FakeGatekeeper
from proxykit.origin import Asked, Origin, send
from proxykit.proxy import RunningProxy
from proxykit.samples import EICAR, program, prose, zipped
from secondlook.core.subject import FileSubject

KIB = 1 << 10
NAMES = count()
HOLD_UP_TO = 100_000
SMALL, LARGE = program(300_002), program(2_000_000)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(2000)


@pytest.fixture(scope="module")
def one_proxy(tmp_path_factory: pytest.TempPathFactory, judge: FakeGatekeeper) -> Iterator[RunningProxy]:
    proxy = RunningProxy(tmp_path_factory.mktemp("lengths"), judge, downloads={"hold_up_to": HOLD_UP_TO})
    yield proxy
    proxy.close()


def _lying(body: bytes, length: int | str, kind: str = "application/octet-stream") -> Callable:
    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await send(writer, body, f"Content-Type: {kind}", f"Content-Length: {length}", length=False)
        await writer.drain()
        writer.close()

    return reply


def _url(origin: Origin) -> str:
    return f"http://127.0.0.1:{origin.port}/thing{next(NAMES)}"


def _judged(gatekeeper: FakeGatekeeper, body: bytes) -> list[str]:
    digest = hashlib.sha256(body).digest()
    return [decision.action for _, subject, _, decision in gatekeeper.files() if subject.hashes[0] == digest]


@pytest.mark.parametrize("length", ["9" * 23, str(1 << 60), "40000000", str(len(LARGE) + 30_000)])
@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_the_last_bytes_of_a_listed_file_are_withheld(one_proxy, gatekeeper, make_origin, curl, body, length):
    gatekeeper.bad.add(hashlib.sha256(body).hexdigest())
    done = curl(one_proxy, _url(make_origin(_lying(body, length))))
    assert done.returncode != 0
    assert len(done.stdout) <= len(body) - 64 * KIB
    assert _judged(gatekeeper, body) == ["block"]


@pytest.mark.parametrize("length", [str(1 << 60), "40000000", str(len(LARGE) + 30_000)])
def test_what_came_of_a_clean_file_goes_on_and_is_seen_to_be_cut(
    one_proxy, gatekeeper, make_origin, curl, length
):
    done = curl(one_proxy, _url(make_origin(_lying(LARGE, length))))
    assert done.returncode != 0
    assert done.stdout == LARGE
    assert _judged(gatekeeper, LARGE) == ["allow"]


@pytest.mark.parametrize(
    "body",
    [
        zipped({"a": os.urandom(300_000), "b.com": EICAR}),
        b"Rar!\x1a\x07\1\0" + program(300_000),
        PNG + os.urandom(300_000) + zipped({"b.com": EICAR}),
    ],
    ids=["zip", "rar", "zip behind a picture"],
)
@pytest.mark.parametrize("http", ["--http1.1", "--http2"])
def test_an_archive_of_which_more_was_declared_than_came_does_not_come_whole(
    one_proxy, gatekeeper, make_origin, curl, body, http
):
    url = _url(make_origin(_lying(body, len(body) + 30_000), tls=True)).replace("http:", "https:")
    done = curl(one_proxy, "-k", http, url)
    assert done.returncode != 0
    assert body.startswith(done.stdout)
    assert len(done.stdout) <= len(body) - 64 * KIB


def test_a_small_page_with_an_archive_behind_it_that_ends_early_is_not_shown(
    one_proxy, gatekeeper, make_origin, curl
):
    body = prose(20_000) + zipped({"b.com": EICAR})
    done = curl(one_proxy, _url(make_origin(_lying(body, len(body) + 500, "text/html"))))
    assert body[:100] not in done.stdout


def test_a_harmless_looking_body_that_ends_early_is_judged_too(one_proxy, gatekeeper, make_origin, curl):
    body = prose(400_000)
    gatekeeper.bad.add(hashlib.sha256(body).hexdigest())
    curl(one_proxy, _url(make_origin(_lying(body, 900_000, "text/plain"))))
    assert _judged(gatekeeper, body) == ["block"]


@pytest.mark.parametrize("http", ["--http1.1", "--http2"])
@pytest.mark.parametrize("kind", ["text/html", "image/png", "application/json"])
def test_what_came_of_a_small_harmless_body_is_shown_and_seen_to_be_cut(
    one_proxy, gatekeeper, make_origin, curl, kind, http
):
    body = prose(54_000)
    origin = make_origin(_lying(body, 54_500, kind), tls=True)
    url = _url(origin).replace("http:", "https:")
    done = curl(one_proxy, "-k", http, "-w", "%{http_code}", url)
    assert done.returncode != 0
    assert done.stdout == body + b"200"
    assert [decision.action for *_, decision in gatekeeper.files()] == ["allow"]


@pytest.mark.parametrize("body", [prose(54_000), program(54_000)], ids=["listed", "program"])
def test_nothing_of_a_small_body_that_could_hurt_is_shown(one_proxy, gatekeeper, make_origin, curl, body):
    gatekeeper.bad.add(hashlib.sha256(body).hexdigest())
    done = curl(one_proxy, "-i", _url(make_origin(_lying(body, 54_500, "text/plain"))))
    assert done.stdout.startswith(b"HTTP/1.1 502")
    assert body[:100] not in done.stdout


def test_a_client_that_leaves_a_stalled_origin(one_proxy, gatekeeper, make_origin):
    """The tail of what arrived stays here, and what went out is judged once the client has gone."""
    judged = threading.Event()
    gatekeeper.on_check = lambda subject: judged.set() if isinstance(subject, FileSubject) else None

    async def stall(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await send(writer, SMALL, "Content-Length: 40000000", length=False)
        await writer.drain()
        await asyncio.Event().wait()

    origin = make_origin(stall)
    with socket.create_connection(("127.0.0.1", one_proxy.port), 60) as client:
        client.sendall(f"GET {_url(origin)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        got = b""
        while len(got.partition(b"\r\n\r\n")[2]) < len(SMALL) - 64 * KIB:
            got += client.recv(65536)
    assert len(got.partition(b"\r\n\r\n")[2]) == len(SMALL) - 64 * KIB
    assert judged.wait(60)
    ((_, subject, _, _),) = gatekeeper.files()
    assert subject.hashes[0] == hashlib.sha256(SMALL).digest()
