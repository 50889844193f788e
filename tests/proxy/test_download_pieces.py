"""Pieces that are no pieces, and pieces of what only the answer shows to be risky (about 6 s)."""

import asyncio
import hashlib
import subprocess
import threading
from collections.abc import Callable
from itertools import count

import pytest

from proxykit.gatekeeper import FakeGatekeeper
from proxykit.nginx import Nginx, nginx
from proxykit.origin import Asked, Origin, ranged, send
from proxykit.samples import program, prose

BODY = program(300_002)
BINARY = "Content-Type: application/octet-stream"
NAMES = count()


def _always(body: bytes, *headers: str) -> Callable:
    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await send(writer, body, *headers, status="206 Partial Content")

    return reply


def _url(origin: Origin, path: str | None = None) -> str:
    return f"http://127.0.0.1:{origin.port}{path or f'/thing{next(NAMES)}'}"


def _files(gatekeeper: FakeGatekeeper) -> set[str]:
    return {subject.hashes[0].hex() for _, subject, _, _ in gatekeeper.files()}


@pytest.mark.parametrize("asked", [(), ("-r", "0-"), ("-r", "7-"), ("-r", "0-150000")])
@pytest.mark.parametrize(
    "told",
    [
        f"bytes 0-{len(BODY) - 1}/{len(BODY)}",
        None,
        "bytes */300002",
        "lines 0-3/4",
        f"bytes 100-{len(BODY) + 99}/900000",
        f"bytes 0-{len(BODY) - 1}/*",
        f"bytes 0-{len(BODY) - 1}/900000",
    ],
)
def test_a_listed_file_does_not_come_as_a_piece(one_proxy, gatekeeper, make_origin, curl, told, asked):
    gatekeeper.bad.add(hashlib.sha256(BODY).hexdigest())
    headers = [BINARY, *([f"Content-Range: {told}"] if told else [])]
    origin = make_origin(_always(BODY, *headers))
    for path in (None, "/setup.exe"):
        done = curl(one_proxy, "-i", *asked, _url(origin, path))
        assert done.stdout.startswith(b"HTTP/1.1 403"), done.stdout[:300]
        assert hashlib.sha256(BODY).hexdigest() in _files(gatekeeper)


@pytest.mark.parametrize("asked", ["0-", "-300002", "-999999", "0-400000"])
def test_all_of_a_listed_file_asked_for_as_a_range(one_proxy, gatekeeper, make_origin, curl, asked):
    gatekeeper.bad.add(hashlib.sha256(BODY).hexdigest())
    origin = make_origin(ranged(BODY, BINARY))
    assert curl(one_proxy, "-i", "-r", asked, _url(origin)).stdout.startswith(b"HTTP/1.1 403")


def test_a_harmless_looking_listed_file_does_not_come_as_a_piece(one_proxy, gatekeeper, make_origin, curl):
    body = prose(100_000)
    gatekeeper.bad.add(hashlib.sha256(body).hexdigest())
    origin = make_origin(
        _always(body, "Content-Type: text/plain", f"Content-Range: bytes 0-99999/{len(body)}")
    )
    assert curl(one_proxy, "-i", _url(origin)).stdout.startswith(b"HTTP/1.1 403")


def test_an_answer_to_the_whole_request_is_not_handed_on_as_what_it_is_not(
    one_proxy, gatekeeper, make_origin, curl
):
    origin = make_origin(_always(BODY, BINARY, f"Content-Range: bytes 0-{len(BODY) - 1}/{len(BODY)}"))
    head, _, body = curl(one_proxy, "-i", "-r", "5-9", _url(origin, "/setup.exe")).stdout.partition(
        b"\r\n\r\n"
    )
    assert head.startswith(b"HTTP/1.1 206")
    assert f"bytes 5-9/{len(BODY)}".encode() in head
    assert body == BODY[5:10]


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Type: application/x-msdownload"],
        [BINARY, 'Content-Disposition: attachment; filename="setup.exe"'],
        [BINARY],
        ["Content-Type: image/png"],
    ],
    ids=["type", "name", "bytes", "bytes of a picture"],
)
def test_what_the_answer_shows_to_be_risky_is_asked_for_whole(
    one_proxy, gatekeeper, make_origin, curl, headers
):
    origin = make_origin(ranged(BODY, *headers))
    url = _url(origin)
    got = [curl(one_proxy, "-r", each, url).stdout for each in ("0-100000", "100001-200001", "200002-")]
    assert b"".join(got) == BODY
    assert [asked.header("range") for asked in origin.requests] == [
        "bytes=0-100000",
        None,
        "bytes=65536-262143",  # whole blocks of what was judged
        "bytes=196608-300001",
    ]
    assert _files(gatekeeper) == {hashlib.sha256(BODY).hexdigest()}
    gatekeeper.bad.add(hashlib.sha256(BODY).hexdigest())
    for each in ("0-100000", "100001-200001", "200002-"):
        assert curl(one_proxy, "-i", "-r", each, url).stdout.startswith(b"HTTP/1.1 403")
    url = _url(origin)
    assert curl(one_proxy, "-i", "-r", "0-100000", url).stdout.startswith(b"HTTP/1.1 403")


def test_a_piece_is_no_longer_than_it_says(one_proxy, gatekeeper, make_origin, curl):
    gatekeeper.bad.add(hashlib.sha256(BODY).hexdigest())

    async def lies(_: Asked, writer: asyncio.StreamWriter) -> None:
        head = ["HTTP/1.1 206 Partial Content", "Content-Type: text/plain", "Transfer-Encoding: chunked"]
        told = f"Content-Range: bytes 150000-{len(BODY) - 1}/{len(BODY)}"
        chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
        writer.write("\r\n".join([*head, told, "", ""]).encode() + chunk)
        await writer.drain()

    origin = make_origin(lies)
    done = curl(one_proxy, "-r", "150000-", _url(origin))
    assert done.stdout == BODY[: len(BODY) - 150_000]


def test_other_pieces_of_a_program_are_asked_for_whole_while_it_is_under_way(
    one_proxy, gatekeeper, make_origin, curl
):
    large, seen = program(17_000_000), threading.Event()
    gatekeeper.bad.add(hashlib.sha256(large).hexdigest())
    honest = ranged(large, BINARY)

    async def slow(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.header("x-slow") is None:
            await honest(asked, writer)
            return
        await send(writer, large[:-1], BINARY, f"Content-Length: {len(large)}", length=False)
        await writer.drain()
        await asyncio.get_running_loop().run_in_executor(None, seen.wait, 20)
        writer.close()

    origin = make_origin(slow)
    url = _url(origin)
    command = ["curl", "-sSN", "-m", "30", "-x", one_proxy.url, "-A", "slow", "-H", "X-Slow: 1", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as first:
        assert first.stdout is not None
        assert first.stdout.read(100_000) == large[:100_000]
        done = curl(one_proxy, "-i", "-r", "9000000-", url)
        seen.set()
        assert done.stdout.startswith(b"HTTP/1.1 403")
        assert len(first.stdout.read()) < len(large) - 100_000


@pytest.mark.parametrize("ends_at", [None, 9_000_000])
def test_the_rest_of_a_listed_file_does_not_come_from_another_address(
    one_proxy, gatekeeper, make_origin, curl, ends_at
):
    """Where an address leads elsewhere each time, or names mirrors, from which a client takes the rest."""
    large, asked_whole = program(17_000_000, 3), threading.Event()
    gatekeeper.bad.add(hashlib.sha256(large).hexdigest())
    honest = ranged(large, BINARY)

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.target.startswith("/mirror"):
            await ranged(large, "Content-Type: image/jpeg")(asked, writer)
            asked_whole.set()
            return
        await honest(asked, writer)

    origin = make_origin(reply)
    mine = ["-A", f"tool/{ends_at}"]
    command = ["curl", "-sSN", "-m", "30", "-x", one_proxy.url, *mine, _url(origin)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as first:
        assert first.stdout is not None
        begun = first.stdout.read() if ends_at is None else first.stdout.read(ends_at)
        first.terminate()
    assert begun == large[: len(begun)]
    assert len(begun) < len(large)
    rest = curl(one_proxy, "-i", *mine, "-r", f"{len(begun)}-", _url(origin, f"/mirror{next(NAMES)}"))
    assert asked_whole.is_set()
    assert rest.stdout.startswith(b"HTTP/1.1 403")
    others = curl(one_proxy, "-r", "9000000-", "-A", "another", _url(origin, f"/mirror{next(NAMES)}"))
    assert others.stdout == large[9_000_000:], "a piece alone proves nothing, and others have no part of it"


def test_a_harmless_file_is_asked_for_whole_once_by_who_has_a_part_of_a_risky_one(
    one_proxy, gatekeeper, make_origin, curl
):
    large, film = program(17_000_000, 4), b"\0\0\0\x18ftypmp42" + program(2_000_000, 5)
    gatekeeper.bad.add(hashlib.sha256(large).hexdigest())
    asked_for: list[str | None] = []

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.target.startswith("/film"):
            asked_for.append(asked.header("range"))
            await ranged(film, "Content-Type: video/mp4")(asked, writer)
        else:
            await ranged(large, BINARY)(asked, writer)

    origin = make_origin(reply)
    mine = ["-A", "viewer/1"]
    assert len(curl(one_proxy, *mine, _url(origin)).stdout) < len(large)
    url = _url(origin, f"/film{next(NAMES)}")
    for first in (0, 500_000, 1_000_000, 1_500_000):
        done = curl(one_proxy, *mine, "-r", f"{first}-{first + 499_999}", url)
        assert done.stdout == film[first : first + 500_000]
    assert asked_for.count(None) == 1, asked_for


def test_the_first_byte_alone_is_asked_for_whole(one_proxy, gatekeeper, make_origin, curl):
    gatekeeper.bad.add(hashlib.sha256(BODY).hexdigest())
    origin = make_origin(ranged(BODY, BINARY))
    assert curl(one_proxy, "-i", "-r", "0-0", _url(origin)).stdout.startswith(b"HTTP/1.1 403")


RIFF = b"RIFF\0\0\0\0WAVEfmt " + prose(300_000)


@pytest.mark.parametrize("asked", ["0-0", "0-1"])
@pytest.mark.parametrize(
    "body", [RIFF, b"PAR1" + prose(300_000), b"Id,name\n", b"PK"], ids=lambda body: body[:4]
)
def test_a_probe_of_a_harmless_file_moves_little_and_marks_nothing(
    one_proxy, gatekeeper, make_origin, curl, body, asked
):
    origin = make_origin(ranged(body, BINARY))
    url = _url(origin)
    head, _, got = curl(one_proxy, "-i", "-r", asked, url).stdout.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 206"), head
    assert f"content-range: bytes {asked}/{len(body)}".encode() in head.lower()
    assert got == body[: int(asked[-1]) + 1]
    seek = f"{len(body) // 2}-{len(body) - 1}"
    assert curl(one_proxy, "-r", seek, url).stdout == body[len(body) // 2 :]
    assert [asked.header("range") for asked in origin.requests][-1] == f"bytes={seek}"
    assert None not in [asked.header("range") for asked in origin.requests]


def test_a_url_that_gives_something_harmless_by_now_is_asked_for_pieces_again(
    one_proxy, gatekeeper, make_origin, curl
):
    now = {"body": BODY}

    async def changing(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await ranged(now["body"], BINARY)(asked, writer)

    origin = make_origin(changing)
    url = _url(origin)
    curl(one_proxy, "-r", "0-99", url)
    now["body"] = RIFF
    for _ in range(2):
        assert curl(one_proxy, "-r", "500-599", url).stdout == RIFF[500:600]
    assert [asked.header("range") for asked in origin.requests] == [
        "bytes=0-99",
        None,
        "bytes=0-65535",
        None,
        "bytes=500-599",
    ]


@pytest.mark.parametrize("http", ["http1", "http2"])
@pytest.mark.parametrize("client", ["--http1.1", "--http2"])
def test_asking_again_over_either_http(
    one_proxy, gatekeeper, tmp_path, origin_certificate, curl, http, client
):
    large = b"MZ" + program(9_000_000)
    with nginx(tmp_path / "nginx", origin_certificate, origin_certificate) as origin:
        (origin.root / "thing").write_bytes(large)
        (origin.root / "page").write_bytes(b"hello")
        base = f"https://127.0.0.1:{_port(origin, http)}"
        same = ["-r", "0-8000000", f"{base}/thing", "--next", "-sS", "-k", client, "-x", one_proxy.url]
        done = curl(one_proxy, client, *same, f"{base}/page")
        assert done.stdout == large[:8_000_001] + b"hello", done.stderr
        gatekeeper.bad.add(hashlib.sha256(large).hexdigest())
        refused = curl(one_proxy, client, "-i", "--suppress-connect-headers", "-r", "4-9", f"{base}/thing")
        assert b" 403" in refused.stdout[:20]


def _port(origin: Nginx, http: str) -> int:
    return origin.http2 if http == "http2" else origin.tls


def test_a_piece_that_is_insisted_on_can_be_refused(make_proxy, gatekeeper, make_origin, curl):
    strict = make_proxy(downloads={"partial": "block"})
    origin = make_origin(
        _always(BODY, "Content-Type: application/x-msdownload", "Content-Range: bytes 9-300010/400000")
    )
    for asked in ((), ("-r", "9-"), ("-r", "9-300010")):
        assert curl(strict, "-i", *asked, _url(origin)).stdout.startswith(b"HTTP/1.1 403")
