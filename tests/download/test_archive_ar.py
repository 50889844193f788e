"""Members of `ar` archives: Debian's packages, and names of BSD and GNU."""

import io

import pytest

from secondlook.download.archives.archive_ar import ArError, members


def _member(name: bytes, content: bytes, *, size: bytes | None = None, end: bytes = b"`\n") -> bytes:
    told = size if size is not None else str(len(content)).encode()
    head = name.ljust(16) + b"0".ljust(12) + b"0".ljust(6) + b"0".ljust(6) + b"100644".ljust(8)
    return head + told.ljust(10) + end + content + b"\n" * (len(content) % 2)


def _read(data: bytes, count: int = 4) -> list[tuple[str, bytes]]:
    found = []
    for name, member in members(io.BytesIO(b"!<arch>\n" + data)):
        content = b""
        while piece := member.read(count):
            content += piece
        found.append((name, content))
    return found


@pytest.mark.parametrize("count", [1, 4, 1000])
def test_members_one_after_the_other(count):
    data = _member(b"debian-binary", b"2.0\n") + _member(b"odd/", b"12345") + _member(b"empty", b"")
    assert _read(data, count) == [("debian-binary", b"2.0\n"), ("odd", b"12345"), ("empty", b"")]


def test_a_name_of_bsd_that_stands_before_the_content_is_no_content():
    assert _read(_member(b"#1/8", b"long.nam" + b"content")) == [("#1/8", b"content")]
    assert _read(_member(b"#1/800", b"content")) == [("#1/800", b"")], "a name longer than all there is"


@pytest.mark.parametrize("name", [b"#1/ 8", b"#1/8x", b"#1/8/", b"#1/\t8", b"#1/8 9", b"#1/8\xb2"])
def test_of_such_a_name_that_readers_take_differently_both_contents_are_given(name):
    """bsdtar reads on to what is no digit, GNU's ar takes some of them for the name itself."""
    found = [content for _, content in _read(_member(name, b"long.namcontent") + _member(b"a", b"more"))]
    assert found == [b"content", b"long.namcontent", b"more"]


@pytest.mark.parametrize("name", [b"#1/\xb2", b" #1/8", b"#1/+8", b"#1/"])
def test_what_is_no_such_name_is_the_name_itself(name):
    found = [content for _, content in _read(_member(name, b"content") + _member(b"a", b"more"))]
    assert found == [b"content", b"more"]


def test_members_may_be_read_in_any_order():
    data = b"!<arch>\n" + _member(b"a", b"first") + _member(b"b", b"second")
    (_, first), (_, second) = members(io.BytesIO(data))
    assert second.read(100) == b"second"
    assert first.read(100) == b"first"


def test_empty_lines_at_the_end_are_the_end():
    assert _read(_member(b"a", b"first") + b"\n\n") == [("a", b"first")]


@pytest.mark.parametrize(
    "data",
    [
        _member(b"a", b"12", size=b"-2"),
        _member(b"a", b"12", size=b""),
        _member(b"a", b"12", size=b"\xb2"),
        _member(b"a", b"12", end=b"\n`"),
        _member(b"a", b"12")[:50],
        _member(b"a", b"12") + b"more",
    ],
    ids=["negative", "none", "a digit of another kind", "no end", "cut", "something behind"],
)
def test_what_is_no_header_is_damage(data):
    with pytest.raises(ArError, match="no header"):
        _read(data)


def test_a_member_that_is_cut_is_damage():
    with pytest.raises(ArError, match="too early"):
        _read(_member(b"a", b"12345678")[:-3])
