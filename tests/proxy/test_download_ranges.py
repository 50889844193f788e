"""Pieces of files: a risky file is only ever let through whole and judged, or flagged as a piece."""

import asyncio
import hashlib

import pytest

from proxykit.origin import Asked, Origin, one_range, send, send_piece
from proxykit.samples import program, prose
from secondlook.download.body.ranges import (
    Piece,
    WantedRange,
    read_content_range,
    read_first_part,
    read_range,
)

BODY = program(3_000_000)
ETAG = '"v1"'


class Ranged:
    """An origin that obeys Range, or always sends pieces."""

    def __init__(self) -> None:
        self.body = BODY
        self.kind = "application/octet-stream"
        self.insists = False  # sends 206 though nobody asked

    async def reply(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        headers = [f"Content-Type: {self.kind}", f"ETag: {ETAG}", "Accept-Ranges: bytes"]
        end = len(self.body) - 1
        wanted = (1_000_000, end) if self.insists else one_range(asked, len(self.body))
        if wanted is None or asked.header("if-range") not in {None, ETAG}:
            await send(writer, self.body, *headers)
            return
        await send_piece(writer, self.body, wanted, *headers)


@pytest.fixture
def ranged() -> Ranged:
    return Ranged()


@pytest.fixture
def origin(ranged, make_origin) -> Origin:
    return make_origin(ranged.reply)


def _url(origin: Origin, path: str = "/file.exe") -> str:
    return f"http://127.0.0.1:{origin.port}{path}"


@pytest.mark.parametrize("wanted", ["0-999", "1000000-", "-500", "2999999-2999999", "5-5"])
def test_a_range_of_a_risky_file_is_sliced_from_the_whole_that_was_judged(
    proxy, gatekeeper, origin, curl, wanted
):
    done = curl(proxy, "-i", "-r", wanted, _url(origin))
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    asked = read_range(f"bytes={wanted}", None)
    assert asked is not None
    first, count = asked.within(len(BODY)) or (0, 0)
    assert b" 206" in head
    assert f"bytes {first}-{first + count - 1}/{len(BODY)}".encode() in head
    assert body == BODY[first : first + count]
    assert origin.requests[0].header("range") is None  # the origin was asked for all of it
    (*_, (_, subject, _, _)) = gatekeeper.files()
    assert subject.hashes[0] == hashlib.sha256(BODY).digest()


def test_no_piece_of_a_listed_file_passes(proxy, gatekeeper, origin, curl):
    gatekeeper.bad.add(hashlib.sha256(BODY).hexdigest())
    for wanted in ("0-999", "1000000-", "-500", "0-0,5-9"):
        done = curl(proxy, "-i", "-r", wanted, _url(origin))
        assert done.stdout.startswith(b"HTTP/1.1 403"), wanted


def test_a_resumed_download_of_a_judged_entity_goes_through_as_a_range(proxy, origin, curl):
    assert curl(proxy, _url(origin)).stdout == BODY
    done = curl(proxy, "-r", "1000000-", "-H", f"If-Range: {ETAG}", _url(origin))
    assert done.stdout == BODY[1_000_000:]
    assert origin.requests[-1].header("range") == "bytes=983040-2999999"  # whole blocks of what was judged
    assert origin.requests[-1].header("if-range") == ETAG


def test_if_range_that_names_another_entity_gets_the_whole(proxy, origin, curl):
    done = curl(proxy, "-i", "-r", "1000000-", "-H", 'If-Range: "old"', _url(origin))
    assert done.stdout.startswith(b"HTTP/1.1 200")
    assert done.stdout.endswith(BODY)


@pytest.mark.parametrize("policy", ["flag", "block"])
def test_a_piece_that_the_origin_insists_on_is_flagged(make_proxy, gatekeeper, ranged, origin, curl, policy):
    proxy = make_proxy(downloads={"partial": policy})
    ranged.insists = True
    done = curl(proxy, "-i", _url(origin))
    how, _, _, decision = gatekeeper.seen[-1]
    assert how == "unverifiable"
    assert "partial" in decision.evidence.detail
    if policy == "flag":
        assert done.stdout.endswith(BODY[1_000_000:])
    else:
        assert done.stdout.startswith(b"HTTP/1.1 403")


def test_a_blocked_entity_is_not_resumed_under_a_new_address(proxy, gatekeeper, ranged, origin, curl):
    gatekeeper.bad.add(hashlib.sha256(BODY).hexdigest())
    assert curl(proxy, "-i", _url(origin, "/file.exe?sign=1")).stdout.startswith(b"HTTP/1.1 403")
    gatekeeper.bad.clear()
    ranged.insists = True
    done = curl(proxy, "-i", _url(origin, "/file.exe?sign=2"))
    assert done.stdout.startswith(b"HTTP/1.1 403")


def test_harmless_ranges_pass_untouched(proxy, ranged, origin, curl):
    ranged.kind, ranged.body = "video/mp4", b"\0\0\0\x18ftypmp42" + prose(3_000_000)
    done = curl(proxy, "-i", "-r", "500-", _url(origin, "/film.mp4"))
    assert b" 206" in done.stdout[:20]
    assert done.stdout.endswith(ranged.body[500:])
    assert origin.requests[0].header("range") == "bytes=500-"


def test_a_program_behind_a_harmless_name_is_caught_by_its_first_piece(
    proxy, gatekeeper, ranged, origin, curl
):
    ranged.kind = "image/png"
    done = curl(proxy, "-r", "0-99999", _url(origin, "/picture.png"))
    assert done.stdout == BODY[:100_000]
    (*_, (_, subject, _, _)) = gatekeeper.files()
    assert subject.hashes[0] == hashlib.sha256(BODY).digest()  # asked for whole, judged and cut


def test_several_pieces_that_nobody_asked_for_are_refused(proxy, gatekeeper, make_origin, curl):
    async def parts(asked: Asked, writer: asyncio.StreamWriter) -> None:
        body = (
            b"--xyz\r\nContent-Type: application/x-msdownload\r\nContent-Range: bytes 0-9/100\r\n\r\nMZ12345678\r\n"
            b"--xyz\r\nContent-Type: application/x-msdownload\r\nContent-Range: bytes 20-21/100\r\n\r\nab\r\n--xyz--\r\n"
        )
        await send(
            writer, body, "Content-Type: multipart/byteranges; boundary=xyz", status="206 Partial Content"
        )

    origin = make_origin(parts)
    done = curl(proxy, "-r", "0-9,20-21", _url(origin, "/page"))
    assert b"MZ12345678" not in done.stdout  # asked for whole, and several pieces came all the same
    assert gatekeeper.seen[-1][0] == "unverifiable"


def test_head_and_not_modified_pass(proxy, make_origin, curl):
    async def bodyless(asked: Asked, writer: asyncio.StreamWriter) -> None:
        status = "200 OK" if asked.method == "HEAD" else "304 Not Modified"
        await send(writer, b"", "Content-Length: 123456", f"ETag: {ETAG}", status=status, length=False)

    origin = make_origin(bodyless)
    assert b"123456" in curl(proxy, "-I", _url(origin)).stdout
    assert b" 304" in curl(proxy, "-i", "-H", f"If-None-Match: {ETAG}", _url(origin)).stdout


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-9", WantedRange(0, 9, None)),
        ("bytes=5-", WantedRange(5, None, None)),
        ("bytes=-5", WantedRange(None, 5, None)),
        ("BYTES = 1-2 ", WantedRange(1, 2, None)),
        ("bytes=9-1", None),
        ("bytes=0-1,3-4", None),
        ("lines=1-2", None),
        ("bytes=-", None),
        (None, None),
    ],
)
def test_reading_ranges(header, expected):
    assert read_range(header, None) == expected


def test_reading_content_ranges_and_parts():
    assert read_content_range("bytes 0-9/100") == Piece(0, 9, 100)
    assert read_content_range("bytes 0-9/*") == Piece(0, 9, None)
    assert read_content_range("bytes 9-0/100") is None
    assert read_content_range("bytes 0-100/100") is None
    assert read_first_part("multipart/byteranges; boundary=a", b"--a\r\nno end") is None
