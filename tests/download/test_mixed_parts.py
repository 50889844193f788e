"""A page that is replaced again and again: which of its parts go on, however they are cut and named."""

import pytest

from proxykit.samples import program, prose
from secondlook.download.body.body_type import declared
from secondlook.download.body.mixed_parts import MixedParts

PICTURE = b"\xff\xd8\xff\xe0\x00\x10JFIF" + program(3000)
PROGRAM = program(3000)
TYPE = "multipart/x-mixed-replace; boundary=frame"
ATTACHED = "Content-Disposition: attachment; filename=a.exe"
BATCH = b"@echo off\r\n" * 20


def part(body: bytes, *head: str, mark: str = "--frame") -> bytes:
    return "\r\n".join([mark, *head, "", ""]).encode() + body + b"\r\n"


def hides(
    body: bytes, kind: str = TYPE, *, step: int = 1 << 20, path: str = "/live", encoding: str | None = None
):
    parts = MixedParts(declared(kind, None, path), encoding)
    return any(parts.feed(body[start : start + step]) for start in range(0, len(body), step))


FRAMES = b"".join(
    part(PICTURE, "Content-Type: image/jpeg", f"Content-Length: {len(PICTURE)}") for _ in range(3)
)
TEXTS = (
    part(b"<p>one", "Content-Type: text/html") + part(b"two", "Content-Type: text/plain") + part(b'{"a": 1}')
)
HONEST = {
    "pictures": (FRAMES, TYPE),
    "texts": (TEXTS, TYPE),
    "an empty line first": (b"\r\n" + FRAMES, TYPE),
    "a boundary that is named with its dashes": (FRAMES, TYPE.replace("=frame", "=--frame")),
    "a boundary in quotes": (FRAMES, TYPE.replace("frame", '"frame"')),
    "pictures without a type": (part(PICTURE) * 2, TYPE),
    "line feeds alone": (FRAMES.replace(b"\r\n", b"\n"), TYPE),
    "its end": (FRAMES + b"--frame--\r\n", TYPE),
}
HOSTILE = {
    "a program": (part(PROGRAM, "Content-Type: application/octet-stream"), TYPE),
    "one that is attached": (part(PROGRAM, "Content-Type: image/jpeg", ATTACHED), TYPE),
    "one behind a page": (TEXTS + part(PROGRAM, "Content-Type: application/octet-stream", ATTACHED), TYPE),
    "one without a type": (FRAMES + part(PROGRAM), TYPE),
    "one that is called a page": (part(PROGRAM, "Content-Type: text/html"), TYPE),
    "a script with the name of the address": (part(BATCH, "Content-Type: font/woff"), TYPE),
    "a type in the second line of a fold": (part(PROGRAM, "Content-Type:", " application/x-a"), TYPE),
    "two types": (part(PROGRAM, "Content-Type: text/html", "Content-Type: application/x-a"), TYPE),
    "a type without space": (part(PROGRAM, "content-type:application/x-a"), TYPE),
    "parts in a part": (part(FRAMES, "Content-Type: multipart/mixed; boundary=x"), TYPE),
    "something before the first part": (PROGRAM + FRAMES, TYPE),
    "a head before the first part": (b"Content-Type: application/octet-stream\r\n\r\n" + PROGRAM, TYPE),
    "no boundary": (FRAMES, "multipart/x-mixed-replace"),
    "a boundary that readers divide differently": (
        part(PROGRAM, "Content-Type: application/x-a", mark="--fra"),
        'multipart/x-mixed-replace; boundary="fra;me"',
    ),
    "a head without end": (b"--frame\r\nX: " + prose(9000), TYPE),
}


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
@pytest.mark.parametrize("name", HONEST)
def test_pictures_and_texts_go_on(name, step):
    body, kind = HONEST[name]
    assert not hides(body, kind, step=step)


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
@pytest.mark.parametrize("name", HOSTILE)
def test_no_part_is_a_file(name, step):
    body, kind = HOSTILE[name]
    assert hides(body, kind, step=step, path="/live.bat")


def test_parts_without_number_at_once_are_not_followed():
    """A piece of 256 KiB holds so many that reading them would stop everybody for a second."""
    empty = b"--frame\n\n"
    assert hides(empty * 101)
    assert not hides(empty * 99)
    assert not hides(empty * 1000, step=50 * len(empty))


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_seen_before_the_part_is_whole(name):
    body, kind = HOSTILE[name]
    parts = MixedParts(declared(kind, None, "/live.bat"), None)
    seen = next((at for at in range(len(body)) if parts.feed(body[at : at + 1])), 0 if parts.hides else None)
    assert seen is not None
    assert seen < len(body) - 150


def test_what_is_encoded_cannot_be_followed():
    assert hides(FRAMES, encoding="gzip")


def test_nothing_of_a_long_picture_is_kept():
    parts = MixedParts(declared(TYPE, None, "/"), None)
    parts.feed(part(PICTURE, "Content-Type: image/jpeg"))
    for _ in range(50):
        assert not parts.feed(PROGRAM)
    assert len(parts._rest) < 100
