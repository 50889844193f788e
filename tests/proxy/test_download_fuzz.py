"""Real archives, encodings and multipart bodies, mutilated: nothing raises and no byte is lost (10 s)."""

import asyncio
import io
from dataclasses import replace

import brotli
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxykit.gate import LIMITS as SMALL
from proxykit.gate import cut, read_held
from proxykit.samples import EICAR, ENCODERS, gzipped, locked, program, seven, tarred, zipped
from secondlook.download.archives.archive import ArchiveLimits, look_inside
from secondlook.download.body.body_type import declared
from secondlook.download.body.decoding import RATIO_FROM_BYTES, Decoder, DecodeState, encodings_of
from secondlook.download.gate.gate import BodyGate
from secondlook.download.gate.gate_state import Fate
from secondlook.download.gate.spool import SpoolRoom

FILES = {"readme": b"hi " * 300, "folder/eicar.com": EICAR}
PART = b"Content-Type: %s\r\nContent-Range: bytes %d-%d/9000\r\n\r\n"
MULTIPART = (
    b"\r\n--ab\r\n" + PART % (b"application/octet-stream", 0, 499) + program(500)
    + b"\r\n--ab\r\n" + PART % (b"application/x-msdownload", 700, 799) + program(100) + b"\r\n--ab--\r\n"
)  # fmt: skip
BODIES: dict[str, bytes] = {
    "zip": zipped(FILES),
    "zip bzip2": zipped(FILES, 12),
    "zip lzma": zipped(FILES, 14),
    "locked zip": locked(FILES, "x"),
    "tar": tarred(FILES),
    "tgz": tarred(FILES, "w:gz"),
    "tbz": tarred(FILES, "w:bz2"),
    "txz": tarred(FILES, "w:xz"),
    "gz": gzipped(EICAR),
    "7z": seven(FILES),
    "7z in zip": zipped({"in.7z": seven(FILES)}),
    "locked 7z": seven(FILES, password="infected"),
    "multipart": MULTIPART,
    "program": program(3000),
    **{name: encode(b"The quick brown fox. " * 500) for name, encode in ENCODERS.items()},
    "bomb": brotli.compress(bytes(20 << 20), quality=9),
}
KINDS = [
    "application/zip",
    "application/octet-stream",
    "text/plain",
    "text/event-stream",
    "multipart/byteranges; boundary=ab",
    'multipart/byteranges; boundary="',
    "multipart/byteranges",
]
ENCODINGS = [
    None,
    "gzip",
    "deflate",
    "br",
    "zstd",
    "br, gzip",
    "gzip, zstd, br, deflate",
    "x",
    "gzip" + ", br" * 9,
]
LIMITS = replace(SMALL, hold_up_to=1500, tail_min=200, local_up_to=700, ratio=20, look_up_to=3000)


@st.composite
def mutilated(draw: st.DrawFn, names: list[str] | None = None) -> bytes:
    """Take a real body, or two spliced; overwrite, insert, repeat and cut away bytes."""
    data = bytearray(BODIES[draw(st.sampled_from(names or sorted(BODIES)))])
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, 10**6)) % (len(data) + 1)
        match draw(st.sampled_from(["set", "insert", "cut", "repeat", "splice", "big"])):
            case "set" if at < len(data):
                data[at] = draw(st.integers(0, 255))
            case "insert":
                data[at:at] = draw(st.binary(max_size=30))
            case "cut":
                del data[at : at + draw(st.integers(1, 400))]
            case "repeat":
                data[at:at] = data[at : at + 300] * draw(st.integers(1, 3))
            case "splice":
                data[at:] = BODIES[draw(st.sampled_from(sorted(BODIES)))][-draw(st.integers(1, 2000)) :]
            case "big":
                data[at : at + 4] = draw(
                    st.sampled_from([b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4)])
                )
            case _:
                pass
    return bytes(data)


CUTS = st.lists(st.integers(0, 10**6), max_size=8)


@settings(max_examples=400, deadline=None)
@given(
    data=mutilated(
        [name for name in sorted(BODIES) if name not in {*ENCODERS, "multipart", "program", "bomb"}]
    )
)
def test_archives(data):
    limits = ArchiveLimits(depth=3, members=50, max_bytes=1 << 20, time_s=2.0)
    report = look_inside(io.BytesIO(data), limits)
    assert report.problem is None or report.problem.startswith("archive")
    assert len(report.members) <= 4 * limits.members
    assert all(len(digest) == 64 for _, digest in report.members)


@settings(max_examples=400, deadline=None)
@given(
    data=mutilated([*ENCODERS, "bomb"]),
    chain=st.lists(st.sampled_from(sorted(ENCODERS)), min_size=1, max_size=3),
    cuts=CUTS,
)
def test_encodings(data, chain, cuts):
    decoder = Decoder(tuple(chain), ratio=20)
    out = sum(len(piece) for part in cut(data, cuts) for piece in decoder.feed(part))
    out += sum(len(piece) for piece in decoder.finish())
    assert decoder.state is not DecodeState.WORKING
    assert out <= max(RATIO_FROM_BYTES, 20 * len(data))


async def _through(gate: BodyGate, pieces: list[bytes]) -> bytes:
    out = b""
    for piece in pieces:
        given = gate.feed(piece)
        if gate.release:
            out += await read_held(gate)
            gate.released()
        out += given
        if gate.unsettled:
            out += await read_held(gate)
            out += gate.drop()
    gate.end()
    return out + await read_held(gate) + gate.rest()


@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    data=mutilated(),
    kind=st.sampled_from(KINDS),
    encoding=st.sampled_from(ENCODINGS),
    cuts=CUTS,
    length=st.booleans(),
    partial=st.booleans(),
    whole=st.booleans(),
    room=st.sampled_from([0, 2000, 1 << 20]),
)
def test_gates(tmp_path, data, kind, encoding, cuts, length, partial, whole, room):
    async def story() -> None:
        place = SpoolRoom(tmp_path, room, 500)
        gate = BodyGate(
            declared(kind, None, "/file"),
            len(data) if length else None,
            encoding,
            LIMITS,
            place,
            kinds=frozenset({"md5", "sha1"}),
            must_hold=whole,
            partial=partial,
        )
        if gate.fate is Fate.REFUSE:
            gate.drop()
        assert await _through(gate, cut(data, cuts)) == data
        assert gate.look.subject().size == len(data)
        gate.close()
        await asyncio.get_running_loop().run_in_executor(place.thread, lambda: None)
        assert place.left_bytes == room
        place.close()

    asyncio.run(story())


@settings(max_examples=200, deadline=None)
@given(header=st.one_of(st.text(max_size=60), st.sampled_from(ENCODINGS)), layers=st.integers(0, 5))
def test_encoding_headers(header, layers):
    chain, known = encodings_of(header, layers)
    assert len(chain) <= layers
    assert known or len(chain) < layers or not chain
