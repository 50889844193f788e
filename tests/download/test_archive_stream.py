"""Packed files are unpacked in small steps, stream after stream, and to their very end."""

import bz2
import gzip
import io
import lzma
import zlib
from functools import partial

import pytest
import zstandard

from secondlook.download.archives.archive_stream import GZIP, Clocked, Inflated, PackedStreams
from secondlook.ground.zstd import ZstdError, begin_frame

TEXT = b"".join(b"%d " % number for number in range(50_000))
PACK = {
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
}
BEGIN = {
    "gzip": partial(Inflated, GZIP),
    "bz2": bz2.BZ2Decompressor,
    "xz": lzma.LZMADecompressor,
    "zstd": begin_frame,
}
FAULTS = (OSError, lzma.LZMAError, ZstdError, zlib.error)


def pieces(stream, count):
    return list(iter(lambda: stream.read(count), b""))


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("zeros", [0, 4, 200_000])
def test_streams_are_one_file_whatever_zeros_lie_between_and_behind(kind, zeros):
    packed = PACK[kind](TEXT) + bytes(zeros) + PACK[kind](b"") + PACK[kind](b"the end") + bytes(zeros)
    found = pieces(PackedStreams(io.BytesIO(packed), BEGIN[kind]), 1000)
    assert b"".join(found) == TEXT + b"the end"
    assert max(map(len, found)) <= 1000


@pytest.mark.parametrize("kind", PACK)
def test_a_file_that_ends_within_a_stream_is_no_whole_one(kind):
    stream = PackedStreams(io.BytesIO(PACK[kind](TEXT)[:-9]), BEGIN[kind])
    with pytest.raises(EOFError, match="ends within a stream"):
        pieces(stream, 1 << 16)


@pytest.mark.parametrize("kind", PACK)
def test_what_stands_behind_and_is_no_stream_is_a_fault(kind):
    stream = PackedStreams(io.BytesIO(PACK[kind](TEXT) + b"something else"), BEGIN[kind])
    with pytest.raises(FAULTS):
        pieces(stream, 1 << 16)


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("text", [b"a program", TEXT])
def test_what_stands_before_a_fault_is_given(kind, text):
    """gzip and others leave what they have unpacked where the sum behind it is wrong."""
    packed = bytearray(PACK[kind](b"before") + PACK[kind](text))
    packed[{"xz": -14}.get(kind, -3)] ^= 1
    stream, found = PackedStreams(io.BytesIO(packed), BEGIN[kind]), []
    with pytest.raises(FAULTS):
        found.extend(iter(lambda: stream.read(1 << 16), b""))
    assert b"".join(found) == b"before" + text


def test_frames_of_zstd_that_readers_skip_hold_nothing():
    packed = b"\x50\x2a\x4d\x18\x03\0\0\0abc" + zstandard.compress(TEXT)
    assert b"".join(pieces(PackedStreams(io.BytesIO(packed), begin_frame), 1000)) == TEXT


def test_a_frame_of_zstd_takes_no_more_memory_for_its_window_than_a_browser_would():
    packed = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=28)
    ).compressobj()
    data = packed.compress(TEXT) + packed.flush()
    with pytest.raises(ZstdError):
        pieces(PackedStreams(io.BytesIO(data), begin_frame), 1000)


def test_each_reading_looks_at_the_clock():
    looks = []
    clocked = Clocked(io.BytesIO(TEXT), looks.append)
    assert clocked.read(5) == TEXT[:5]
    assert clocked.read(5) == TEXT[5:10]
    assert looks == [0, 0]
