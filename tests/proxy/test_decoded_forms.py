"""What clients make of damaged or odd encodings is looked up too (about 2 s)."""

import asyncio
import gzip
import hashlib
import zlib

import brotli
import pytest
import zstandard

from proxykit.origin import Asked, send
from proxykit.samples import program
from secondlook.core.verdict import SubjectClass
from secondlook.download.body.body_type import declared
from secondlook.download.body.inspection import BodyLook

BODY = program(200_000)
MORE = b"something else " * 50
PACKED, SQUASHED, ZIPPED = gzip.compress(BODY), brotli.compress(BODY, quality=1), zlib.compress(BODY)
FRAMED = zstandard.ZstdCompressor().compress(BODY)


def _unended(data: bytes) -> bytes:
    """Deflate of some data, then a block of a kind that there is not."""
    machine = zlib.compressobj(wbits=-15)
    return machine.compress(data) + machine.flush(zlib.Z_SYNC_FLUSH) + b"\x07" + bytes(300)


def _like_zlib(data: bytes, *, broken: bool = False) -> bytes:
    """Deflate without a wrapping whose first bytes are those of one: a stored block of 0x069C bytes."""
    size, machine = 0x069C, zlib.compressobj(wbits=-15)
    first = b"\x78" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little") + data[:size]
    return first + (_unended(data[size:]) if broken else machine.compress(data[size:]) + machine.flush())


def _unended_frame(data: bytes) -> bytes:
    """zstd of some data, then a block of a kind that there is not."""
    machine = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    return (
        machine.compress(data) + machine.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) + b"\x07\0\0" + bytes(300)
    )


def _unended_brotli(data: bytes) -> bytes:
    """brotli of some data, then what is none."""
    machine = brotli.Compressor(quality=1)
    return machine.process(data) + machine.flush() + b"\xff" * 300


LIKE_ZLIB = _like_zlib(BODY)
ODD = {
    "deflate, broken behind all of it": ("deflate", b"\x78\x9c" + _unended(BODY)),
    "deflate without a wrapping, broken behind all of it": ("deflate", _unended(BODY)),
    "gzip, broken behind all of it": ("gzip", PACKED[:10] + _unended(BODY)),
    "zstd, broken behind all of it": ("zstd", _unended_frame(BODY)),
    "brotli, broken behind all of it": ("br", _unended_brotli(BODY)),
    "deflate that looks wrapped": ("deflate", LIKE_ZLIB),
    "deflate that looks wrapped, and is broken behind all of it": ("deflate", _like_zlib(BODY, broken=True)),
    "deflate that looks wrapped inside": ("deflate, gzip", gzip.compress(LIKE_ZLIB)),
    "brotli inside deflate that looks wrapped": ("br, deflate", _like_zlib(SQUASHED)),
    "two members": ("gzip", PACKED + gzip.compress(MORE)),
    "three members": ("gzip", gzip.compress(b"") + PACKED + gzip.compress(MORE)),
    "junk behind": ("gzip", PACKED + b"junk"),
    "no trailer": ("gzip", PACKED[:-8]),
    "one byte short": ("gzip", PACKED[:-1]),
    "a wrong check": ("gzip", PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:]),
    "a wrong length": ("gzip", PACKED[:-4] + b"\0\0\0\0"),
    "deflate, cut": ("deflate", ZIPPED[:-3]),
    "deflate, a wrong check": ("deflate", ZIPPED[:-4] + b"\0\0\0\0"),
    "deflate, junk behind": ("deflate", ZIPPED + b"junk"),
    "brotli, junk behind": ("br", SQUASHED + b"zz"),
    "two frames": ("zstd", FRAMED + zstandard.ZstdCompressor().compress(MORE)),
    "zstd, junk behind": ("zstd", FRAMED + b"junk"),
    "two members inside": ("gzip, br", brotli.compress(PACKED + gzip.compress(MORE), quality=1)),
    "brotli beside what nobody knows": ("foo, br", SQUASHED),
    "brotli before what nobody knows, behind a space": ("br foo", SQUASHED),
    "two members outside": ("br, gzip", gzip.compress(SQUASHED) + gzip.compress(b"zz")),
}


@pytest.mark.parametrize("step", [1 << 20, 1000])
@pytest.mark.parametrize("how", ODD)
def test_what_a_client_may_keep_is_among_the_digests(how, step):
    encoding, raw = ODD[how]
    said = declared("application/x-msdownload", None, "/setup.exe")
    look = BodyLook(said, encoding, kinds=frozenset(), ratio=1000, layers=4, multipart=False)
    for start in range(0, len(raw), step):
        look.feed(raw[start : start + step])
    look.end()
    subject = look.subject()
    assert hashlib.sha256(BODY).digest() in subject.hashes
    assert subject.hashes[0] == hashlib.sha256(raw).digest()
    assert len(subject.hashes) == len(subject.labels) == len(set(subject.hashes))
    assert hashlib.sha256(b"").digest() not in subject.hashes


def test_members_without_number_cost_a_bounded_number_of_digests():
    look = BodyLook(
        declared("text/plain", None, "/x"), "gzip", kinds=frozenset(), ratio=1000, layers=4, multipart=False
    )
    look.feed(b"".join(gzip.compress(b"%d" % number) for number in range(5000)))
    look.end()
    assert look.problem is None
    assert len(look.subject().hashes) <= 10


@pytest.mark.parametrize(
    "how",
    [
        "two members",
        "no trailer",
        "a wrong check",
        "deflate, cut",
        "two frames",
        "deflate that looks wrapped",
        "brotli beside what nobody knows",
        "brotli before what nobody knows, behind a space",
    ],
)
def test_a_listed_program_in_an_odd_encoding_is_refused(proxy, gatekeeper, make_origin, curl, how):
    encoding, raw = ODD[how]
    gatekeeper.bad.add(hashlib.sha256(BODY).hexdigest())

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await send(writer, raw, "Content-Type: application/octet-stream", f"Content-Encoding: {encoding}")

    origin = make_origin(reply)
    done = curl(proxy, "-i", f"http://127.0.0.1:{origin.port}/thing")
    assert done.stdout.startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize("encoding", ["dcz", "gzip, DCB"])
def test_what_only_a_kept_dictionary_unpacks_does_not_pass(proxy, gatekeeper, make_origin, curl, encoding):
    """It was not offered, and the digest of what comes of it is known to nobody: whatever the policy says."""
    packed = b"\x5e\x2a\x4d\x18\x20\0\0\0" + bytes(32) + zstandard.compress(BODY)

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await send(writer, packed, "Content-Type: text/html", f"Content-Encoding: {encoding}")

    done = curl(proxy, "-i", f"http://127.0.0.1:{make_origin(reply).port}/thing")
    assert done.stdout.startswith(b"HTTP/1.1 403")
    how, _, context, _ = gatekeeper.seen[-1]
    assert (how, context.cls) == ("unverifiable", SubjectClass.DOWNLOAD)


@pytest.mark.parametrize("encoding", ["foo", "gzip"])
def test_an_encoding_that_cannot_be_undone_is_a_download_that_cannot_be_verified(
    proxy, gatekeeper, make_origin, curl, encoding
):
    gatekeeper.unverifiable_blocks = True
    kind = ["Content-Type: application/x-msdownload", 'Content-Disposition: attachment; filename="setup.exe"']

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await send(writer, b"MZ" + BODY, *kind, f"Content-Encoding: {encoding}")

    origin = make_origin(reply)
    done = curl(proxy, "-i", f"http://127.0.0.1:{origin.port}/thing")
    assert done.stdout.startswith(b"HTTP/1.1 403")
    how, _, context, _ = gatekeeper.seen[-1]
    assert (how, context.cls) == ("unverifiable", SubjectClass.DOWNLOAD)
