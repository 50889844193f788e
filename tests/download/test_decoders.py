"""What each encoding gives of a body, whole or not: in steps, and as much as any client would keep of it."""

import gzip
import zlib

import brotli
import pytest
import zstandard

from secondlook.download.body.decoders import STEP_BYTES, BrokenEncodingError, layer_of
from secondlook.download.body.decoding import Decoder, DecodeState

TEXT = b"hello, hello" * 50


def _raw_deflate(data: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-15)
    return machine.compress(data) + machine.flush()


def _stored(data: bytes, first: int) -> bytes:
    """Return a stored block of deflate (RFC 1951, 3.2.4); of its first byte five bits mean nothing."""
    size = len(data)
    return bytes((first,)) + size.to_bytes(2, "little") + (0xFFFF - size).to_bytes(2, "little") + data


def undone(name: str, data: bytes, step: int = 1 << 20) -> tuple[bytes, bool]:
    """Give what comes of a body in pieces, and whether it then was at its end; breaks as the layer does."""
    layer, out = layer_of(name), b""
    layer.patient = True
    for at in range(0, len(data), step):
        layer.feed(data[at : at + step])
        while (piece := layer.step()) or layer.busy:
            assert len(piece) <= STEP_BYTES
            out += piece
    return out, layer.done


@pytest.mark.parametrize("step", range(1, 30))
def test_brotli_is_whole_though_its_end_comes_with_what_is_ignored(step):
    data = brotli.compress(b"hello, hello", quality=0) + b"junk that clients ignore"
    decoder = Decoder(("br",), ratio=1000)
    out = b"".join(each for at in range(0, len(data), step) for each in decoder.feed(data[at : at + step]))
    assert out + b"".join(decoder.finish()) == b"hello, hello"
    assert decoder.state is DecodeState.DONE


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("deflate", _raw_deflate(TEXT)),
        ("deflate", zlib.compress(TEXT)),
        ("gzip", gzip.compress(TEXT[:7]) + gzip.compress(TEXT[7:])),
        ("gzip", gzip.compress(TEXT) + b"what belongs to nothing"),
        ("zstd", zstandard.compress(TEXT[:7]) + zstandard.compress(TEXT[7:])),
    ],
    ids=["raw", "wrapped", "members", "behind the end", "frames"],
)
def test_a_whole_body(name, data, step):
    assert undone(name, data, step) == (TEXT, True)


@pytest.mark.parametrize("step", [1, 1 << 20])
def test_a_gzip_header_with_everything_in_it(step):
    body = gzip.compress(TEXT, mtime=0)
    extra, name, note, check = b"\x03\0abc", b"a name\0", b"a note\0", b"\0\0"
    head = body[:3] + bytes((4 | 8 | 16 | 2,)) + body[4:10] + extra + name + note + check
    assert undone("gzip", head + body[10:], step) == (TEXT, True)


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (b"no gzip at all", "no gzip"),
        (b"\x1f\x8b\x08\xe0" + bytes(6), "unknown flags"),
        (b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * 70_000, "its header is too long"),
    ],
)
def test_a_gzip_header_that_is_none(head, why):
    with pytest.raises(BrokenEncodingError, match=why):
        undone("gzip", head)


@pytest.mark.parametrize(("at", "why"), [(-8, "its check is wrong"), (-4, "its length is wrong")])
def test_what_stands_behind_the_data_is_compared(at, why):
    data = bytearray(gzip.compress(TEXT))
    data[at] ^= 1
    with pytest.raises(BrokenEncodingError, match=why):
        undone("gzip", bytes(data))


def test_the_bytes_before_a_fault_are_given():
    """zlib itself gives nothing of a call that meets a fault; a browser has shown them by then."""
    data = gzip.compress(bytes(range(256)) * 40, compresslevel=0)
    layer = layer_of("gzip")
    layer.feed(data[:5000] + b"\xff" * 300)
    assert layer.step().startswith(bytes(range(256)) * 19)


def test_a_body_that_only_looks_wrapped_is_read_in_both_ways():
    layer, out = layer_of("deflate"), []
    layer.feed(_stored(TEXT[:94], 0x78) + _stored(TEXT[94:], 1))  # begins as zlib does: 78 5e
    while piece := layer.step():
        out.append((layer.restarted, piece))
    assert out == [(True, TEXT)]
    assert not layer.waiting


@pytest.mark.parametrize("behind", [b"", zstandard.compress(TEXT), b"what belongs to nothing"])
@pytest.mark.parametrize("claimed", [b"\x1c", b"\0"], ids=["more", "none"])
def test_a_zstd_frame_that_claims_another_length_ends_alike_in_any_pieces(claimed, behind):
    """Python compares the length only of a frame that comes at once: a client that reads byte by byte goes on."""
    frame = b"\x28\xb5\x2f\xfd\x20" + claimed + b"\1\0\0"  # one empty block
    results = []
    for step in (1, 2, 7, 1 << 20):
        try:
            results.append(undone("zstd", zstandard.compress(b"a") + frame + behind, step))
        except BrokenEncodingError:
            results.append(None)
    assert results == results[:1] * 4


def test_an_unknown_encoding_has_no_layer():
    with pytest.raises(ValueError, match="unknown encoding dcb"):
        layer_of("dcb")
