"""Archives: what lies inside is found, and no hostile byte gets an exception out of the reader."""

import hashlib
import io
import itertools
import os
import struct
import subprocess
import tarfile
import warnings
import zipfile

import py7zr
import pytest

from proxykit.samples import EICAR, EICAR_SHA256, ENCODERS, gzipped, locked, seven, tarred, zipped
from secondlook.download.archives.archive import ArchiveLimits, look_inside
from secondlook.download.body.zip_end import ZIP_END_BYTES, ends_like_zip

LIMITS = ArchiveLimits(depth=3, members=100, max_bytes=5 << 20, time_s=5.0)
FILES = {"readme": b"hi", "folder/eicar.com": EICAR}


ARCHIVES = {
    "zip": zipped(FILES),
    "tar": tarred(FILES),
    "tgz": tarred(FILES, "w:gz"),
    "tbz": tarred(FILES, "w:bz2"),
    "txz": tarred(FILES, "w:xz"),
    "gz": gzipped(EICAR),
    "7z": seven(FILES),
    "zip in tgz in zip": zipped({"a.tgz": tarred({"b.zip": zipped(FILES)}, "w:gz")}),
}


def _look(data: bytes, **changed: float):
    limits = ArchiveLimits(**{name: changed.get(name, getattr(LIMITS, name)) for name in LIMITS.__slots__})
    return look_inside(io.BytesIO(data), limits)


@pytest.mark.parametrize("kind", ARCHIVES)
def test_members_are_found(kind):
    report = _look(ARCHIVES[kind])
    assert report.problem is None
    assert EICAR_SHA256 in {digest for _, digest in report.members}


def test_digests_of_members_and_what_is_in_them():
    inner = zipped(FILES)
    report = _look(zipped({"in.zip": inner}))
    assert dict(report.members)["in.zip"] == hashlib.sha256(inner).hexdigest()
    assert dict(report.members)["in.zip/folder/eicar.com"] == EICAR_SHA256


@pytest.mark.parametrize(
    ("data", "changed", "why"),
    [
        (zipped({str(number): b"" for number in range(101)}), {}, "more than 100 members"),
        (zipped({str(number): b"" for number in range(100)}), {}, None),
        (tarred({str(number): b"" for number in range(101)}), {}, "more than 100 members"),
        (tarred({str(number): b"" for number in range(100)}), {}, None),
        (zipped({"x": b"\0" * (5 << 20)}), {}, None),
        (zipped({"x": b"\0" * ((5 << 20) + 1)}), {}, "bytes unpacked"),
        (zipped({"a.zip": zipped({"b.zip": zipped(FILES)})}), {}, None),
        (zipped({"a.zip": zipped({"b.zip": zipped({"c.zip": zipped(FILES)})})}), {}, "deeper"),
        (zipped({"x": b"\0" * (4 << 20)}), {"time_s": -1.0}, "longer than"),
        (gzipped(b"\0" * (6 << 20)), {}, "bytes unpacked"),
        (b"no archive", {}, "not an archive"),
    ],
)
def test_limits_at_and_past_them(data, changed, why):
    problem = _look(data, **changed).problem
    assert (problem is None) if why is None else (problem is not None and why in problem)


def _sparse(parts: int) -> bytes:
    """A tar with a file in so many parts of one byte."""
    table = f"{parts}\n{''.join(f'{at}\n1\n' for at in range(parts))}".encode()
    content = table.ljust(-(-len(table) // 512) * 512, b"\0") + b"x" * parts
    info = tarfile.TarInfo("GNUSparseFile.0/x")
    info.size = len(content)
    told = {"major": "1", "minor": "0", "name": "x", "realsize": str(parts)}
    info.pax_headers = {f"GNU.sparse.{name}": value for name, value in told.items()}
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
            archive.addfile(info, io.BytesIO(content))
        return file.getvalue()


def _faulty() -> bytes:
    """A gzip with a fault behind many blocks with nothing in them."""
    return gzipped(b"")[:10] + b"\0\0\0\xff\xff" * 3000 + b"\7" * 7


@pytest.mark.parametrize("data", [_sparse(6000), _faulty()], ids=["holes", "what stands before a fault"])
def test_no_second_reading_goes_on_when_the_time_is_over(data, monkeypatch):
    looks = itertools.count()
    monkeypatch.setattr("secondlook.download.archives.archive.time.monotonic", lambda: next(looks) / 1000)
    assert _look(data).problem == "archive: longer than 5 s"


def test_a_directory_too_long_to_be_read_hides_no_member():
    report = _look(zipped({"eicar.com": EICAR} | {str(number): b"" for number in range(100)}))
    assert report.problem == "archive cannot be read: its directory lists more than 100 members"
    assert dict(report.members)["eicar.com"] == EICAR_SHA256
    assert len(report.members) == LIMITS.members


@pytest.mark.parametrize("kind", ["zip", "tar", "tgz"])
@pytest.mark.parametrize("encodings", [("br",), ("zstd",), ("deflate",), ("gzip",), ("br", "gzip")])
def test_an_archive_in_a_content_encoding_is_looked_into(kind, encodings):
    data = ARCHIVES[kind]
    for name in reversed(encodings):
        data = ENCODERS[name](data)
    report = look_inside(io.BytesIO(data), LIMITS, encodings)
    assert report.problem is None
    assert report.members == _look(ARCHIVES[kind]).members
    assert look_inside(io.BytesIO(data[:50]), LIMITS, encodings).problem is not None
    bomb = ENCODERS[encodings[0]](bytes(6 << 20))
    assert look_inside(io.BytesIO(bomb), LIMITS, encodings[:1]).problem is not None


LOCKED = {
    "zip": locked(FILES, "infected"),
    "7z": seven(FILES, password="infected", names_too=False),
    "7z with its names": seven(FILES, password="infected"),
}


@pytest.mark.parametrize("kind", LOCKED)
def test_an_encrypted_archive_is_told(kind):
    report = _look(LOCKED[kind])
    assert report.problem == "archive cannot be read: it is encrypted"
    assert report.members == []


def _damaged(data: bytes, content: bytes) -> bytes:
    at = data.index(content)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (zipped({"0.zip": LOCKED["zip"], "eicar.com": EICAR}), "it is encrypted"),
        (tarred({"0.7z": LOCKED["7z"], "eicar.com": EICAR}), "it is encrypted"),
        (
            zipped({"0": zipped({"1": zipped({"2": zipped({"3": b""})})}), "eicar.com": EICAR}),
            "deeper than 3",
        ),
        (seven({"0": zipped({"1": zipped({"2": zipped({})})}), "eicar.com": EICAR}), "deeper than 3"),
        (_damaged(zipped({"0": b"some bytes", "eicar.com": EICAR}, 0), b"some bytes"), "Bad CRC"),
        (zipped({"0.zip": b"PK\x03\x04 not at all", "eicar.com": EICAR}), "BadZipFile"),
        (tarred({"0.gz": gzipped(b"x" * 1000)[:-9], "eicar.com": EICAR}), "EOFError"),
    ],
)
def test_a_member_that_cannot_be_read_hides_no_other(data, why):
    report = _look(data)
    assert why in (report.problem or "")
    assert EICAR_SHA256 in dict(report.members).values()
    assert "eicar.com" in dict(report.members)


def test_two_members_of_one_name_are_both_found():
    with warnings.catch_warnings(action="ignore"):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("same", EICAR)
            archive.writestr("same", b"harmless")
    assert len(_look(buffer.getvalue()).members) == 2
    buffer = io.BytesIO()
    with py7zr.SevenZipFile(buffer, "w") as archive:
        archive.writestr(EICAR, "same")
        archive.writestr(b"harmless", "same")
    assert EICAR_SHA256 in {digest for _, digest in _look(buffer.getvalue()).members}


def test_the_members_of_a_tar_are_not_counted_twice_but_its_holes_are(tmp_path):
    assert _look(tarred({"a": bytes(3 << 20)}, "w:gz")).problem is None
    (tmp_path / "holes").touch()
    os.truncate(tmp_path / "holes", 1 << 40)
    packed = subprocess.run(["tar", "-cS", "-C", tmp_path, "holes"], capture_output=True, check=True)
    assert len(packed.stdout) < 20_000
    assert "bytes unpacked" in (_look(packed.stdout).problem or "")


BEFORE = {
    "a program": b"MZ" + bytes(3000),
    "text": b"hello\n" * 20,
    "a document": b"%PDF-1.7\n%abc\n",
    "a picture": b"GIF89a" + bytes(100),
}


@pytest.mark.parametrize("before", BEFORE)
def test_a_zip_behind_something_else_is_looked_into(before):
    body = BEFORE[before] + zipped(FILES)
    report = _look(body)
    assert report.problem is None
    assert EICAR_SHA256 in {digest for _, digest in report.members}
    assert ends_like_zip(body[-ZIP_END_BYTES:], len(body))


def _ended(changes: dict[int, int] = {}, comment: bytes = b"") -> bytes:  # noqa: B006 - read only
    """A zip behind other bytes, of whose end some numbers (by their places) are others."""
    data = zipped(FILES)
    numbers = list(struct.unpack("<4s4H2LH", data[-22:]))
    for place, number in changes.items():
        numbers[place] = number
    return b"something" * 30 + data[:-22] + struct.pack("<4s4H2LH", *numbers) + comment


ENDS = {
    "a mark in its comment": _ended({7: 5}, b"PK\5\6x"),  # unzip, bsdtar and jar open it
    "a whole end in its comment": _ended({7: 40}, b"PK\5\6" + bytes(36)),  # jar
    "no members": _ended({3: 0, 4: 0}),  # unzip, bsdtar, jar, zipfile
    "another disk": _ended({1: 1, 2: 1}),  # unzip, jar, zipfile
    "more members on other disks": _ended({4: 9}),  # unzip, jar, zipfile
    "a comment that is not there": _ended({7: 0xFFFF}),  # unzip, bsdtar, zipfile
}


@pytest.mark.parametrize("kind", ENDS)
def test_a_zip_behind_something_else_is_one_however_its_end_is_written(kind):
    body = ENDS[kind]
    assert ends_like_zip(body[-ZIP_END_BYTES:], len(body))
    assert EICAR_SHA256 in {digest for _, digest in _look(body).members}
    if "in its comment" not in kind:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            assert archive.read("folder/eicar.com") == EICAR


@pytest.mark.parametrize("before", [1000, 70_000])
def test_a_7z_behind_zeros_is_looked_into(before):
    report = _look(bytes(before) + seven(FILES))
    assert EICAR_SHA256 in {digest for _, digest in report.members}


@pytest.mark.parametrize("first", [b"", b"MZ", b"nothing", tarred({"a": b"b"})])
def test_a_disk_image_is_told_whatever_stands_before_its_volumes(first):
    report = _look(first.ljust(0x8000, b"\x11") + b"\x01CD001\x01\0" + bytes(4000))
    assert "disk image is a kind that is not looked into" in (report.problem or "")


def test_zips_one_after_the_other_are_all_looked_into():
    harmless = zipped({"harmless": b"x"})
    for body in (
        zipped(FILES) + harmless,
        harmless + zipped(FILES) + harmless,
        zipped(FILES) + harmless * 20,
    ):
        report = _look(body)
        assert report.problem is None
        assert EICAR_SHA256 in {digest for _, digest in report.members}
