"""Archives that two readers take differently: every view is judged, or the archive is told (about 3 s).

The invariant: whatever GNU tar, bsdtar or Python's zipfile unpack from a file is among the digests of its
members, or the look says why not.
"""

import gzip
import hashlib
import io
import lzma
import os
import struct
import subprocess
import zipfile
import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.test_signatures import SAMPLES, v7
from proxykit.samples import EICAR, EICAR_SHA256, seven, tarred, zipped
from secondlook.proxy.archive import ArchiveLimits, Report, look_inside
from secondlook.proxy.signatures import UNREAD_ARCHIVES

LIMITS = ArchiveLimits(depth=3, members=100, max_bytes=5 << 20, time_s=5.0)
FILES = {"readme": b"hi", "folder/eicar.com": EICAR}
ISO = bytes(32768) + b"\x01CD001\x01\x00" + bytes(2000)


def _look(data: bytes) -> Report:
    return look_inside(io.BytesIO(data), LIMITS)


def _found(data: bytes) -> set[str]:
    return {digest for _, digest in _look(data).members}


def _header(name: bytes, content: bytes, **changed: int) -> bytes:
    packed = changed.get("packed", len(content))
    size, flags = changed.get("size", len(content)), changed.get("flags", 0)
    method, check = changed.get("method", 0), changed.get("check", zlib.crc32(content))
    return (
        struct.pack("<4s5H3I2H", b"PK\3\4", 20, flags, method, 0, 0, check, packed, size, len(name), 0) + name
    )


def _deb() -> bytes:
    parts = {"debian-binary": b"2.0\n", "data.tar.xz": lzma.compress(tarred(FILES))}
    out = b"!<arch>\n"
    for name, content in parts.items():
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        out += content + b"\n" * (len(content) % 2)
    return out


READ = {
    "a tar whose first name is a program's mark": lambda: tarred({"MZ": b"x", **FILES}),
    "a tar whose first name is ELF's mark": lambda: tarred({"\x7fELF": b"x", **FILES}),
    "a tar without a mark": lambda: v7(b"eicar.com", EICAR),
    "a tar of nothing but a mark of zip": lambda: v7(b"PK\3\4", EICAR),
    "tar in zstd": lambda: zstandard.ZstdCompressor().compress(tarred(FILES)),
    "several frames of zstd": lambda: (
        b"\x50\x2a\x4d\x18\3\0\0\0abc" + zstandard.ZstdCompressor().compress(tarred(FILES))
    ),
    "tar in lzma": lambda: lzma.compress(tarred(FILES), lzma.FORMAT_ALONE),
    "a package of Debian": _deb,
    "a block of junk inside": lambda: tarred({"a": b"x"})[:1024] + b"junk" * 128 + tarred(FILES),
    "two tars one after the other": lambda: tarred({"a": b"x"}) + tarred(FILES),
    "a type of member nobody knows": lambda: _typed(b"Z"),
    "a zip inside, behind a picture": lambda: zipped(
        {"a.png": b"\x89PNG\r\n\x1a\n" + bytes(99) + zipped(FILES)}
    ),
    "a zip in a 7z, behind a picture": lambda: seven({"a.png": b"GIF89a" + bytes(99) + zipped(FILES)}),
    "a header that the directory does not name": lambda: _header(b"x", EICAR) + EICAR + zipped({"a": b"b"}),
    "headers without a directory": lambda: _header(b"x", EICAR) + EICAR,
    "deflated, of unknown length": lambda: _header(b"", b"") + _streamed(),
}


def _typed(kind: bytes) -> bytes:
    data = bytearray(tarred({"eicar.com": EICAR}))
    data[156:157] = kind
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


def _streamed() -> bytes:
    machine = zlib.compressobj(wbits=-15)
    packed = machine.compress(EICAR) + machine.flush()
    head = _header(b"x", b"", packed=0, size=0, check=0, flags=8, method=8)
    return (
        head
        + packed
        + struct.pack("<4s3I", b"PK\7\x08", zlib.crc32(EICAR), len(packed), len(EICAR))
        + zipped({"a": b"b"})
    )


@pytest.mark.parametrize("kind", READ)
def test_what_some_reader_unpacks_is_found(kind):
    assert EICAR_SHA256 in _found(READ[kind]())


TOLD = {
    "a size that is too small": lambda: _lying(size=10),
    "a size that is too large": lambda: _lying(size=1000),
    "another method before it": lambda: _lying(local_method=8),
    "a link with content": lambda: _typed(b"1"),
    "an image of a disk": lambda: zipped({"a.iso": ISO}),
    "a rar inside": lambda: zipped({"a.rar": SAMPLES["rar"]() + bytes(100)}),
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
    "data", [zipped({"zeros": bytes(100_000)}), tarred({"zeros": bytes(100_000)}), zipped(FILES)]
)
def test_honest_archives_are_not_told(data):
    assert _look(data).problem is None


def test_members_stored_in_a_stored_zip_are_looked_at_once():
    inner = zipped({str(number): b"x%d" % number for number in range(40)}, zipfile.ZIP_STORED)
    report = _look(zipped({"inner.zip": inner, "b": b"y"}, zipfile.ZIP_STORED))
    assert report.problem is None
    assert len(report.members) == 42


@pytest.mark.parametrize("command", [["tar", "-xf"], ["bsdtar", "-xf"]])
@settings(max_examples=25, deadline=None)
@given(
    edits=st.lists(st.tuples(st.integers(0, 4095), st.binary(min_size=1, max_size=8)), max_size=3),
    kind=st.booleans(),
)
def test_what_other_programs_unpack_is_among_the_members(tmp_path_factory, command, edits, kind):
    folder = tmp_path_factory.mktemp("unpacked")
    data = bytearray(tarred(FILES) if kind or command[0] == "tar" else zipped(FILES))
    for where, what in edits:
        at = where % (len(data) - 8)
        data[at : at + len(what)] = what
    packed = folder / "packed"
    packed.write_bytes(data)
    out = folder / "out"
    out.mkdir()
    subprocess.run([*command, str(packed), "-C", str(out)], capture_output=True, check=False, timeout=30)
    report = _look(bytes(data))
    found = {digest for _, digest in report.members}
    for base, _, names in os.walk(out):
        for name in names:
            path = os.path.join(base, name)  # noqa: PTH118 - names may be anything
            if os.path.islink(path):  # noqa: PTH114
                continue
            with open(path, "rb") as file:  # noqa: PTH123
                digest = hashlib.sha256(file.read()).hexdigest()
            assert digest in found or report.problem is not None, (name, bytes(data))


def test_a_gzip_of_several_members_is_one_file():
    assert EICAR_SHA256 in _found(gzip.compress(EICAR[:20]) + gzip.compress(EICAR[20:]))
