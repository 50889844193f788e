"""Archives: what lies inside is found, and no hostile byte gets an exception out of the reader."""

import hashlib
import io

import py7zr
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxykit.samples import EICAR, EICAR_SHA256, gzipped, tarred, zipped
from secondlook.proxy.archive import ArchiveLimits, archive_kind, look_inside
from secondlook.proxy.ranges import read_content_range, read_first_part, read_range

LIMITS = ArchiveLimits(depth=3, members=100, max_bytes=5 << 20, time_s=5.0)
FILES = {"readme": b"hi", "folder/eicar.com": EICAR}


def _seven() -> bytes:
    buffer = io.BytesIO()
    with py7zr.SevenZipFile(buffer, "w") as archive:
        for name, content in FILES.items():
            archive.writestr(content, name)
    return buffer.getvalue()


ARCHIVES = {
    "zip": zipped(FILES),
    "tar": tarred(FILES),
    "tgz": tarred(FILES, "w:gz"),
    "tbz": tarred(FILES, "w:bz2"),
    "txz": tarred(FILES, "w:xz"),
    "gz": gzipped(EICAR),
    "7z": _seven(),
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


def test_an_encrypted_zip_is_told():
    data = bytearray(zipped(FILES))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = 0
        while (at := data.find(mark, at)) >= 0:
            data[at + offset] |= 1
            at += 4
    assert "encrypted" in (_look(bytes(data)).problem or "")


@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from(sorted(ARCHIVES)),
    edits=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=12),
    cut=st.integers(0, 10**6),
)
def test_damaged_archives_never_raise(kind, edits, cut):
    data = bytearray(ARCHIVES[kind])
    for where, value in edits:
        data[where % len(data)] = value
    report = _look(bytes(data[: cut % len(data) + 1]), time_s=2.0)
    assert report.problem is None or report.problem.startswith("archive")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_random_bytes_never_raise(data):
    archive_kind(data)
    _look(data)
    read_first_part("multipart/byteranges; boundary=ab", b"--ab" + data)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=100))
def test_random_range_headers_never_raise(text):
    read_range(text, text)
    read_content_range(text)
    read_first_part(text, text.encode("utf-8", "surrogatepass"))
