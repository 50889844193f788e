"""Frames of zstd are read as zstandard, another binding of the library, writes them."""

import pytest
import zstandard

from secondlook.ground.zstd import WINDOW_LOG, ZstdError, begin_frame

TEXT = b"hello, hello" * 5000


def unpacked(data: bytes, most: int) -> tuple[bytes, bytes]:
    """Return what comes of a frame in steps of so many bytes, and what follows it."""
    frame, out = begin_frame(), b""
    while not frame.eof:
        piece = frame.decompress(data, most)
        assert len(piece) <= most
        assert piece or frame.eof
        out, data = out + piece, b""
    return out, frame.unused_data


@pytest.mark.parametrize("most", [1, 4096, 1 << 20])
def test_a_frame_comes_in_steps_and_ends_at_its_end(most):
    body = TEXT if most > 1 else TEXT[:300]
    assert unpacked(zstandard.compress(body) + b"behind", most) == (body, b"behind")


@pytest.mark.parametrize(("log", "taken"), [(WINDOW_LOG, True), (WINDOW_LOG + 1, False)])
def test_a_window_that_takes_too_much_memory_is_refused(log, taken):
    wide = zstandard.ZstdCompressionParameters(window_log=log)
    machine = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    data = machine.compress(TEXT) + machine.flush()  # in a stream: its size is not known beforehand
    if taken:
        assert unpacked(data, 1 << 20)[0] == TEXT
    else:
        with pytest.raises(ZstdError):
            unpacked(data, 1 << 20)


def test_behind_its_end_a_frame_takes_nothing():
    frame = begin_frame()
    assert frame.decompress(zstandard.compress(TEXT)) == TEXT
    with pytest.raises(EOFError):
        frame.decompress(b"x")
