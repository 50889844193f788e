"""Encoded bodies: what a client makes of one is what was seen of it."""

import gzip
import zlib
from hashlib import sha256

import brotli
import zstandard
from hypothesis import strategies as st

from fuzzkit import fuzz, mutated
from proxykit.samples import ENCODERS
from secondlook.download.body.body_type import declared
from secondlook.download.body.decoding import Decoder, DecodeState, encodings_of
from secondlook.download.body.inspection import BodyLook

BODIES = [b"", b"MZ hello " * 40, bytes(range(256)) * 8]
NAMES = sorted(ENCODERS)
FRAME = zstandard.ZstdCompressor(write_checksum=True, write_content_size=False)
SKIPPABLE = b"\x50\x2a\x4d\x18\3\0\0\0abc"


def raw_deflate(body: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-15)
    return machine.compress(body) + machine.flush()


SEEDS = {
    "gzip": [*map(gzip.compress, BODIES), gzip.compress(b"a") + gzip.compress(b"b") + b"junk"],
    "deflate": [*map(zlib.compress, BODIES), *map(raw_deflate, BODIES)],
    "br": [*map(brotli.compress, BODIES), brotli.compress(b"a", quality=1) + b"junk"],
    "zstd": [
        *map(FRAME.compress, BODIES),
        FRAME.compress(b"a") + SKIPPABLE + FRAME.compress(b"b"),
        SKIPPABLE + FRAME.compress(b"b"),
    ],
}


class Client:
    """A client that decodes byte by byte, and keeps what it got before an error; `wholes`: where it may be content."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.got = b""
        self.wholes: list[bytes] = []

    def read(self, data: bytes) -> None:
        match self.name:
            case "gzip":
                self._one(zlib.decompressobj(31), data, zlib.error)
            case "deflate":
                wrapped = len(data) > 1 and data[0] & 15 == 8 and int.from_bytes(data[:2]) % 31 == 0
                self._one(zlib.decompressobj(15 if wrapped else -15), data, zlib.error)
            case "zstd":
                self._one(zstandard.ZstdDecompressor().decompressobj(), data, zstandard.ZstdError)
            case "br":
                machine = brotli.Decompressor()
                try:
                    for byte in data:
                        self.got += machine.process(bytes((byte,)))
                        if machine.is_finished():
                            self.wholes.append(self.got)
                            return
                except brotli.error:
                    return

    def _one(self, machine: object, data: bytes, error: type[Exception]) -> None:
        try:
            for byte in data:
                self.got += machine.decompress(bytes((byte,)))  # type: ignore[attr-defined]
                if machine.eof:  # type: ignore[attr-defined]
                    self.wholes.append(self.got)
                    return
        except error:
            return


@fuzz(
    data=mutated([each for name in NAMES for each in SEEDS[name]]),
    name=st.sampled_from(NAMES),
    step=st.integers(1, 400),
)
def test_what_a_client_decodes(data, name, step):
    """What a client takes for the whole body was hashed, and what it decodes before was seen, or the body counts as broken."""
    data = data[:MOST]
    client = Client(name)
    client.read(data)
    decoder = Decoder((name,), ratio=1000)
    seen = b"".join(out for at in range(0, len(data), step) for out in decoder.feed(data[at : at + step]))
    seen += b"".join(decoder.finish())
    if decoder.state is DecodeState.DONE:
        assert seen.startswith(client.got)
    else:
        assert decoder.state in {DecodeState.BROKEN, DecodeState.OVER}
    look = _look(data, name, step)
    hashes = {each.hex() for each in look.subject().hashes}
    for whole in filter(None, client.wholes):  # one that stops before any content keeps nothing
        digest = sha256(whole).hexdigest()
        assert digest in hashes or look.problem is not None


MOST = 6000


def _look(data: bytes, encoding: str, step: int) -> BodyLook:
    said = declared("application/octet-stream", None, "/a.exe")
    look = BodyLook(said, encoding, kinds=frozenset({"md5"}), ratio=1000, layers=3, multipart=False)
    for at in range(0, len(data), step):
        look.feed(data[at : at + step])
    look.end()
    look.conclude()
    return look


@fuzz(
    data=mutated([ENCODERS[outer](each) for outer in NAMES for name in NAMES for each in SEEDS[name][1:3]]),
    chain=st.lists(st.sampled_from([*NAMES, "identity", "x-gzip"]), min_size=1, max_size=3),
    step=st.integers(1, 400),
)
def test_where_it_is_cut(data, chain, step):
    """How an encoded body comes in pieces makes no difference to its digests, nor to whether it can be seen."""
    data, encoding = data[:MOST], ", ".join(chain)
    assert encodings_of(encoding, 3)[1]
    one, other = _look(data, encoding, MOST), _look(data, encoding, step)
    assert one.problem == other.problem
    assert one.risky == other.risky
    if one.problem is None:
        assert one.subject().hashes == other.subject().hashes
