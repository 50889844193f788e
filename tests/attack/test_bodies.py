"""Bodies. What a site sends to have a listed file kept, or to have others wait."""

import asyncio
import bz2
import gzip
import time
import zlib

import brotli
import pytest
import zstandard

from attack.conftest import LISTED, LONG_SCRIPT, SCRIPT
from attackkit.site import again, ranged
from attackkit.stand import at_once, body_of
from proxykit.origin import Asked
from proxykit.samples import EICAR, program, zipped

OK = b"HTTP/1.1 200 OK\r\n"
MIB = 1 << 20


def zeros(mib: int) -> bytes:
    """A gzip stream that stands for so many MiB: one flushed block, repeated."""
    machine = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = machine.compress(bytes(MIB)) + machine.flush(zlib.Z_FULL_FLUSH)
    check = 0
    for _ in range(mib):
        check = zlib.crc32(bytes(MIB), check)
    tail = b"\3\0" + check.to_bytes(4, "little") + (mib * MIB % 2**32).to_bytes(4, "little")
    return b"\x1f\x8b\x08\0\0\0\0\0\0\3" + block * mib + tail


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """A megabyte that is a gigabyte."""
    return zeros(1024)


@pytest.fixture(scope="module")
def bombs() -> dict[str, bytes]:
    """Bodies that stand for much, by their coding."""
    return {
        "br": brotli.compress(bytes(200 * MIB), quality=1),
        "zstd": zstandard.ZstdCompressor().compress(bytes(200 * MIB)),
        "gzip, br": brotli.compress(zeros(200), quality=1),
        "gzip": gzip.compress(b"", mtime=0) * 50_000,
        "deflate": b"\0\0\0\xff\xff" * 200_000,
    }


@pytest.fixture(scope="module")
def message() -> bytes:
    """A compressed frame of WebSocket that stands for 300 MiB."""
    machine = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = machine.compress(bytes(300 * MIB)) + machine.flush(zlib.Z_SYNC_FLUSH)
    return bytes([0xC1, 127]) + (len(data) - 4).to_bytes(8) + data[:-4]


@pytest.fixture(scope="module")
def bz2_bomb() -> bytes:
    return bz2.compress(bytes(300 * MIB))


def test_no_content(stand):
    """A listed file in a 205: it does not arrive, and an event tells of it."""
    stand.site.put("/205", LISTED, "Content-Type: application/octet-stream", status="205 Reset Content")
    begun = time.time()
    assert LISTED not in stand.get("/205")
    assert SCRIPT not in stand.get("/205")
    stand.event(begun, lambda event: event["kind"] == "blocked" and "/205" in str(event["url"]))


def test_false_encoding(stand):
    """Raw listed bytes under a false Content-Encoding: none of them arrives whole."""
    for coding in ("gzip", "br", "zstd", "deflate", "gzip, br", "foo"):
        path = f"/false/{coding.replace(', ', '-')}"
        stand.site.put(path, LISTED, "Content-Type: text/html", f"Content-Encoding: {coding}", chunked=50_000)
        assert len(body_of(stand.get(path))) < len(LISTED), coding


def test_odd_encodings(stand):
    """Listed bytes in an encoding that Firefox undoes beside one that nobody knows: none of them arrives."""
    packed = brotli.compress(LISTED, quality=3)
    for number, coding in enumerate(("foo, br", "br foo", "foo br")):
        for kind in ("text/html", "application/octet-stream"):
            path = f"/odd{number}{kind[0]}"
            stand.site.put(
                path, packed, f"Content-Type: {kind}", f"Content-Encoding: {coding}", chunked=50_000
            )
            assert stand.get(path).startswith(b"HTTP/1.1 403"), (coding, kind)


def test_mixed_parts(stand):
    """A listed program as a part of a page that is replaced again and again, which Firefox saves: it does not arrive."""
    kind = "Content-Type: multipart/x-mixed-replace; boundary=B"
    page = b"--B\r\nContent-Type: text/html\r\n\r\n<p>soon\r\n"
    file = b"--B\r\nContent-Disposition: attachment; filename=a.exe\r\n\r\n" + LISTED + b"\r\n--B--\r\n"
    for number, body in enumerate((file, page * 50 + file, page * 5_000 + file)):
        stand.site.put(f"/mixed{number}", body, kind)
        assert LISTED[:100] not in stand.get(f"/mixed{number}", "Accept: text/html,*/*")


def test_later_parts(stand):
    """A listed program as a later part of several ranges that were asked for: it does not arrive whole."""
    kind = "Content-Type: multipart/byteranges; boundary=B"
    piece = "--B\r\nContent-Type: text/plain\r\nContent-Range: bytes {}-{}/{}\r\n\r\n"
    asked = piece.format(9, 9, len(LISTED)).encode() + b"x\r\n"
    filler = piece.format(20, 200_019, len(LISTED)).encode() + b"y" * 200_000 + b"\r\n"
    whole = piece.format(0, len(LISTED) - 1, len(LISTED)).encode() + LISTED + b"\r\n--B--\r\n"
    for number, body in enumerate((asked + whole, asked + filler + whole, asked + filler * 20 + whole)):
        stand.site.put(f"/later{number}", body, kind, status="206 Partial Content", chunked=60_000)
        assert LISTED[:100] not in stand.get(f"/later{number}", "Range: bytes=9-9,20-200019")


def test_kept_by_browsers(stand):
    """A listed program packed with what a browser has kept, or a kept page that a 304 makes a file: neither passes."""
    packed = b"\x5e\x2a\x4d\x18\x20\0\0\0" + bytes(32) + zstandard.compress(LISTED)
    kind, tag = "Content-Type: text/html", ("Content-Disposition: attachment; filename=a.bat", 'ETag: "1"')
    for coding in ("dcz", "dcb", "gzip, dcz"):
        path = f"/dictionary-{coding[-3:]}{len(coding)}"
        stand.site.put(path, packed, kind, f"Content-Encoding: {coding}")
        assert stand.get(path).startswith(b"HTTP/1.1 403"), coding
    stand.site.put("/offer", b"a{}", "Content-Type: text/css", 'Use-As-Dictionary: match="/*"')
    assert b"dictionary" not in stand.get("/offer").lower()
    stand.site.put("/304", b"", kind, *tag, status="304 Not Modified")
    answer = stand.get("/304", 'If-None-Match: "1"')
    assert answer.startswith(b"HTTP/1.1 304")
    assert b"disposition" not in answer.lower()


def test_kept_by_name(stand):
    """A long listed script with its name, by types under which clients keep it: it is refused each time."""
    browser, tool = "Accept: text/html,*/*", "Accept: */*"
    for number, (kind, client) in enumerate(
        (
            ("font/woff", browser),
            ("application/wasm", browser),
            ("image/x-unheard-of", browser),
            ("application/jsonx", browser),
            ("text/html, application/octet-stream", browser),
            ("text/html", tool),
            ("image/png", tool),
        )
    ):
        stand.site.put(f"/kept{number}.bat", LONG_SCRIPT, f"Content-Type: {kind}", chunked=50_000)
        assert stand.get(f"/kept{number}.bat", client).startswith(b"HTTP/1.1 403"), kind


def test_nameless(stand):
    """Listed files without type or telling name, in chunks: each is refused."""
    for number, kind in enumerate(("application/octet-stream", "application/force-download", "x/y", "")):
        headers = [f"Content-Type: {kind}"] if kind else []
        for body in (SCRIPT, LISTED):
            stand.site.put(f"/thing{number}", body, *headers, chunked=100)
            assert stand.get(f"/thing{number}?{len(body)}").startswith(b"HTTP/1.1 403"), kind


def test_gzip_bomb(stand, bomb):
    """A megabyte of gzip that is a gigabyte, as a page: it passes or is refused, others are served."""
    stand.site.put("/bomb", bomb, "Content-Type: text/html", "Content-Encoding: gzip")
    came = stand.get("/bomb")
    assert body_of(came) == bomb or b" 403 " in came[:20]


def test_other_bombs(stand, bombs):
    """Brotli, zstd, nested and memberless bombs, as pages: others are served."""
    for number, (coding, bomb) in enumerate(bombs.items()):
        stand.site.put(f"/b{number}", bomb, "Content-Type: text/html", f"Content-Encoding: {coding}")
    at_once(*(lambda number=number: stand.get(f"/b{number}") for number in range(len(bombs))))


def test_wide_window(stand):
    """A zstd frame that wants a window of 2 GiB: the memory is not taken."""
    frame = b"\x28\xb5\x2f\xfd\x00" + bytes([(31 - 10) << 3]) + b"\x03\x00\x10a" * 3 + b"\x01\0\0"
    stand.site.put("/window", frame, "Content-Type: text/html", "Content-Encoding: zstd")
    at_once(*(lambda n=n: stand.get(f"/window?{n}") for n in range(8)))


def test_many_codings(stand):
    """Ten thousand Content-Encodings, and gzip in gzip fifty times: refused, or passed with nobody waiting."""
    body = EICAR
    for _ in range(50):
        body = gzip.compress(body, mtime=0)
    stand.site.put("/deep", body, "Content-Type: text/html", "Content-Encoding: " + ", ".join(["gzip"] * 50))
    stand.site.put("/codings", b"x", "Content-Encoding: " + ",".join(["gzip"] * 10_000))
    assert body not in stand.get("/deep")
    stand.get("/codings")


def test_websocket_bomb(stand, message):
    """A WebSocket message of 306 kB that is 300 MB: it passes as it is."""

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
            b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n" + message
        )
        await writer.drain()
        writer.close()

    stand.site.replies["/ws"] = reply
    url = stand.site.url("/ws")
    came = stand.say(
        f"GET {url} HTTP/1.1\r\nHost: {url.split('/')[2]}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n".encode()
    )
    assert message in came


def test_archive_bombs(stand, bz2_bomb):
    """Twenty bz2 bombs of 300 MiB beside a good zip: the zip arrives."""
    good = zipped({"readme.txt": b"hello"})
    stand.site.put("/good.zip", good, "Content-Type: application/zip")
    stand.site.put("/bomb.bz2", bz2_bomb, "Content-Type: application/x-bzip2")
    came: list[bytes] = []
    bombs = [lambda n=n: stand.get(f"/bomb.bz2?{n}") for n in range(20)]
    at_once(*bombs, lambda: (time.sleep(0.3), came.append(stand.get("/good.zip"))))
    assert body_of(came[0]) == good


def test_trickled(stand):
    """A listed program at 100 kB a second: its client gets less than all of it."""
    head = OK + b"Content-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % len(LISTED)

    async def drip():
        yield head
        for start in range(0, len(LISTED), 10_000):
            yield LISTED[start : start + 10_000]
            await asyncio.sleep(0.1)

    stand.site.flow("/trickled", drip)
    assert len(body_of(stand.get("/trickled"))) < len(LISTED) // 2


def test_lying_pieces(stand):
    """A site that shows a clean program when asked for all, and pieces of a listed one: they never make it whole."""
    clean = program(len(LISTED), 5)

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(ranged(LISTED if asked.header("range") else clean, asked))

    stand.site.replies["/lying.exe"] = reply
    step, came = 100_000, b""
    for start in range(0, len(LISTED), step):
        came += body_of(stand.get("/lying.exe", f"Range: bytes={start}-{start + step - 1}"))
    assert LISTED not in came


def test_piece_flood(stand):
    """Two hundred pieces of a 10 MB program at once: the site sends it not much more than twice."""
    clean = program(10_000_000, 6)
    sent: list[int] = []

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        answer = ranged(clean, asked)
        sent.append(len(answer))
        writer.write(answer)
        await writer.drain()

    stand.site.replies["/pieces.exe"] = reply
    step = len(clean) // 200
    got: dict[int, bytes] = {}

    def piece(start: int) -> None:
        got[start] = body_of(stand.get("/pieces.exe", f"Range: bytes={start}-{start + step - 1}"))

    at_once(*(lambda n=n: piece(n * step) for n in range(200)))
    assert b"".join(got[start] for start in sorted(got)) == clean
    assert sum(sent) < 4.5 * len(clean)


def test_many_ranges(stand):
    """A thousand ranges in one request, of one byte each or each of all: the answer is no larger than a few files."""
    clean = program(1_000_000, 8)

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        asked.headers = [pair for pair in asked.headers if "," not in pair[1]]
        writer.write(ranged(clean, asked))

    stand.site.replies["/ranges.exe"] = reply
    for wanted in (",".join(f"{n * 900}-{n * 900}" for n in range(1000)), ",".join(["0-"] * 1000)):
        assert len(stand.get("/ranges.exe", f"Range: bytes={wanted}")) < 4 * len(clean)


def test_endless_download(stand):
    """A program without a length that goes on for 200 MB to a client that reads none of it: it is not collected."""
    block = program(1 << 16, 3)
    head = OK + b"Content-Type: application/octet-stream\r\n\r\nMZ"
    stand.site.flow("/endless", lambda: again(head, block, 200 * MIB))
    before = stand.site.sent
    url = stand.site.url("/endless")
    with stand.line() as line:
        line.sendall(f"GET {url} HTTP/1.1\r\nHost: {url.split('/')[2]}\r\n\r\n".encode())
        time.sleep(3)
    assert stand.site.sent - before > 0


def test_endless_upload(stand):
    """An upload of 100 MB in chunks to a site that reads none of it: it is not collected."""

    async def reply(_: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0)

    stand.site.replies["/up"] = reply
    with stand.line() as line:
        line.settimeout(3)
        url = stand.site.url("/up")
        line.sendall(
            f"POST {url} HTTP/1.1\r\nHost: {url.split('/')[2]}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
        try:
            for _ in range(1600):
                line.sendall(chunk)
        except OSError:
            return


def test_chunks_of_a_byte(stand):
    """A page of 400 kB in chunks of one byte: it arrives, others are served."""
    body = b"<p>hello</p>" * 33_000
    stand.site.put("/tiny", body, "Content-Type: text/html", chunked=1)
    assert len(stand.get("/tiny")) >= len(body)


def test_parts(stand):
    """A multipart answer of 100,000 parts with a listed file in the last one: it does not arrive whole."""
    parts = b"--b\r\n\r\nx\r\n" * 100_000 + b"--b\r\nContent-Type: application/octet-stream\r\n\r\n"
    stand.site.put("/parts", parts + LISTED + b"\r\n--b--\r\n", "Content-Type: multipart/mixed; boundary=b")
    stand.get("/parts")
    stand.site.put("/replace", b"--b\r\n\r\n" + EICAR, "Content-Type: multipart/x-mixed-replace; boundary=b")
    stand.get("/replace")
