"""Downloads through a real worker: clean ones arrive whole, listed ones never do."""

import asyncio
import gzip
import hashlib
import subprocess
import threading
from collections.abc import Callable, Iterator

import brotli
import pytest

from proxykit.bombs import bombs
from proxykit.gatekeeper import FakeGatekeeper
from proxykit.origin import Asked, Origin, send, send_chunked
from proxykit.proxy import RunningProxy
from proxykit.samples import (
    EICAR,
    EICAR_SHA256,
    ENCODERS,
    KIB,
    MIB,
    SIXTEENTH,
    gzipped,
    locked,
    program,
    prose,
    seven,
    tarred,
    zipped,
)

SIZES = [0, 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 256 * KIB - 1, 256 * KIB, 256 * KIB + 1]
LARGE = [MIB - 1, MIB, MIB + 1, 1_250_000]  # about the size up to which they are held
SHAPES = ["length", "chunked", "close"]
HEADERS = [
    "Content-Type: application/octet-stream",
    'Content-Disposition: attachment; filename="a b.bin"',
    'ETag: "1-2"',
    "Set-Cookie: a=1",
    "Set-Cookie: b=2; Path=/",
    "x-ODD: one,  two",
]
FRAMING = ("transfer-encoding:", "content-length:", "connection:", "proxy-connection:")
ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    **ENCODERS,
    "gzip, br": lambda data: brotli.compress(gzip.compress(data)),
}


class Shelf:
    """An origin's files, each in the shape its query names."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.headers: dict[str, list[str]] = {}

    async def reply(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        path, _, shape = asked.target.partition("?")
        body = self.files[path]
        headers = self.headers.get(path, HEADERS)
        if shape == "chunked":
            pieces = [body[start : start + 50_000] for start in range(0, len(body), 50_000)]
            await send_chunked(writer, pieces, *headers, trailers=("X-Trailer: seen",))
        elif shape == "close":
            writer.write(
                "\r\n".join(["HTTP/1.1 200 OK", *headers, "Connection: close", "", ""]).encode() + body
            )
            await writer.drain()
            writer.close()
        else:
            await send(writer, b"", *headers, f"Content-Length: {len(body)}", length=False)
            for start in range(0, len(body), 256 * KIB):
                writer.write(body[start : start + 256 * KIB])
                await writer.drain()


@pytest.fixture(scope="module")
def one_proxy(tmp_path_factory: pytest.TempPathFactory, judge: FakeGatekeeper) -> Iterator[RunningProxy]:
    proxy = RunningProxy(tmp_path_factory.mktemp("gate"), judge, downloads=SIXTEENTH)
    yield proxy
    proxy.close()


@pytest.fixture
def proxy(one_proxy: RunningProxy, gatekeeper: FakeGatekeeper) -> RunningProxy:
    """The module's, whose gatekeeper has forgotten the other tests."""
    return one_proxy


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture(params=["http", "https"])
def origin(request: pytest.FixtureRequest, shelf: Shelf, make_origin: Callable[..., Origin]) -> Origin:
    return make_origin(shelf.reply, tls=request.param == "https")


def _url(origin: Origin, path: str) -> str:
    return f"{'https' if origin.tls else 'http'}://127.0.0.1:{origin.port}{path}"


def _end_to_end(head: str) -> list[str]:
    """Give the headers of an answer in their order, those of its framing aside."""
    return [line for line in head.split("\r\n")[1:] if not line.lower().startswith(FRAMING)]


def _lower(headers: list[str]) -> list[str]:
    return [f"{name.lower()}: {value}" for name, _, value in (each.partition(": ") for each in headers)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("make", [program, prose])
def test_clean_files_arrive_byte_for_byte(proxy, origin, shelf, curl, make, shape):
    versions = ("--http1.1", "--http1.0") if origin.tls is None else ("--http1.1", "--http2")
    for size in SIZES:
        shelf.files["/file.exe"] = body = make(size)
        for http in versions:
            done = curl(proxy, http, "-i", "--suppress-connect-headers", _url(origin, f"/file.exe?{shape}"))
            head, _, got = done.stdout.partition(b"\r\n\r\n")
            assert (done.returncode, got) == (0, body), (size, http, done.stderr)
            assert _end_to_end(head.decode()) == (HEADERS if http != "--http2" else _lower(HEADERS)), head


@pytest.mark.parametrize("shape", SHAPES)
def test_clean_large_files_arrive_byte_for_byte(proxy, origin, shelf, curl, shape):
    for size in LARGE:
        shelf.files["/file.exe"] = body = program(size)
        done = curl(proxy, "--http2", _url(origin, f"/file.exe?{shape}"))
        assert done.returncode == 0, done.stderr
        assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(body).digest(), size


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("http", ["--http1.1", "--http2", "--http1.0"])
def test_a_listed_program_that_is_held_gets_the_refusal(proxy, gatekeeper, origin, shelf, curl, shape, http):
    for size in (1, 64 * KIB, 256 * KIB + 1, MIB):
        shelf.files["/file.exe"] = body = program(size)
        gatekeeper.bad.add(hashlib.sha256(body).hexdigest())
        done = curl(proxy, http, "-i", _url(origin, f"/file.exe?{shape}"))
        assert b"x-second-look: blocked" in done.stdout.lower(), done.stdout[:200]
        assert body[:64] not in done.stdout or size < 64


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("http", ["--http1.1", "--http2", "--http1.0"])
def test_a_listed_program_too_large_to_hold_fails_visibly(
    proxy, gatekeeper, origin, shelf, curl, shape, http
):
    shelf.files["/file.exe"] = body = program(1_250_000)
    gatekeeper.bad.add(hashlib.sha256(body).hexdigest())
    done = curl(proxy, http, _url(origin, f"/file.exe?{shape}"))
    if done.returncode == 0:  # held whole where a cut would not show
        assert http == "--http1.0"
        assert b"secondlook.internal" in done.stdout[:400]
    else:
        assert len(done.stdout) <= len(body) - len(body) // 100
        assert gatekeeper.waited == 1  # its refusal is in force everywhere before the client can ask again


def test_wget_sees_the_failure_too(proxy, gatekeeper, shelf, make_origin, tmp_path):
    origin = make_origin(shelf.reply)
    shelf.files["/file.exe"] = body = program(1_250_000)
    gatekeeper.bad.add(hashlib.sha256(body).hexdigest())
    target = tmp_path / "got"
    done = subprocess.run(
        [
            "wget",
            "-q",
            "--tries=1",
            "-e",
            f"http_proxy={proxy.url}",
            "-O",
            str(target),
            _url(origin, "/file.exe?chunked"),
        ],
        capture_output=True,
        check=False,
    )
    assert done.returncode != 0
    assert target.stat().st_size < len(body)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, br"])
@pytest.mark.parametrize("listed", ["raw", "decoded", None])
def test_encoded_bodies_are_looked_up_in_both_forms(
    proxy, gatekeeper, shelf, make_origin, curl, encoding, listed
):
    body = program(300_000)
    raw = ENCODINGS[encoding](body)
    origin = make_origin(shelf.reply)
    shelf.files["/page"] = raw
    shelf.headers["/page"] = ["Content-Type: text/plain", f"Content-Encoding: {encoding}"]
    if listed:
        gatekeeper.bad.add(hashlib.sha256(raw if listed == "raw" else body).hexdigest())
    done = curl(proxy, "-i", _url(origin, "/page?chunked"))
    if listed:
        assert done.stdout.startswith(b"HTTP/1.1 403")
    else:
        assert done.stdout.endswith(raw)


def test_a_bomb_and_a_broken_encoding_are_flagged_and_pass_as_they_came(
    proxy, gatekeeper, shelf, make_origin, curl
):
    origin = make_origin(shelf.reply)
    bomb = bombs()["a program in brotli"]
    assert len(bomb) < 1000
    for path, body in (("/bomb", bomb), ("/broken", b"MZ" + program(5000))):
        shelf.files[path] = body
        shelf.headers[path] = ["Content-Type: application/x-msdownload", "Content-Encoding: br"]
        done = curl(proxy, _url(origin, path))
        assert done.stdout == body
        how, _, _, decision = gatekeeper.seen[-1]
        assert (how, decision.action) == ("unverifiable", "flag")


ARCHIVES = {
    "zip": zipped({"a/readme": b"hi", "eicar.com": EICAR}),
    "nested zip": zipped({"in.zip": zipped({"eicar.com": EICAR})}),
    "tar": tarred({"a": b"hi", "eicar.com": EICAR}),
    "tgz": tarred({"a": b"hi", "eicar.com": EICAR}, "w:gz"),
    "txz": tarred({"a": b"hi", "eicar.com": EICAR}, "w:xz"),
    "gz": gzipped(EICAR),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_a_listed_file_inside_an_archive_blocks_it(proxy, gatekeeper, shelf, make_origin, curl, kind):
    origin = make_origin(shelf.reply)
    shelf.files["/file"] = ARCHIVES[kind]
    assert curl(proxy, _url(origin, "/file")).stdout == ARCHIVES[kind]
    gatekeeper.bad.add(EICAR_SHA256)
    assert curl(proxy, "-i", _url(origin, "/file")).stdout.startswith(b"HTTP/1.1 403")
    (*_, (_, subject, _, _)) = gatekeeper.files()
    assert any(label.startswith("member:") for label in subject.labels)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_a_listed_file_inside_an_encoded_archive_blocks_it(
    proxy, gatekeeper, shelf, make_origin, curl, encoding
):
    origin = make_origin(shelf.reply)
    shelf.files["/file"] = body = ENCODERS[encoding](ARCHIVES["zip"])
    shelf.headers["/file"] = ["Content-Type: application/zip", f"Content-Encoding: {encoding}"]
    assert curl(proxy, _url(origin, "/file")).stdout == body
    assert {decision.evidence.detail for *_, decision in gatekeeper.files()} == {None}
    gatekeeper.bad.add(EICAR_SHA256)
    assert curl(proxy, "-i", _url(origin, "/file")).stdout.startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (zipped({"bomb": b"\0" * (20 * MIB)}), "unpacked"),
        (zipped({"x": EICAR})[:-30], "cannot be read"),
        (zipped({"a.zip": zipped({"b.zip": zipped({"c.zip": zipped({"d": b""})})})}), "deeper"),
        (b"PK\x03\x04" + b"junk" * 100, "cannot be read"),
        (locked({"eicar.com": EICAR}, "infected"), "encrypted"),
        (seven({"eicar.com": EICAR}, password="infected"), "encrypted"),
    ],
)
def test_what_cannot_be_looked_into_is_flagged(make_proxy, gatekeeper, shelf, make_origin, curl, body, why):
    proxy = make_proxy(downloads={"archives": {"max_bytes": 16 * MIB, "time": 60}})  # sizes, not the clock
    origin = make_origin(shelf.reply)
    shelf.files["/file.zip"] = body
    assert curl(proxy, _url(origin, "/file.zip")).stdout == body
    how, _, _, decision = gatekeeper.seen[-1]
    assert how == "unverifiable"
    assert why in decision.evidence.detail
    gatekeeper.unverifiable_blocks = True
    assert curl(proxy, "-i", _url(origin, "/file.zip")).stdout.startswith(b"HTTP/1.1 403")


def test_events_are_not_delayed(proxy, make_origin):
    pause, in_time = threading.Event(), []

    async def events(asked: Asked, writer: asyncio.StreamWriter) -> None:
        kind = "text/plain" if "plain" in asked.target else "text/event-stream"
        writer.write(
            f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        for _ in range(3):
            writer.write(b"7\r\ndata: x\r\n")
            await writer.drain()
            in_time.append(await asyncio.get_running_loop().run_in_executor(None, pause.wait, 60))
            pause.clear()
        writer.write(b"0\r\n\r\n")

    origin = make_origin(events)
    for path in ("/sse", "/plain", "/sse.php", "/plain.pl"):
        command = ["curl", "-sSN", "-m", "120", "-x", proxy.url, f"http://127.0.0.1:{origin.port}{path}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as client:
            assert client.stdout is not None
            for _ in range(3):  # each event is here before the origin sends the next
                assert client.stdout.read(7) == b"data: x"
                pause.set()
            assert client.wait(60) == 0
    assert in_time == [True] * 12


@pytest.mark.parametrize("http", ["--http1.1", "--http2"])
@pytest.mark.parametrize("declared", [True, False])
def test_the_beginning_of_a_large_program_goes_on_before_the_rest_is_there(
    proxy, make_origin, http, declared
):
    body, seen, in_time = program(20 * MIB // 16), threading.Event(), []
    first = (
        17 * MIB // 16 if not declared else 64 * KIB
    )  # one of unknown length is held up to 1 MiB; and the tail of both

    async def waits(asked: Asked, writer: asyncio.StreamWriter) -> None:
        framing = f"Content-Length: {len(body)}" if declared else "Connection: close"
        await send(writer, b"", "Content-Type: application/x-msdownload", framing, length=False)
        writer.write(body[:first])
        await writer.drain()
        in_time.append(await asyncio.get_running_loop().run_in_executor(None, seen.wait, 60))
        writer.write(body[first:])
        await writer.drain()
        if not declared:
            writer.close()

    url = f"https://127.0.0.1:{make_origin(waits, tls=True).port}/f.exe"
    command = ["curl", "-sSN", "-m", "120", http, "-x", proxy.url, "--cacert", str(proxy.ca), url]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        beginning = client.stdout.read(32 * KIB)
        seen.set()
        assert beginning + client.stdout.read() == body
        assert client.wait(60) == 0
    assert in_time == [True]


def test_fault_in_the_gate_of_a_risky_body_cuts_it_and_of_another_lets_it_on(
    proxy, gatekeeper, shelf, make_origin, curl, monkeypatch
):
    from secondlook.download.gate.gate import BodyGate

    origin = make_origin(shelf.reply)
    feed = BodyGate.feed
    calls = []

    def broken(self: BodyGate, data: bytes) -> bytes:
        calls.append(len(data))
        if len(calls) == 2:
            raise RuntimeError("injected fault in the gate")
        return feed(self, data)

    monkeypatch.setattr(BodyGate, "feed", broken)
    shelf.files["/file.exe"] = program(750_000)
    done = curl(proxy, "-i", _url(origin, "/file.exe"))
    assert done.stdout.startswith(b"HTTP/1.1 403")
    calls.clear()
    shelf.files["/page.txt"] = body = prose(3_000_000)
    shelf.headers["/page.txt"] = ["Content-Type: text/plain"]
    assert curl(proxy, _url(origin, "/page.txt")).stdout == body
    assert gatekeeper.seen[-1][0] == "unverifiable"


@pytest.mark.parametrize("fault", ["now", "local"])
def test_a_fault_in_the_judgement_of_a_body_never_opens_the_door(
    proxy, gatekeeper, shelf, make_origin, curl, fault
):
    origin = make_origin(shelf.reply)
    shelf.files["/f"] = program(1000) if fault == "now" else prose(1000)
    shelf.headers["/f"] = ["Content-Type: text/plain"]

    def only_files(subject: object) -> None:
        if getattr(subject, "kind", None) == "file":
            raise RuntimeError("injected fault")

    gatekeeper.on_check = only_files
    assert curl(proxy, _url(origin, "/f")).stdout == shelf.files["/f"]
    assert gatekeeper.seen[-1][0] == "unverifiable"
    gatekeeper.unverifiable_blocks = True
    assert curl(proxy, "-i", _url(origin, "/f")).stdout.startswith(b"HTTP/1.1 403")


def test_a_listed_body_that_had_to_pass_is_a_late_verdict(proxy, gatekeeper, shelf, make_origin, curl):
    origin = make_origin(shelf.reply)
    shelf.files["/page"] = body = prose(2_000_000)
    shelf.headers["/page"] = ["Content-Type: text/plain"]
    gatekeeper.bad.add(hashlib.sha256(body).hexdigest())
    assert curl(proxy, _url(origin, "/page")).stdout == body
    (*_, (how, _, _, decision)) = gatekeeper.files()
    assert (how, decision.action) == ("late", "block")
