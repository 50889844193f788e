"""Several pieces of a file in one answer: each is what it is, whatever it says (about 3 s)."""

import asyncio
import hashlib
import re
from itertools import count

import pytest

from proxykit.origin import Asked, Origin, send
from proxykit.samples import program

BODY = program(300_002)
BINARY = "Content-Type: application/octet-stream"
NAMES = count()


def _url(origin: Origin) -> str:
    return f"http://127.0.0.1:{origin.port}/thing{next(NAMES)}"


async def _several(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Serve several ranges as nginx does."""
    pieces = re.findall(r"(\d+)-(\d*)", asked.header("range") or "")
    if not pieces:
        await send(writer, BODY, BINARY)
        return
    parts = []
    for first, last in pieces:
        end = int(last or len(BODY) - 1)
        told = f"--xyz\r\n{BINARY}\r\nContent-Range: bytes {first}-{end}/{len(BODY)}\r\n\r\n".encode()
        parts.append(told + BODY[int(first) : end + 1] + b"\r\n")
    kind = "Content-Type: multipart/byteranges; boundary=xyz"
    await send(writer, b"".join(parts) + b"--xyz--\r\n", kind, status="206 Partial Content")


@pytest.mark.parametrize("asked", ["0-0,1-", "1-,0-0", "9-9,0-", "0-150000,150001-", "9-9,-300002"])
def test_a_listed_file_does_not_come_in_several_ranges(one_proxy, gatekeeper, make_origin, curl, asked):
    gatekeeper.bad.add(hashlib.sha256(BODY).hexdigest())
    origin = make_origin(_several)
    assert curl(one_proxy, "-i", "-r", asked, _url(origin)).stdout.startswith(b"HTTP/1.1 403")


def _parts(*pieces: tuple[int, int], more: str = "") -> bytes:
    """Write parts of the body, each of plain text as it says; `more` stands in each one's head."""
    told = [
        f"--xyz\r\n{more}Content-Type: text/plain\r\nContent-Range: bytes {first}-{end - 1}/{len(BODY)}\r\n\r\n".encode()
        + BODY[first:end]
        + b"\r\n"
        for first, end in pieces
    ]
    return b"".join(told) + b"--xyz--\r\n"


WHOLE_IN_PARTS = {
    "in one": _parts((0, len(BODY))),
    "with a long head": _parts((0, len(BODY)), more=f"X-More: {'x' * 3000}\r\n"),
    "the end first": _parts((150_000, len(BODY)), (0, 150_000)),
    "a byte first": _parts((0, 1), (1, len(BODY))),
    "behind something else": b"text " * 1000 + _parts((0, len(BODY))),
    "without a part": BODY,
}
BOUNDARIES = ["; boundary=xyz", "", "; boundary=other"]


NO_PARTS = ("behind something else", "without a part")


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize(
    ("asked", "lie"),
    [*(("0-150000,150001-", lie) for lie in WHOLE_IN_PARTS), *(("9-9,150000-", lie) for lie in NO_PARTS)],
)
def test_a_listed_file_does_not_come_in_parts_that_lie(
    one_proxy, gatekeeper, make_origin, curl, asked, boundary, lie
):
    gatekeeper.bad.add(hashlib.sha256(BODY).hexdigest())

    async def lies(_: Asked, writer: asyncio.StreamWriter) -> None:
        kind = f"Content-Type: multipart/byteranges{boundary}"
        await send(writer, WHOLE_IN_PARTS[lie], kind, status="206 Partial Content")

    origin = make_origin(lies)
    assert curl(one_proxy, "-i", "-r", asked, _url(origin)).stdout.startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize("before", [(), ((150_000, len(BODY)),)])
def test_a_listed_file_does_not_come_behind_a_piece_that_was_asked_for(
    one_proxy, gatekeeper, make_origin, curl, before
):
    gatekeeper.bad.add(hashlib.sha256(BODY).hexdigest())
    body = _parts((9, 10), *before, (0, len(BODY)))

    async def lies(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.header("range") is None:
            await send(writer, BODY, BINARY)
            return
        kind = "Content-Type: multipart/byteranges; boundary=xyz"
        await send(writer, body, kind, status="206 Partial Content")

    done = curl(one_proxy, "-i", "-r", "9-9,150000-", _url(make_origin(lies)))
    assert BODY[:100] not in done.stdout
    assert done.stdout.startswith(b"HTTP/1.1 403") is not bool(before), "what is out is cut"
    assert done.returncode or not before


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_several_pieces_in_place_of_one_are_what_they_are(one_proxy, gatekeeper, make_origin, curl, boundary):
    gatekeeper.bad.add(hashlib.sha256(BODY).hexdigest())

    async def lies(_: Asked, writer: asyncio.StreamWriter) -> None:
        await send(
            writer, BODY, f"Content-Type: multipart/byteranges{boundary}", status="206 Partial Content"
        )

    origin = make_origin(lies)
    for asked in ("0-149999", "150000-", "0-"):
        assert curl(one_proxy, "-i", "-r", asked, _url(origin)).stdout.startswith(b"HTTP/1.1 403")


def test_harmless_ranges_in_one_answer_pass(one_proxy, gatekeeper, make_origin, curl):
    origin = make_origin(_several)
    assert b" 206 " in curl(one_proxy, "-i", "-r", "100-200,300-400", _url(origin)).stdout[:30]
    assert len(origin.requests) == 1
