"""Archives that two readers take differently: every view is judged, or the archive is told (about 3 s).

The invariant: whatever GNU tar, bsdtar or Python's zipfile unpack from a file is among the digests of its
members, or the look says why not.
"""

import bz2
import gzip
import hashlib
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Buffer
from typing import IO, cast

import pytest

from download.test_signatures import SAMPLES
from proxykit.archives import FILES, READ, told_otherwise, typed
from proxykit.samples import EICAR, EICAR_SHA256, seven, tarred, zipped
from secondlook.download.archives.archive import ArchiveLimits, Report, look_inside
from secondlook.download.body.signatures import UNREAD_ARCHIVES

LIMITS = ArchiveLimits(depth=3, members=100, max_bytes=5 << 20, time_s=5.0)
RAR = b"Rar!\x1a\x07\x01\x00" + struct.pack("<I", zlib.crc32(b"\2\1\0")) + b"\2\1\0" + bytes(100)
DMG_END = b"koly\0\0\0\4" + bytes(504)
ISO = bytes(32768) + b"\x01CD001\x01\x00" + bytes(2000)


def _look(data: bytes) -> Report:
    return look_inside(io.BytesIO(data), LIMITS)


def _found(data: bytes) -> set[str]:
    return {digest for _, digest in _look(data).members}


@pytest.mark.parametrize("kind", READ)
def test_what_some_reader_unpacks_is_found(kind):
    assert EICAR_SHA256 in _found(READ[kind]())


TOLD = {
    "a size that is too small": lambda: _lying(size=10),
    "a size that is too large": lambda: _lying(size=1000),
    "another method before it": lambda: _lying(local_method=8),
    "a second length of a file, behind which more of it stands": lambda: told_otherwise(
        {"GNU.sparse.size": "68"}
    ),
    "a second length as star tells it": lambda: told_otherwise({"SCHILY.realsize": "68"}),
    "holes that GNU tar does not make": lambda: told_otherwise(
        {"GNU.sparse.map": "5,63", "GNU.sparse.size": "68"}, EICAR[:68]
    ),
    "parts of a file in another order": lambda: told_otherwise(
        {"GNU.sparse.map": "20,48,0,20", "GNU.sparse.numblocks": "2", "GNU.sparse.size": "68"}, EICAR
    ),
    "parts of a file of no length": lambda: typed(b"S"),
    "a link with content": lambda: typed(b"1"),
    "an image of a disk": lambda: zipped({"a.iso": ISO}),
    "a rar inside": lambda: zipped({"a.rar": SAMPLES["rar"]() + bytes(100)}),
    "a rar behind a tar": lambda: tarred(FILES) + RAR,
    "a rar in the head of a gzip": lambda: _with_extra(gzip.compress(b"hi"), RAR),
    "a rar in a frame that readers of zstd skip": lambda: (
        b"\x50\x2a\x4d\x18" + struct.pack("<I", len(RAR)) + RAR
    ),
    "a rar behind empty lines in a library": lambda: b"!<arch>\n" + b"\n" * 60 + RAR,
    "a disk image of Apple's in a zip": lambda: zipped({"a.dmg": b"x" * 3000 + DMG_END}),
    "a volume of Apple's in a zip": lambda: zipped({"a.dmg": bytes(1024) + b"H+\0\4" + bytes(2000)}),
    "a cab in a tar": lambda: tarred({"a.cab": SAMPLES["cab"]() + bytes(100)}),
    "a directory in its comment": lambda: _commented(zipped({"b": EICAR})),
}


def _lying(*, size: int = len(EICAR), local_method: int = 0) -> bytes:
    data = bytearray(zipped({"x": EICAR}, zipfile.ZIP_STORED))
    at = data.rindex(b"PK\1\2")
    data[at + 24 : at + 28] = struct.pack("<I", size)
    data[22:26] = struct.pack("<I", size)
    data[8:10] = struct.pack("<H", local_method)
    return bytes(data)


def _commented(comment: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a", b"b")
        archive.comment = comment
    return buffer.getvalue()


def _with_extra(packed: bytes, extra: bytes) -> bytes:
    """A gzip with a field in its head that readers pass over (RFC 1952, 2.3.1.1)."""
    field = struct.pack("<HH", len(extra) + 4, 0) + struct.pack("<H", len(extra)) + extra
    return packed[:3] + b"\4" + packed[4:10] + field + packed[10:]


@pytest.mark.parametrize("kind", TOLD)
def test_what_readers_differ_about_or_nobody_here_reads_is_told(kind):
    report = _look(TOLD[kind]())
    assert report.problem is not None
    if "size" in kind:
        assert EICAR_SHA256 in dict(report.members).values()


def test_a_member_is_found_as_long_as_it_is_and_as_long_as_is_told():
    found = _found(_lying(size=10))
    assert {hashlib.sha256(EICAR).hexdigest(), hashlib.sha256(EICAR[:10]).hexdigest()} <= found


@pytest.mark.parametrize("kind", sorted(UNREAD_ARCHIVES & set(SAMPLES)))
def test_a_kind_that_is_not_read_is_told(kind):
    assert "not looked into" in (_look(SAMPLES[kind]().ljust(600, b"\1")).problem or "")


@pytest.mark.parametrize(
    "data",
    [zipped({"zeros": bytes(100_000)}), tarred({"zeros": bytes(100_000)}), zipped(FILES), seven({})],
)
def test_honest_archives_are_not_told(data):
    assert _look(data).problem is None


def test_members_stored_in_a_stored_zip_are_looked_at_once():
    inner = zipped({str(number): b"x%d" % number for number in range(40)}, zipfile.ZIP_STORED)
    report = _look(zipped({"inner.zip": inner, "b": b"y"}, zipfile.ZIP_STORED))
    assert report.problem is None
    assert len(report.members) == 42


class _Pipe(io.RawIOBase):
    """Takes bytes, and goes nowhere back."""

    def __init__(self) -> None:
        self.data = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer) -> int:
        self.data += bytes(data)
        return len(bytes(data))


def _piped(files: dict[str, bytes]) -> bytes:
    pipe = _Pipe()
    with zipfile.ZipFile(cast("IO[bytes]", pipe), "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return pipe.data


def test_a_zip_stored_into_a_pipe_is_honest_in_another_one_too():
    report = _look(_piped({"inner.zip": _piped({"empty": b"", **FILES}), "b": b"y"}))
    assert report.problem is None
    assert EICAR_SHA256 in dict(report.members).values()


def test_a_stored_member_that_no_directory_names_is_taken_up_to_its_length():
    data = _piped(FILES)
    members = data[: data.index(b"PK\1\2")]
    report = _look(members + zipped({"a": b"b"}))
    assert report.problem is None
    assert EICAR_SHA256 in dict(report.members).values()
    wrong = members.replace(struct.pack("<4sI", b"PK\7\x08", zlib.crc32(EICAR)), b"PK\7\x08abcd")
    assert "Bad CRC" in (_look(wrong + zipped({"a": b"b"})).problem or "")
    assert "is not unpacked" in (
        _look(members.replace(b"PK\7\x08", b"PK77") + zipped({"a": b"b"})).problem or ""
    )


def test_a_gzip_of_several_members_is_one_file():
    assert EICAR_SHA256 in _found(gzip.compress(EICAR[:20]) + gzip.compress(EICAR[20:]))


@pytest.mark.parametrize("pack", [lzma.compress, bz2.compress])
@pytest.mark.parametrize("between", [b"", bytes(4), bytes(70_000)])
def test_packed_streams_are_one_file_whatever_zeros_stand_between_them(pack, between):
    found = _look(pack(EICAR[:20]) + between + pack(EICAR[20:]) + between)
    assert EICAR_SHA256 in dict(found.members).values()
    assert found.problem is None
    assert EICAR_SHA256 in _found(pack(b"") + between + pack(EICAR))


@pytest.mark.parametrize("pack", [lzma.compress, bz2.compress])
def test_what_stands_behind_a_packed_stream_is_told(pack):
    assert _look(pack(EICAR) + b"something else").problem is not None
    assert _look(pack(EICAR)[:-8]).problem is not None
