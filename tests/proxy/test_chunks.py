"""Chunked bodies: any cut of them gives the same bytes, and nothing grows without end."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.proxy.mitm.http.chunks import LINE_MAX_BYTES, ChunkReader
from secondlook.proxy.mitm.http.head_buffer import HeadBuffer

TRAILERS_MAX = 1000


def read(pieces: list[bytes], *, strict: bool = True) -> tuple[bytes, bool, bytes]:
    """What a reader makes of a body: its data, whether it ended, what is left."""
    reader, buffer = ChunkReader(TRAILERS_MAX, strict=strict), HeadBuffer(TRAILERS_MAX, 10)
    body, over = b"", False
    for piece in pieces:
        buffer += piece
        while not over and (event := reader(buffer)) is not None:
            over = isinstance(event, h11.EndOfMessage)
            body += b"" if over else event.data
    return body, over, bytes(buffer)


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=20), max_size=8),
    extension=st.sampled_from([b"", b";a=b", b" ; a", b"\t"]),
    trailers=st.sampled_from([b"", b"A: b\r\n", b"A: b\r\n c\r\nD: e\r\n"]),
    step=st.integers(1, 30),
)
def test_any_cut_gives_the_same_bytes(chunks, extension, trailers, step):
    data = b"".join(b"%X%s\r\n%s\r\n" % (len(one), extension, one) for one in chunks)
    data += b"0" + extension + b"\r\n" + trailers + b"\r\n" + b"next"
    expected = (b"".join(chunks), True, b"next")
    assert read([data]) == expected
    body, over, _ = read([data[at : at + step] for at in range(0, len(data), step)])
    assert (body, over) == expected[:2]


def test_many_small_chunks_come_as_one_piece():
    reader, buffer = ChunkReader(TRAILERS_MAX, strict=True), HeadBuffer(TRAILERS_MAX, 10)
    buffer += b"1\r\nx\r\n" * 10_000
    assert reader(buffer).data == b"x" * 10_000
    assert reader(buffer) is None


def test_a_bare_lf_is_taken_in_an_answer_alone():
    data = [b"5\nhello\n0\n\n"]
    assert read(data, strict=False) == (b"hello", True, b"")
    with pytest.raises(h11.RemoteProtocolError):
        read(data)


@pytest.mark.parametrize(
    "data",
    [
        b"x\r\n",
        b"-1\r\n",
        b"0x5\r\n",
        b" 5\r\n",
        b"\r\n",
        b"5_0\r\n",
        b"1" * 17 + b"\r\n",
        b"5;a\rb\r\n",
        b"3\r\nabcd\r\n",
        b"1;" + b"a" * LINE_MAX_BYTES,
        b"0\r\n" + b"A: b\r\n" * TRAILERS_MAX,
        b"0\r\nA: " + b"b" * TRAILERS_MAX,
    ],
)
def test_what_is_refused(data):
    for strict in (True, False):
        with pytest.raises(h11.RemoteProtocolError):
            read([data + b"\r\n" * 2], strict=strict)


def test_an_end_in_the_middle_is_told():
    with pytest.raises(h11.RemoteProtocolError):
        ChunkReader(TRAILERS_MAX, strict=True).read_eof()
