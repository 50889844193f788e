"""Archives: what any reader takes out of one is among the digests of its members, or the look says why not."""

import bz2
import gzip
import io
import lzma
import shutil
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256

import py7zr
import py7zr.io
import zstandard
from hypothesis import strategies as st

from fuzzkit import fuzz, mutated
from proxykit.archives import FILES, READ, unpacked_by, v7
from proxykit.samples import EICAR, gzipped, locked, seven, tarred, zipped
from secondlook.download.archives.archive import ArchiveLimits, Report, look_inside

LIMITS = ArchiveLimits(depth=3, members=60, max_bytes=1 << 20, time_s=10.0)
MOST_BYTES = 1 << 20
TOOLS_EVERY_S = 0.1
BLOCK = 512


def summed(data: bytes) -> bytes:
    """A tar whose headers have the sums that they should have."""
    out = bytearray(data)
    for at in range(0, len(out) - BLOCK + 1, BLOCK):
        if out[at + 257 : at + 262] == b"ustar":
            out[at + 148 : at + 156] = b" " * 8
            out[at + 148 : at + 156] = b"%06o\0 " % sum(out[at : at + BLOCK])
    return bytes(out)


def paxed() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("ä" * 120)
        info.size, info.pax_headers = len(EICAR), {"comment": "x"}
        archive.addfile(info, io.BytesIO(EICAR))
    return buffer.getvalue()


def gnu() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, kind in (("a" * 150, tarfile.REGTYPE), ("b", tarfile.LNKTYPE), ("c", tarfile.CONTTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "a"
            info.size = 0 if kind == tarfile.LNKTYPE else len(EICAR)
            archive.addfile(info, io.BytesIO(EICAR))
    return buffer.getvalue()


ZIPS = [
    zipped(FILES),
    *(zipped(FILES, method) for method in (zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)),
    zipped({"in.zip": zipped(FILES)}, zipfile.ZIP_STORED),
    locked(FILES, "x"),
    b"MZ" + bytes(100) + zipped(FILES),
    *(make() for kind, make in READ.items() if "header" in kind or "deflated" in kind),
]
TARS = [
    tarred(FILES),
    paxed(),
    gnu(),
    v7(b"eicar.com", EICAR),
    *(make() for kind, make in READ.items() if "tar" in kind),
]
PACKED = [gzipped(EICAR), bz2.compress(EICAR), lzma.compress(EICAR), lzma.compress(EICAR, lzma.FORMAT_ALONE)]
PACKED += [zstandard.compress(EICAR), gzipped(b"a") + gzipped(EICAR), gzipped(tarred(FILES))]
PACKED += [READ["a package of Debian"](), READ["a library with a long name that ends in a letter"]()]


def look(data: bytes) -> tuple[Report, set[str]]:
    report = look_inside(io.BytesIO(data), LIMITS)
    return report, {digest for _, digest in report.members}


def by_zipfile(data: bytes) -> Iterator[bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            with suppress(Exception), archive.open(info) as member:
                yield member.read(MOST_BYTES)


def by_tarfile(data: bytes) -> Iterator[bytes]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        for info in archive:
            member = archive.extractfile(info) if info.isreg() else None
            if member is not None:
                yield member.read(MOST_BYTES)


def zstd_frames(data: bytes) -> bytes:
    """All frames, as the format wants; the short way of the library stops behind the first."""
    reader = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)
    return reader.read(MOST_BYTES)


def by_streams(data: bytes) -> Iterator[bytes]:
    """Whole files of gzip, bzip2, xz, lzma and zstd."""
    for unpack in (gzip.decompress, bz2.decompress, lzma.decompress, zstd_frames):
        with suppress(Exception):
            yield unpack(data)


def by_7z(data: bytes) -> Iterator[bytes]:
    factory = py7zr.io.BytesIOFactory(MOST_BYTES)
    with py7zr.SevenZipFile(io.BytesIO(data)) as archive:
        archive.extractall(factory=factory)
        for product in factory.products.values():
            product.seek(0)
            yield product.read()


def taken(reader: Callable[[bytes], Iterator[bytes]], data: bytes) -> list[bytes]:
    """What a reader takes out of an archive before it raises something."""
    found: list[bytes] = []
    with suppress(Exception):
        found.extend(reader(data))
    return found


def hold(data: bytes, *readers: Callable[[bytes], Iterator[bytes]]) -> None:
    report, found = look(data)
    if report.problem is not None:
        assert report.problem.startswith("archive")
        return
    for reader in readers:
        for content in taken(reader, data):
            assert not content or sha256(content).hexdigest() in found, (reader.__name__, content[:99])


@fuzz(data=mutated(ZIPS))
def test_zips(data):
    """What zipfile reads of a zip is among the digests, or the look says why not."""
    hold(data, by_zipfile)


@fuzz(data=mutated(TARS, summed))
def test_tars(data):
    """What tarfile reads of a tar is among the digests, or the look says why not."""
    hold(data, by_tarfile)


@fuzz(data=mutated(PACKED))
def test_packed_files(data):
    """What one file of gzip, bzip2, xz, lzma or zstd holds is among the digests, or the look says why not."""
    hold(data, by_streams)


@fuzz(data=mutated([seven(FILES), seven(FILES, plain=True), seven({"a": zipped(FILES)}, plain=True)]))
def test_sevens(data):
    """What py7zr reads of a 7z is among the digests, or the look says why not."""
    hold(data, by_7z)


@fuzz(data=mutated([*TARS, *ZIPS, *PACKED], summed), program=st.sampled_from(["tar", "bsdtar"]))
def test_other_programs(data, program, tmp_path_factory):
    """What GNU tar and bsdtar unpack is among the digests, or the look says why not."""
    report, found = look(data)
    if report.problem is not None:
        return
    folder = tmp_path_factory.mktemp("unpacked")
    for content in unpacked_by(program, data, folder):
        if content.strip(b"\0"):  # bsdtar makes so many zeros of what is neither file nor folder
            assert sha256(content).hexdigest() in found, (program, content[:99])
    shutil.rmtree(folder, ignore_errors=True)
    time.sleep(TOOLS_EVERY_S)
