"""For which kinds of archive a file may be taken: a file may be several at once."""

import io

import pytest

from proxykit.samples import gzipped, seven, tarred, zipped
from secondlook.download.archives.kinds import BEHIND, behind, kinds_of
from secondlook.download.body.signatures import BEHIND_WITHIN_BYTES, VOLUMES
from secondlook.download.body.zip_end import ZIP_END_BYTES

FILES = {"a": b"hi"}
SEVEN = seven(FILES)
ISO_AT, HFS_AT = (at for at, _ in VOLUMES)


def at(place: int, mark: bytes) -> bytes:
    return b"\0" * place + mark


def kinds(data: bytes) -> tuple[str, ...]:
    file = io.BytesIO(data)
    file.seek(1)  # whoever looked before left it somewhere
    return kinds_of(file)


KNOWN = {
    "plain text": (b"plain text", ()),
    "gzip": (gzipped(b"hi"), ("gzip",)),
    "zip": (zipped(FILES), ("zip",)),
    "zip behind a program": (b"MZ" + zipped(FILES), ("zip",)),
    "zip whose end is out of reach": (zipped(FILES) + b"\0" * ZIP_END_BYTES, ("zip",)),
    "both": (b"MZ" + zipped(FILES) + b"\0" * ZIP_END_BYTES, ()),
    "7z": (SEVEN, ("7z",)),
    "7z behind a program": (b"MZ" + SEVEN, (BEHIND,)),
    "image by its end": (b"text" + b"koly\0\0\0\4" + bytes(504), ("dmg",)),
    "image by its middle": (b"text" + at(ISO_AT - 4, b"CD001"), ("disk image",)),
    "another image": (b"text" + at(HFS_AT - 4, b"H+\0\4\0"), ("disk image",)),
    "mark in another place": (b"text" + at(ISO_AT - 3, b"CD001"), ()),
}


@pytest.mark.parametrize(("data", "expected"), KNOWN.values(), ids=KNOWN)
def test_a_file_is_known_by_its_beginning_its_end_and_its_middle(data, expected):
    assert kinds(data) == expected


def test_a_file_that_is_several_is_named_as_each():
    assert kinds(tarred({"a.zip": b""})[:-10240] + bytes(4096) + zipped(FILES))[-1] == "zip"
    image = bytearray(at(ISO_AT, b"CD001"))
    image[HFS_AT : HFS_AT + 4] = b"H+\0\4"
    assert kinds(b"text" + bytes(image[4:]) + zipped(FILES)) == ("disk image", "zip")


@pytest.mark.parametrize("before", [1, 100, BEHIND_WITHIN_BYTES - 1000])
def test_where_an_archive_begins_behind_other_bytes(before):
    assert behind(io.BytesIO(b"x" * before + SEVEN)) == ("7z", before)


def test_an_archive_at_the_very_beginning_or_too_far_in_is_not_behind():
    assert behind(io.BytesIO(SEVEN)) is None
    assert behind(io.BytesIO(b"x" * (BEHIND_WITHIN_BYTES + 1) + SEVEN)) is None
