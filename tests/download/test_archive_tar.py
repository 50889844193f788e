"""A file in a tar is seen whatever stands in the fields of its header that nobody needs."""

import hashlib
import io

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


def test_what_is_no_header_is_passed_over():
    archive = v7(b"first", b"1")[:1024] + bytes(512) + b"x" * 512 + v7(b"second", CONTENT)
    report = look_inside(io.BytesIO(archive), LIMITS)
    assert (DIGEST in {digest for _, digest in report.members}, report.problem) == (True, None)
