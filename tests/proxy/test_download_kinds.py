"""What is a download, through a real worker: what tells nothing about itself, and false encodings (about 4 s)."""

import asyncio
import gzip
import hashlib
import zlib
from collections.abc import Callable

import brotli
import pytest

from proxykit.origin import Asked, Origin, send, send_chunked
from proxykit.proxy import RunningProxy
from proxykit.samples import EICAR, ENCODERS, program, prose
from secondlook.core.verdict import SubjectClass

VBS = (b'Set sh = CreateObject("WScript.Shell")\r\nsh.Run "calc.exe"\r\n' * 8)[:409]
BODIES = {
    "vbs": VBS,
    "iso": bytes(32768) + b"\x01CD001\x01\x00" + prose(300_000),
    "rtf": rb"{\rtf1\ansi " + prose(614_000) + b"}",
    "noise": b"\x17" + program(400_000)[2:],
}
BATCH = b"@echo off\r\n" + b"".join(b"set line%d=%064d\r\n" % (n, n) for n in range(4000))
TYPES = ["application/octet-stream", "application/force-download", "application/x-unheard-of", None]


class Shelf:
    """One body, sent in chunks."""

    def __init__(self) -> None:
        self.body = b""
        self.headers: list[str] = []
        self.transfer: str | None = None

    async def reply(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        if self.transfer is not None:
            lines = ["HTTP/1.1 200 OK", *self.headers, f"Transfer-Encoding: {self.transfer}", "", ""]
            body = self.body
            if self.transfer.endswith("chunked"):
                body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
            writer.write("\r\n".join(lines).encode() + body)
            await writer.drain()
            writer.close()
        elif asked.target.endswith("?length"):
            await send(writer, self.body, *self.headers)
        else:
            pieces = [self.body[:1], self.body[1:90], *_pieces(self.body[90:])]
            await send_chunked(writer, pieces, *self.headers)


def _pieces(body: bytes) -> list[bytes]:
    return [body[start : start + 50_000] for start in range(0, len(body), 50_000)]


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def origin(shelf: Shelf, make_origin: Callable[..., Origin]) -> Origin:
    return make_origin(shelf.reply)


def _url(origin: Origin, path: str) -> str:
    return f"http://127.0.0.1:{origin.port}{path}"


def test_what_tells_nothing_about_itself_is_a_download(proxy, gatekeeper, shelf, origin, curl):
    gatekeeper.bad |= {hashlib.sha256(body).hexdigest() for body in BODIES.values()}
    for name, body in BODIES.items():
        for kind in TYPES:
            shelf.body, shelf.headers = body, [f"Content-Type: {kind}"] if kind else []
            for path in ("/thing", "/thing?length"):
                done = curl(proxy, "-i", _url(origin, path))
                assert done.stdout.startswith(b"HTTP/1.1 403"), (name, kind, path)
                assert gatekeeper.seen[-1][2].cls is SubjectClass.DOWNLOAD


@pytest.mark.parametrize(
    ("kinds", "accept"),
    [
        (["font/woff"], "text/html,*/*"),
        (["application/wasm"], "text/html,*/*"),
        (["image/x-unheard-of"], "text/html,*/*"),
        (["application/jsonx"], "text/html,*/*"),
        (["text/html, application/octet-stream"], "text/html,*/*"),
        (["application/octet-stream", "text/html"], "text/html,*/*"),
        (["text/html"], "*/*"),
        (["image/png"], "*/*"),
    ],
)
def test_a_script_with_its_name_is_a_download_by_whatever_type_its_client_keeps_it(
    proxy, gatekeeper, shelf, origin, curl, kinds, accept
):
    shelf.body = BATCH
    gatekeeper.bad.add(hashlib.sha256(BATCH).hexdigest())
    shelf.headers = [f"Content-Type: {kind}" for kind in kinds]
    for path in ("/setup.bat", "/setup.bat?length"):
        done = curl(proxy, "-i", "-H", f"Accept: {accept}", _url(origin, path))
        assert done.stdout.startswith(b"HTTP/1.1 403"), path


def test_a_page_with_the_name_of_a_program_is_held_for_nobody(proxy, gatekeeper, shelf, origin, curl):
    shelf.body = b"<!doctype html><title>COMMAND.COM</title>" + prose(300_000)
    shelf.headers = ["Content-Type: text/html"]
    for accept in ("text/html,*/*", "*/*"):
        done = curl(proxy, "-H", f"Accept: {accept}", _url(origin, "/wiki/COMMAND.COM"))
        assert done.stdout == shelf.body
        assert gatekeeper.seen[-1][0] in {"late", "local"}


def test_it_arrives_when_nobody_lists_it_and_media_are_not_held(proxy, gatekeeper, shelf, origin, curl):
    for body in BODIES.values():
        shelf.body, shelf.headers = body, []
        assert curl(proxy, _url(origin, "/thing")).stdout == body
    shelf.body = b"\0\0\0\x18ftypmp42" + bytes(16) + program(400_000)
    for kind, when in (("application/octet-stream", "local"), ("video/mp4", "late")):
        shelf.headers = [f"Content-Type: {kind}"]  # of what is saved as a file, only the last bytes wait
        assert curl(proxy, _url(origin, "/film")).stdout == shelf.body
        how, _, context, _ = gatekeeper.seen[-1]
        assert (how, context.cls) == (when, SubjectClass.PAGE)
    shelf.body, shelf.headers = BODIES["noise"], ["Content-Type: application/octet-stream"]
    for dest, mode, late in (
        ("empty", "cors", True),
        ("image", "no-cors", True),
        ("empty", "no-cors", False),
    ):
        sent = ["-H", f"Sec-Fetch-Dest: {dest}", "-H", f"Sec-Fetch-Mode: {mode}"]
        assert curl(proxy, *sent, _url(origin, "/level1")).stdout == shelf.body
        assert (gatekeeper.seen[-1][0] == "late") is late


@pytest.mark.parametrize("listed", [program(400_000), BODIES["rtf"], VBS])
def test_a_false_encoding_hides_nothing(proxy, gatekeeper, shelf, origin, curl, listed):
    gatekeeper.bad.add(hashlib.sha256(listed).hexdigest())
    for coding in (
        "gzip",
        "x-gzip",
        "br",
        "zstd",
        "deflate",
        "gzip, br",
        "identity, gzip",
        "dcz",
        "foo",
        "compress",
    ):
        shelf.body, shelf.headers = listed, ["Content-Type: text/html", f"Content-Encoding: {coding}"]
        for path in ("/thing", "/thing?length"):
            done = curl(proxy, "-i", _url(origin, path))
            assert done.stdout.startswith(b"HTTP/1.1 403"), (coding, path)


def test_a_body_that_decodes_to_nothing_for_long_is_no_page(proxy, gatekeeper, shelf, origin, curl):
    empty = {"gzip": gzip.compress(b"") * 20_000, "deflate": b"\0\0\0\xff\xff" * 80_000}
    empty["zstd"] = (b"\x50\x2a\x4d\x18" + (1000).to_bytes(4, "little") + bytes(1000)) * 600
    for coding, before in empty.items():
        shelf.body = before + ENCODERS["gzip" if coding == "gzip" else coding](b"x")
        shelf.headers = ["Content-Type: text/html", f"Content-Encoding: {coding}"]
        gatekeeper.bad = {hashlib.sha256(shelf.body).hexdigest()}
        assert curl(proxy, "-i", _url(origin, "/thing")).stdout.startswith(b"HTTP/1.1 403"), coding


def test_a_coding_of_the_transfer_is_never_passed_on(proxy, gatekeeper, shelf, origin, curl):
    gatekeeper.bad.add(hashlib.sha256(EICAR).hexdigest())
    packed = {"deflate": zlib.compress(EICAR), "gzip": gzip.compress(EICAR)}
    packed["x-gzip"] = packed["gzip"]
    for coding, body in packed.items():
        for chunks in ("", ", chunked", ",chunked"):
            shelf.body, shelf.transfer = body, coding + chunks
            for kind in ("application/octet-stream", "text/html"):
                shelf.headers = [f"Content-Type: {kind}"]
                done = curl(proxy, _url(origin, "/x.com"))
                assert EICAR not in done.stdout, (coding, chunks)


def test_what_a_client_makes_of_some_of_its_encodings_is_looked_up(proxy, gatekeeper, shelf, origin, curl):
    shelf.body = zlib.compress(brotli.compress(EICAR))
    shelf.headers = ["Content-Type: text/html", "Content-Encoding: br, deflate"]
    for listed in (EICAR, brotli.compress(EICAR), shelf.body):
        gatekeeper.bad = {hashlib.sha256(listed).hexdigest()}
        assert curl(proxy, "-i", _url(origin, "/page")).stdout.startswith(b"HTTP/1.1 403")


def test_every_digest_of_the_decoded_form_is_looked_up(
    make_proxy: Callable[..., RunningProxy], gatekeeper, shelf, origin, curl
):
    gatekeeper.kinds = frozenset({"md5", "sha1"})
    proxy = make_proxy()
    shelf.body = gzip.compress(program(50_000))
    shelf.headers = ["Content-Type: application/x-msdownload", "Content-Encoding: gzip"]
    assert curl(proxy, _url(origin, "/setup.exe")).returncode == 0
    ((_, subject, _, _),) = gatekeeper.files()
    md5 = hashlib.md5(program(50_000), usedforsecurity=False).hexdigest()
    assert hashlib.sha256(f"md5:{md5}".encode()).digest() in subject.hashes
