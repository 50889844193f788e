"""Ranges and the bodies that are sliced by them, against a reader of RFC 9110 written on its own."""

import re

from hypothesis import strategies as st

from fuzzkit import fuzz, mutated
from secondlook.core.subject import FileSubject
from secondlook.download.body.ranges import (
    is_answer,
    is_whole,
    read_content_range,
    read_first_part,
    read_ranges,
)
from secondlook.download.body.slicing import Slice
from secondlook.download.judged_files import Blocks, JudgedFile, Proof

HEADERS = [
    b"bytes=0-9",
    b"bytes=5-",
    b"bytes=-7",
    b"BYTES = 0-1 , 3-4,9-",
    b"bytes=0-0,-1",
    b"bytes=99999999999999999999-",
    b"bytes=9-1",
    b"lines=1-2",
    b",".join([b"bytes=0-1", *(b"%d-%d" % (at, at + 1) for at in range(0, 140, 3))]),
]
TOLD = [b"bytes 0-9/100", b"bytes 5-99/*", b"bytes */100", b"BYTES  0-99/100 ", b"bytes 9-5/100"]
KEY = bytes(16)
SPACE = " \t\n\r\f\v"
MOST_DIGITS, MOST_RANGES, MOST_JUDGED = 18, 64, 3000


def bytes_wanted(header: str, size: int) -> set[int] | None:
    """The places of the bytes that a Range names (RFC 9110, 14.2); None: it is to be passed over."""
    unit, equals, listed = header.partition("=")
    parts = [part.strip(SPACE) for part in listed.split(",")]
    if not equals or unit.strip(SPACE).lower() != "bytes" or len(parts) > MOST_RANGES:
        return None
    places: set[int] = set()
    for part in parts:
        if not re.fullmatch(r"[0-9]*-[0-9]*", part) or part == "-":
            return None
        first, last = part.split("-")
        if max(len(first), len(last)) > MOST_DIGITS:
            return None
        if not first:
            places.update(range(max(0, size - int(last)), size))
        elif last and int(last) < int(first):
            return None
        else:
            places.update(range(int(first), min(size, int(last) + 1 if last else size)))
    return places


def parts_of(boundary: str, body: bytes) -> list[tuple[int, int, int, bytes]]:
    """Read a multipart/byteranges body to the letter: first, last, size and data of each part."""
    mark = f"--{boundary}".encode()
    assert body.startswith(mark)
    *parts, rest = body[len(mark) :].split(b"\r\n" + mark)
    assert rest == b"--\r\n"
    found = []
    for part in parts:
        head, empty, data = part.partition(b"\r\n\r\n")
        assert empty
        told = re.search(rb"\r\nContent-Range: bytes (\d+)-(\d+)/(\d+)$", head)
        assert told is not None
        found.append((int(told[1]), int(told[2]), int(told[3]), data))
    return found


@fuzz(raw=mutated(HEADERS), size=st.integers(0, 300), step=st.integers(1, 400))
def test_what_is_cut_out(raw, size, step):
    """What is taken out of a whole is what a strict reader of the Range would take, or there is no Range."""
    header, body = raw.decode("latin-1"), bytes(at & 0xFF for at in range(size))
    wanted, expected = read_ranges(header, None), bytes_wanted(header, size)
    assert (wanted is None) == (expected is None)
    windows = [] if wanted is None else wanted.windows(size)
    assert not expected or {at for first, count in windows for at in range(first, first + count)} == expected
    if not windows:
        assert not expected
        return
    part = Slice(windows, size)
    got = b"".join(part.feed(body[at : at + step]) for at in range(0, size, step))
    headers: dict[str, str] = {}
    part.label(headers)
    assert headers["content-length"] == str(len(got))
    if len(windows) == 1:
        parts = [(*map(int, re.findall(r"\d+", headers["content-range"])), got)]
    else:
        parts = parts_of(headers["content-type"].partition("boundary=")[2], got)
    assert [part[3] for part in parts] == [body[first : first + count] for first, count in windows]
    assert [part[:3] for part in parts] == [(first, first + count - 1, size) for first, count in windows]


@fuzz(told=mutated(TOLD), asked=mutated(HEADERS), length=st.none() | st.integers(0, 200))
def test_what_a_piece_says_it_is(told, asked, length):
    """A piece that is taken for an answer begins and ends where it was wanted, and is as long as it says."""
    piece = read_content_range(told.decode("latin-1"))
    wanted = read_ranges(asked.decode("latin-1"), None)
    if piece is None:
        assert not is_whole(piece, length)
        return
    assert 0 <= piece.first <= piece.last
    assert piece.whole is None or piece.last < piece.whole
    if wanted is None or not hasattr(wanted, "first") or not is_answer(piece, wanted, length):
        return
    assert length in {None, piece.last - piece.first + 1}
    if piece.whole is not None and wanted.within(piece.whole) is not None:
        assert wanted.within(piece.whole)[0] == piece.first or wanted.first is None
    assert not is_whole(piece, length)


PARTS = [
    b'multipart/byteranges; boundary="a b"\n--a b\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/9\r\n\r\nMZ',
    b"multipart/byteranges; boundary=xyz\npreamble\r\n--xyz\r\ncontent-range:bytes 5-6/9\r\n\r\nab\r\n--xyz--\r\n",
]


@fuzz(data=mutated(PARTS))
def test_the_first_part(data):
    """The first part of a body of several is read from its mark on, or there is none; nothing raises."""
    kind, _, body = data.partition(b"\n")
    part = read_first_part(kind.decode("latin-1"), body)
    if part is not None:
        assert body.endswith(part.first)


FILES = [b"", b"a", bytes(range(256)) * 20, b"MZ" + bytes(1000)]


@fuzz(
    judged=mutated(FILES),
    raw=mutated(HEADERS),
    block=st.integers(1, 700),
    at=st.integers(0, 1 << 16),
    change=st.sampled_from(["nothing", "flip", "cut", "more", "swap"]),
    step=st.integers(1, 3000),
)
def test_proofs_of_pieces(judged, raw, block, at, change, step):
    """Of a piece only bytes go on that were judged at their place, and a piece that is another is never whole."""
    judged = judged[:MOST_JUDGED]
    blocks = Blocks(KEY, len(judged), block)
    blocks.feed(judged)
    tags = blocks.end()
    wanted = read_ranges(raw.decode("latin-1"), None)
    windows = [] if wanted is None else wanted.windows(len(judged))
    if tags is None or not windows:
        return
    file = JudgedFile.from_bytes(
        JudgedFile(len(judged), block, tags, FileSubject((bytes(32),), size=len(judged))).to_bytes()
    )
    proof = Proof(file, windows[:1], KEY)
    piece = bytearray(judged[proof.first : proof.end])
    at %= len(piece)
    if change == "flip":
        piece[at] ^= 1
    elif change == "cut":
        del piece[at:]
    elif change == "more":
        piece.append(0)
    elif change == "swap":
        piece[:] = piece[at:] + piece[:at]
    out, honest, refused = b"", judged[windows[0][0] : sum(windows[0])], False
    for start in range(0, len(piece), step):
        part = proof.feed(bytes(piece[start : start + step]))
        if part is None:
            refused = True
            break
        out += part
    assert honest.startswith(out)
    passed = proof.whole and not refused
    assert passed == (bytes(piece) == judged[proof.first : proof.end])
    assert not passed or out == honest


@fuzz(data=mutated([JudgedFile(9, 5, bytes(32), FileSubject((bytes(32),), size=9)).to_bytes()]))
def test_what_is_known_of_a_judged_file(data):
    """What is read back has as many tags as blocks, or is refused with the errors that its reader expects."""
    try:
        file = JudgedFile.from_bytes(data)
    except (ValueError, KeyError, TypeError):
        return
    assert len(file.tags) == -(-file.size // file.block) * 16
