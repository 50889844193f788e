"""What a client wanted is taken out of a body, in whatever pieces it comes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.download.body.slicing import Slice

BODY = bytes(range(200))


@given(first=st.integers(0, 199), count=st.integers(1, 200), cuts=st.lists(st.integers(0, 200), max_size=6))
def test_one_range_in_any_pieces(first, count, cuts):
    count = min(count, len(BODY) - first)
    part = Slice([(first, count)], len(BODY))
    out = b"".join(part.feed(BODY[start:end]) for start, end in pairwise([0, *sorted(cuts), len(BODY)]))
    assert out == BODY[first : first + count]


def test_the_headers_say_which_bytes_these_are():
    headers = {"content-length": "200", "transfer-encoding": "chunked"}
    Slice([(10, 5)], 200).label(headers)
    assert headers == {"content-length": "5", "content-range": "bytes 10-14/200"}


def test_the_size_of_the_file_may_be_unknown():
    headers: dict[str, str] = {}
    Slice([(10, 5)], None).label(headers)
    assert headers["content-range"] == "bytes 10-14/*"


@pytest.mark.parametrize("step", [1, 7, 200])
def test_several_ranges_are_parts_of_one_answer_as_long_as_it_is_said(step):
    part, headers = Slice([(0, 3), (100, 2)], 200, "text/plain"), {"content-range": "x"}
    part.label(headers)
    out = b"".join(part.feed(BODY[at : at + step]) for at in range(0, len(BODY), step))
    assert len(out) == int(headers["content-length"])
    assert "content-range" not in headers
    boundary = headers["content-type"].partition("boundary=")[2].encode()
    _, one, two, end = out.split(b"--" + boundary)
    assert one == b"\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-2/200\r\n\r\n" + BODY[:3] + b"\r\n"
    assert two.endswith(b"Content-Range: bytes 100-101/200\r\n\r\n" + BODY[100:102] + b"\r\n")
    assert end == b"--\r\n"


@given(at=st.integers(0, 100), fed=st.integers(0, 200))
def test_one_that_begins_again_gives_the_same(at, fed):
    part = Slice([(100, 3), (150, 2)], 200)
    whole = part.again(0).feed(BODY)
    part.feed(BODY[:fed])
    assert part.again(at).feed(BODY[at:]) == whole
