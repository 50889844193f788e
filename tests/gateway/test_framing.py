"""Heads and chunks, in whatever pieces they come: what is taken, what is left, what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.gateway.icap.framing import CHUNK_LINE_MAX_BYTES, Frames, LastChunk
from secondlook.gateway.icap.heads import CHUNK_MAX_BYTES, HEAD_MAX_BYTES, IcapError


def chunks(data: bytes, *, sizes: list[int] | None = None, allowed: int | None = None):
    """Take all that is there of a body, which comes in pieces of these sizes, then in one."""
    frames = Frames()
    frames.allowed = allowed
    found = []
    for size in [*(sizes or []), len(data)]:
        frames.buffer += data[:size]
        data = data[size:]
        while (part := frames.chunk()) is not None:
            found.append(part)
            if isinstance(part, LastChunk):
                return found, bytes(frames.buffer) + data
    return found, bytes(frames.buffer)


@given(st.lists(st.integers(1, 9), max_size=20))
def test_a_body_is_the_same_in_any_pieces(sizes):
    body = b"3\r\nabc\r\n5; x=y\r\nde\r\nf\r\n0; ieof\r\nName: value\r\n\r\nnext"
    found, left = chunks(body, sizes=sizes)
    assert b"".join(found[:-1]) == b"abcde\r\nf"
    assert found[-1] == LastChunk(((b"Name", b"value"),), ieof=True)
    assert left == b"next"


def test_chunks_that_are_here_whole_are_taken_at_once():
    assert chunks(b"3\r\nabc\r\n1;x\r\nd\r\n4\r\nef") == ([b"abcd", b"ef"], b"")
    assert chunks(b"3\r\nabc\r\n0\r\n\r\nnext") == ([b"abc", LastChunk((), ieof=False)], b"next")


@pytest.mark.parametrize(
    "odd",
    [
        b"x\r\nd\r\n",
        b"1\r\ndd\r\n",
        b"%x\r\n" % (CHUNK_MAX_BYTES + 1),
        b"1;%b\r\nd\r\n" % bytes(CHUNK_LINE_MAX_BYTES),
    ],
)
def test_what_is_odd_behind_whole_chunks_is_refused_after_them(odd):
    frames = Frames()
    frames.buffer += b"3\r\nabc\r\n" + odd
    assert frames.chunk() == b"abc"
    with pytest.raises(IcapError):
        list(iter(frames.chunk, None))


@pytest.mark.parametrize("longer", [False, True])
def test_the_line_of_a_chunk_has_its_bound_wherever_it_stands(longer):
    line = b"1;" + b"x" * (CHUNK_LINE_MAX_BYTES - 4 + longer) + b"\r\n"
    frames = Frames()
    frames.buffer += b"3\r\nabc\r\n" + line + b"d\r\n"
    if not longer:
        assert frames.chunk() == b"abcd"
        return
    assert frames.chunk() == b"abc"
    with pytest.raises(IcapError, match="a chunk's line is longer"):
        frames.chunk()


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=20), st.lists(st.integers(1, 40), max_size=9))
def test_each_byte_is_taken_once_in_its_order(pieces, sizes):
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    found, left = chunks(body + b"0\r\n\r\n", sizes=sizes)
    assert (b"".join(found[:-1]), found[-1], left) == (b"".join(pieces), LastChunk((), ieof=False), b"")


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"x\r\n", "expected the size of a chunk"),
        (b"1\n", "expected the size of a chunk"),
        (b"1\r\nab\r\n", "longer than its size"),
        (b"%x\r\n" % (CHUNK_MAX_BYTES + 1), "larger than"),
        (b"1" * CHUNK_LINE_MAX_BYTES, "a chunk's line"),
        (b"0\r\n" + b"a" * (HEAD_MAX_BYTES + 1), "trailers"),
    ],
)
def test_what_is_no_chunk_is_refused(data, fault):
    with pytest.raises(IcapError, match=fault):
        chunks(data)


def test_a_preview_has_no_more_than_it_said():
    assert chunks(b"2\r\nab\r\n2\r\ncd\r\n", allowed=4) == ([b"ab", b"cd"], b"")
    with pytest.raises(IcapError, match="the preview is longer"):
        chunks(b"2\r\nab\r\n3\r\n", allowed=4)


@given(st.lists(st.integers(1, 9), max_size=20))
def test_a_head_is_taken_once_it_is_whole(sizes):
    frames, data = Frames(), b"\r\nOPTIONS x\r\nA: b\r\n\r\nnext"
    for size in sizes:
        frames.buffer += data[:size]
        data = data[size:]
        if (head := frames.head("it")) is not None:
            break
    else:
        frames.buffer += data
        data = b""
        head = frames.head("it")
    assert head == b"OPTIONS x\r\nA: b\r\n\r\n"
    assert bytes(frames.buffer) + data == b"next"


@pytest.mark.parametrize("whole", [False, True])
def test_a_head_beyond_the_limit_is_refused(whole):
    frames = Frames()
    frames.buffer += b"a" * (HEAD_MAX_BYTES - 4) + b"\r\n\r\n"
    assert frames.head("it") is not None
    frames.buffer += b"a" * (HEAD_MAX_BYTES + 1) + (b"\r\n\r\n" if whole else b"")
    with pytest.raises(IcapError, match="it is larger"):
        frames.head("it")


def test_a_head_with_other_line_ends_is_refused():
    frames = Frames()
    frames.buffer += b"OPTIONS x\nA: b\n\n"
    with pytest.raises(IcapError, match="CR LF"):
        frames.head("it")
