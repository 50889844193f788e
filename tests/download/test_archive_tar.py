"""A file in a tar is seen whatever stands in the fields of its header that nobody needs."""

import hashlib
import io
import tarfile

import pytest

from proxykit.archives import unpacked_by, v7
from secondlook.download.archives.archive import ArchiveLimits, look_inside

LIMITS = ArchiveLimits(depth=3, members=60, max_bytes=1 << 20, time_s=10.0)
CONTENT = b"what is in it"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
FIELDS = {"mode": 100, "user": 108, "group": 116, "time": 136, "major": 329, "minor": 337}


def odd(at: int) -> bytes:
    archive = bytearray(v7(b"first", b"1")[:1024] + v7(b"second", CONTENT))
    header = memoryview(archive)[1024:1536]
    header[at : at + 7] = b"no/num!"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(archive)


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_that_is_no_number_hides_no_file(field, tmp_path):
    data = odd(FIELDS[field])
    report = look_inside(io.BytesIO(data), LIMITS)
    assert (DIGEST in {digest for _, digest in report.members}, report.problem) == (True, None)
    for program in ("tar", "bsdtar"):
        folder = tmp_path / program
        folder.mkdir()
        assert CONTENT in set(unpacked_by(program, data, folder)), program


def test_a_size_that_is_no_number_is_a_fault():
    report = look_inside(io.BytesIO(odd(124)), LIMITS)
    assert report.problem is not None


@pytest.mark.parametrize("size", ["13", "7", "013", "x"])
def test_a_length_that_is_told_twice_is_one_where_both_are_the_same(size):
    """npm tells it so of a file whose name needs an extended header."""
    record = f"{len(size) + 9:2} size={size}\n".encode()
    extended = tarfile.TarInfo("extended")
    extended.type, extended.size = tarfile.XHDTYPE, len(record)
    archive = extended.tobuf() + record.ljust(512, b"\0") + v7(b"second", CONTENT)
    report = look_inside(io.BytesIO(archive), LIMITS)
    assert (report.problem is None) is (size == str(len(CONTENT)))


def test_what_is_no_header_is_passed_over():
    archive = v7(b"first", b"1")[:1024] + bytes(512) + b"x" * 512 + v7(b"second", CONTENT)
    report = look_inside(io.BytesIO(archive), LIMITS)
    assert (DIGEST in {digest for _, digest in report.members}, report.problem) == (True, None)
