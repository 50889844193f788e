"""Heads out of what was received: whole, within bounds, and no byte looked at twice."""

import pytest

from secondlook.proxy.mitm.http.framing import HEAD_TOO_LARGE, HeadError
from secondlook.proxy.mitm.http.head_buffer import HeadBuffer


def test_a_buffer_gives_heads_and_looks_at_no_byte_twice():
    buffer = HeadBuffer(1000, 10)
    for byte in b"\r\n\nA: b\n\r":
        buffer += bytes([byte])
        assert buffer.take_head() is None
    buffer += b"\nrest"
    assert (buffer.take_head(), bytes(buffer)) == (b"A: b\n\r\n", b"rest")


def test_empty_lines_before_a_head_are_part_of_it():
    buffer = HeadBuffer(1000, 10)
    for _ in range(100):
        buffer += b"\r\n" * 5
        assert buffer.take_head() is None
    buffer += b"\n"
    with pytest.raises(HeadError, match="larger than 1000 bytes"):
        buffer.take_head()


def filled(data: bytes, *, limit: int = 1000, lines: int = 10) -> HeadBuffer:
    buffer = HeadBuffer(limit, lines)
    buffer += data
    return buffer


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\nA: b\r\n\r\n", b"GET / HTTP/1.1\nA: b\n\n"])
def test_a_head_of_as_many_bytes_and_lines_as_may_be_and_one_more(head):
    fields = head.count(b"\n") - 2  # beside the first line and the last
    assert filled(head, limit=len(head), lines=fields).take_head() == head
    for limits in ({"limit": len(head) - 1}, {"lines": fields - 1}):
        with pytest.raises(HeadError) as refused:
            filled(head, **limits).take_head()
        assert refused.value.status == HEAD_TOO_LARGE


def test_one_that_is_not_whole_is_refused_as_soon_as_it_is_too_large():
    assert filled(b"A" * 1000).take_head() is None
    with pytest.raises(HeadError):
        filled(b"A" * 1001).take_head()


@pytest.mark.parametrize("limits", [{"limit": 40}, {"lines": 2}])
def test_interim_answers_count_with_the_answer_that_follows(limits):
    interim = b"HTTP/1.1 103\r\nA: b\r\n\r\n"
    buffer = filled(interim + interim, **limits)
    buffer.count_interim(buffer.take_head())
    with pytest.raises(HeadError):
        buffer.take_head()
    buffer = filled(interim + interim, **limits)
    buffer.take_head()
    buffer.begin()
    assert buffer.take_head() == interim


def test_what_follows_a_head_is_taken_up_to_a_size():
    buffer = filled(b"A: b\n\nfirst second")
    assert buffer.take_head() == b"A: b\n\n"
    assert [buffer.take(5), buffer.take(1), buffer.take(100), buffer.take(100)] == [
        b"first",
        b" ",
        b"second",
        b"",
    ]
    buffer += b"C: d\n\n"
    assert buffer.take_head() == b"C: d\n\n"
