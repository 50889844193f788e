import bz2
import gzip
import hashlib
import io
import lzma
import tarfile
import tracemalloc
import zipfile

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from feedkit import read_all, texts
from secondlook.feeds.entries.entry import FeedRefused
from secondlook.feeds.unpacking.stream import unpacked

FEED = "".join(f"evil{number}.example\n" for number in range(5_000)).encode()
PACKERS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.compress,
    "br": brotli.compress,
}


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("size", [1_000, 65_536])
def test_every_compression(kind, size):
    packed = PACKERS[kind](FEED)
    assert b"".join(unpacked([packed], f"feed.txt.{kind}")) == FEED
    entries, _ = read_all(packed, f"feed.txt.{kind}", size=size)
    assert len(entries) == 5_000


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zst"])
def test_several_streams_one_after_another(kind):
    pack = PACKERS[kind]
    assert b"".join(unpacked([pack(b"a.example\n"), pack(b"b.example\n")])) == b"a.example\nb.example\n"


def test_layers():
    assert len(texts(gzip.compress(lzma.compress(FEED)))) == 5_000


@pytest.mark.parametrize("kind", PACKERS)
def test_cut_and_damaged_data_is_refused(kind):
    packed = PACKERS[kind](FEED)
    with pytest.raises(FeedRefused, match=r"truncated|damaged"):
        b"".join(unpacked([packed[: len(packed) // 2]], f"a.{kind}"))
    broken = bytearray(packed)
    for place in range(len(packed) // 2, len(packed) // 2 + 8):
        broken[place] ^= 0x55
    try:
        assert b"".join(unpacked([bytes(broken)], f"a.{kind}")) != FEED
    except FeedRefused as refusal:
        assert str(refusal).startswith(("damaged", "truncated"))  # noqa: PT017 - brotli and zstd carry no checksum


@pytest.mark.parametrize("kind", PACKERS)
def test_a_bomb_costs_time_but_no_memory(kind):
    packed = PACKERS[kind](bytes(48 * 1024**2))
    tracemalloc.start()
    total = sum(len(piece) for piece in unpacked([packed], f"a.{kind}"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 48 * 1024**2
    assert peak < 12 * 1024**2


@given(
    st.sampled_from(
        [b"\x1f\x8b", b"BZh9", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"ClamAV-VDB:"]
    ),
    st.binary(),
)
def test_random_bytes_behind_any_magic(magic, data):
    try:
        read_all(magic + data)
    except FeedRefused:
        return


def tar(files, form=tarfile.GNU_FORMAT):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        directory = tarfile.TarInfo("feed/")
        directory.type = tarfile.DIRTYPE
        archive.addfile(directory)
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


FILES = {
    "feed/a.txt": b"a.example\n",
    "feed/" + "long" * 60 + ".txt": b"0.0.0.0 b.example\n",
    "feed/c.html": b"<html>no</html>",
    "feed/empty.txt": b"",
    "feed/d.txt": FEED,
}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tar(form):
    files = {name: data for name, data in FILES.items() if form != tarfile.USTAR_FORMAT or len(name) < 100}
    entries, reading = read_all(gzip.compress(tar(files, form)), "feed.tar.gz")
    assert len(entries) == 5_000 + len(files) - 3
    assert [name for name, _ in reading.skipped] == ["feed/c.html", "feed/empty.txt"]
    with pytest.raises(FeedRefused, match="truncated"):
        read_all(tar(files, form)[:-70_000])


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("seekable", [True, False])
def test_zip(method, seekable):
    buffer = io.BytesIO()

    class Pipe(io.RawIOBase):
        def writable(self):
            return True

        def write(self, data):
            return buffer.write(data)

    if method == zipfile.ZIP_STORED and not seekable:
        return  # the size of a stored member is not known from a pipe
    with zipfile.ZipFile(buffer if seekable else Pipe(), "w", method) as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
    for size in (1_000, 65_536):
        entries, _ = read_all(buffer.getvalue(), "feed.zip", size=size)
        assert len(entries) == 5_002
    with pytest.raises(FeedRefused, match="truncated"):
        read_all(buffer.getvalue()[:-3_000])


def test_encrypted_zip_is_refused():
    header = (
        b"PK\x03\x04\x14\x00\x01\x00\x08\x00" + bytes(12) + b"\x05\x00\x00\x00" + b"\x01\x00\x00\x00" + b"a"
    )
    with pytest.raises(FeedRefused, match="password"):
        read_all(header + b"xxxxx")


def cvd(files, digest=None):
    body = gzip.compress(tar(files))
    md5 = digest or hashlib.md5(body).hexdigest()
    header = f"ClamAV-VDB:07 May 2024 09-30 -0400:1:2:90:{md5}:sig:builder:1715088600"
    return header.encode().ljust(512) + body


def test_clamav_databases():
    sha = "ab" * 32
    files = {
        "COPYING": b"GNU GENERAL PUBLIC LICENSE\n",
        "daily.hsb": f"{sha}:10:Win.Bad:73\n".encode(),
        "daily.ndb": b"Win.Bad:0:*:6d616c\n",
        "daily.sfp": f"{'cd' * 32}:10:Good:73\n".encode(),
    }
    entries, reading = read_all(cvd(files), "daily.cvd")
    assert [(entry.text, entry.exception) for entry in entries] == [(sha, False), ("cd" * 32, True)]
    assert {name for name, _ in reading.skipped} == {"COPYING", "daily.ndb"}
    with pytest.raises(FeedRefused, match="MD5"):
        read_all(cvd(files, "0" * 32), "daily.cvd")


def test_gzip_padding_is_no_second_stream():
    assert b"".join(unpacked([gzip.compress(b"a"), bytes(512)])) == b"a"


def test_a_tar_cut_between_two_members_is_truncated():
    archive = tar({"a.txt": b"a.example\n", "b.txt": b"b.example\n"})
    ends = [at for at in range(512, len(archive), 512) if b"b.txt" in archive[at : at + 100]]
    for end in (*ends, len(archive.rstrip(b"\0")) // 512 * 512 + 512):
        with pytest.raises(FeedRefused, match="truncated"):
            read_all(archive[:end])
    assert len(read_all(archive)[0]) == 2


@pytest.mark.parametrize("size", [b"-0000000017\0", b"+0000000012\0", b"00000000_12\0", b"00000000089\0"])
def test_a_size_in_a_tar_is_of_octal_digits(size):
    archive = bytearray(tar({"a.txt": b"a.example\n"}))
    archive[124:136] = size
    archive[148:156] = b"%06o\0 " % (sum(archive[:148]) + 8 * 0x20 + sum(archive[156:512]))
    with pytest.raises(FeedRefused, match="damaged"):
        read_all(bytes(archive))
