"""Several pieces in one answer: which of them go on, however they are cut and divided."""

import pytest

from proxykit.samples import program, prose
from secondlook.download.body.body_type import declared
from secondlook.download.body.byte_parts import ByteParts, parts_of
from secondlook.download.body.mixed_parts import MixedParts

TYPE = "multipart/byteranges; boundary=B"
FILE = program(3000)
END = b"\r\n--B--\r\n"


def part(
    first: int, body: bytes, *, whole: object = 90_000, before: str = "\r\n--B\r\n", more: str = ""
) -> bytes:
    span = f"Content-Range: bytes {first}-{first + len(body) - 1}/{whole}"
    return f"{before}Content-Type: text/plain\r\n{more}{span}\r\n\r\n".encode() + body


def hides(body: bytes, *, kind: str = TYPE, from_start: bool = False, step: int = 1 << 20) -> bool:
    parts = ByteParts(kind, from_start=from_start)
    return any(parts.feed(body[at : at + step]) for at in range(0, len(body), step))


TWO = part(1, b"x") + part(5, prose(3000))
HONEST = {
    "two": TWO + END,
    "as Apache and nginx begin": part(1, b"x", before="\r\n--B\r\n") + END,
    "no line's end first": part(1, b"x", before="--B\r\n") + part(7, b"y" * 3000, whole="*") + END,
    "a mark with blanks behind it": part(1, b"x", before="--B \t\r\n") + END,
    "not all of it yet": TWO,
}
HOSTILE = {
    "all of a file behind a piece": part(1, b"x") + part(0, FILE) + END,
    "all of it first": part(0, FILE) + END,
    "a part without a range": part(1, b"x") + b"\r\n--B\r\nContent-Type: a/b\r\n\r\n" + FILE + END,
    "a part with two ranges": part(1, b"x") + part(5, FILE, more="Content-Range: bytes 0-2999/3000\r\n"),
    "a range that is none": part(1, b"x") + b"\r\n--B\r\nContent-Range: bytes 5-2/9\r\n\r\n" + FILE,
    "a part inside another": part(1, part(0, FILE)) + END,
    "a part that is longer than it says": part(1, b"x") + FILE + END,
    "a folded head": part(1, b"x", more="Content-Range:\r\n bytes 0-0/9\r\n"),
    "a name with a blank": part(1, b"x", more="Content-Range : bytes 0-0/9\r\n"),
    "line feeds alone": part(1, b"x", more="Content-Range: bytes 0-0/9\nX: y\r\n"),
    "another boundary": part(1, b"x", before="\r\n--BX\r\n"),
    "something before the first": FILE + TWO,
    "something behind the end": TWO + END + part(0, FILE),
    "a head without end": b"\r\n--B\r\nX: " + b"x" * 9000,
    "empty lines without end": b"\r\n" * 5000,
}


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_pieces_of_the_middle_go_on(step):
    assert not any(hides(body, step=step) for body in HONEST.values())
    assert not hides(part(0, FILE) + part(5000, FILE) + END, from_start=True, step=step)


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
@pytest.mark.parametrize("case", HOSTILE)
def test_no_part_is_another_than_was_asked_for(case, step):
    assert hides(HOSTILE[case], step=step)


def test_parts_without_number_at_once_are_not_followed():
    """A piece of 256 KiB holds so many that reading them would stop everybody for a second."""
    assert hides(part(1, b"x") * 501)
    assert not hides(part(1, b"x") * 499)
    assert not hides(part(1, b"x") * 2000, step=100 * len(part(1, b"x")))


def test_only_the_first_may_be_the_beginning():
    assert hides(part(0, b"M") + part(0, FILE) + END, from_start=True)


def test_without_a_boundary_nothing_can_be_followed():
    assert hides(TWO + END, kind="multipart/byteranges")


def test_what_follows_the_parts_of_a_body():
    several, mixed = declared(TYPE, None, "/"), declared("multipart/x-mixed-replace; boundary=B", None, "/")
    said = {"from_start": True, "partial": True}
    assert isinstance(parts_of(several, None, multipart=True, **said), ByteParts)
    assert parts_of(several, None, multipart=False, **said) is None
    assert parts_of(mixed, None, multipart=False, **said) is None
    assert isinstance(parts_of(mixed, None, multipart=False, from_start=True, partial=False), MixedParts)
