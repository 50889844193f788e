"""Archives that readers take differently, and what other programs unpack from one."""

import bz2
import gzip
import io
import lzma
import os
import struct
import subprocess
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import py7zr
import zstandard

from proxykit.samples import EICAR, seven, tarred, zipped

FILES = {"readme": b"hi", "folder/eicar.com": EICAR}
PROGRAMS = {"tar": ["tar", "-xf"], "bsdtar": ["bsdtar", "-xf"]}


def unpacked_by(program: str, data: bytes, folder: Path) -> Iterator[bytes]:
    """Have a program unpack something; gives the contents of all files that came of it."""
    packed, out = folder / "packed", folder / "out"
    packed.write_bytes(data)
    out.mkdir()
    command = [*PROGRAMS[program], str(packed), "-C", str(out)]
    subprocess.run(command, capture_output=True, check=False, timeout=60)
    for base, _, names in os.walk(out):
        for name in names:
            path = os.path.join(base, name)  # noqa: PTH118 - names may be anything
            if os.path.isfile(path) and not os.path.islink(path):  # noqa: PTH113, PTH114
                with open(path, "rb") as file:  # noqa: PTH123
                    yield file.read()


def v7(name: bytes, content: bytes, *, signed: bool = False) -> bytes:
    """A tar of the seventh edition: no mark, only a sum (of signed bytes on some machines)."""
    head = bytearray(512)
    head[: len(name)] = name
    head[100:108], head[108:116], head[116:124] = b"000644 \0", b"000000 \0", b"000000 \0"
    head[124:136], head[136:148] = b"%011o " % len(content), b"%011o " % 1_700_000_000
    head[148:156] = b" " * 8
    total = sum(head) - (256 * sum(byte > 127 for byte in head) if signed else 0)
    head[148:156] = b"%06o\0 " % total
    return bytes(head) + content.ljust(-(-len(content) // 512) * 512, b"\0") + bytes(1024)


def header(name: bytes, content: bytes, **changed: int) -> bytes:
    packed = changed.get("packed", len(content))
    size, flags = changed.get("size", len(content)), changed.get("flags", 0)
    method, check = changed.get("method", 0), changed.get("check", zlib.crc32(content))
    return (
        struct.pack("<4s5H3I2H", b"PK\3\4", 20, flags, method, 0, 0, check, packed, size, len(name), 0) + name
    )


def ar(files: dict[str, bytes]) -> bytes:
    """A library, of which packages of Debian are one."""
    out = b"!<arch>\n"
    for name, content in files.items():
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        out += content + b"\n" * (len(content) % 2)
    return out


def _sparse() -> bytes:
    """A file behind a hole, told in an extended header, which busybox does not read."""
    told = {"size": str(10_000 + len(EICAR)), "numblocks": "1", "map": f"10000,{len(EICAR)}"}
    return told_otherwise({f"GNU.sparse.{name}": value for name, value in told.items()}, EICAR)


def told_otherwise(told: dict[str, str], content: bytes = EICAR + b"more") -> bytes:
    """A tar with a file of which an extended header says more."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("eicar.com")
        info.size, info.pax_headers = len(content), told
        archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def typed(kind: bytes) -> bytes:
    data = bytearray(tarred({"eicar.com": EICAR}))
    data[156:157] = kind
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


def streamed() -> bytes:
    machine = zlib.compressobj(wbits=-15)
    packed = machine.compress(EICAR) + machine.flush()
    head = header(b"x", b"", packed=0, size=0, check=0, flags=8, method=8)
    return (
        head
        + packed
        + struct.pack("<4s3I", b"PK\7\x08", zlib.crc32(EICAR), len(packed), len(EICAR))
        + zipped({"a": b"b"})
    )


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
    "a package of Debian": lambda: ar(
        {"debian-binary": b"2.0\n", "data.tar.xz": lzma.compress(tarred(FILES))}
    ),
    "a library with a long name that ends in a letter": lambda: ar({"#1/4x": b"name" + EICAR}),
    "a library with a space in a long name's length": lambda: ar({"#1/ 4": b"name" + EICAR}),
    "a block of junk inside": lambda: tarred({"a": b"x"})[:1024] + b"junk" * 128 + tarred(FILES),
    "two tars one after the other": lambda: tarred({"a": b"x"}) + tarred(FILES),
    "a type of member nobody knows": lambda: typed(b"Z"),
    "a zip inside, behind a picture": lambda: zipped(
        {"a.png": b"\x89PNG\r\n\x1a\n" + bytes(99) + zipped(FILES)}
    ),
    "a zip in a 7z, behind a picture": lambda: seven({"a.png": b"GIF89a" + bytes(99) + zipped(FILES)}),
    "a header that the directory does not name": lambda: header(b"x", EICAR) + EICAR + zipped({"a": b"b"}),
    "headers without a directory": lambda: header(b"x", EICAR) + EICAR,
    "deflated, of unknown length": lambda: header(b"", b"") + streamed(),
    "a header behind the end of what is deflated": lambda: _longer(b"hello", _packed(b"hello"), 8, _member()),
    "a header behind what was stored, whose length stands there": lambda: _longer(b"hi", b"hi", 0, _member()),
    "stored, up to its length behind it": lambda: _longer(EICAR, EICAR, 0, b"more"),
    "a directory that ZIP64 does not lead to, as unzip reads it": lambda: _two_directories(long=True),
    "a directory whose comment holds the end of another": lambda: _two_directories(long=False),
    "a header of a later version": lambda: _member(b"\xff") + zipped({"a": b"b"}),
    "a header with a tab in its name": lambda: _member(name=b"a\tb") + zipped({"a": b"b"}),
    "a header with a name that is longer than a path": lambda: (
        _member(name=b"a" + b"/" * 5000 + b"b") + zipped({"a": b"b"})
    ),
    "a 7z of a folder with content": lambda: _typed_7z(0x10),
    "a 7z of a socket with content": lambda: _typed_7z(0xC1FF8000),
    "a 7z with a sum that is wrong": lambda: seven({"eicar.com": EICAR.lower()}, plain=True).replace(
        EICAR.lower(), EICAR
    ),
    "a 7z behind another archive": lambda: gzip.compress(b"a") + seven(FILES),
    "a file of which some leave out the holes": _sparse,
    "the first of two gzips": lambda: gzip.compress(EICAR) + gzip.compress(b"more"),
    "a gzip with a sum that is wrong": lambda: gzip.compress(EICAR)[:-8] + bytes(8),
    "a deflated member that breaks behind a whole program": lambda: _longer(
        EICAR, _packed(EICAR, whole=False), 8, b""
    ),
    "the first of two streams of xz": lambda: lzma.compress(EICAR) + lzma.compress(b"more"),
    "the first of two streams of bzip2": lambda: bz2.compress(EICAR) + bz2.compress(b"more"),
    "the first of two frames of zstd": lambda: (
        zstandard.ZstdCompressor().compress(EICAR) + zstandard.ZstdCompressor().compress(b"more")
    ),
}


def _packed(content: bytes, *, whole: bool = True) -> bytes:
    machine = zlib.compressobj(wbits=-15)
    packed = machine.compress(content)
    return packed + machine.flush() if whole else packed + machine.flush(zlib.Z_SYNC_FLUSH) + b"\xff" * 5


def _member(version: bytes = b"\x14", name: bytes = b"eicar.com") -> bytes:
    head = bytearray(header(name, EICAR))
    head[4:5] = version
    return bytes(head) + EICAR


def _longer(content: bytes, packed: bytes, method: int, behind: bytes) -> bytes:
    """A zip whose directory counts to a member what stands behind it, where `jar x` and a pipe into bsdtar go on."""
    data = header(b"a", b"", packed=0, size=0, check=0, flags=8, method=method) + packed
    data += struct.pack("<4s3I", b"PK\7\x08", zlib.crc32(content), len(packed), len(content)) + behind
    whole = content if method else data[31:]
    told = struct.pack("<3I", zlib.crc32(whole), len(data) - 31, len(whole))
    listed = struct.pack("<4s6H", b"PK\1\2", 20, 20, 8, method, 0, 0) + told
    listed += struct.pack("<5H2I", 1, 0, 0, 0, 0, 0, 0) + b"a"
    return data + listed + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(listed), len(data), 0)


def _typed_7z(attributes: int) -> bytes:
    buffer = io.BytesIO()
    with py7zr.SevenZipFile(buffer, "w", filters=[{"id": py7zr.FILTER_COPY}]) as archive:
        archive.writestr(EICAR, "eicar.com")
        archive.header.files_info.files[0]["attributes"] = attributes
    return buffer.getvalue()


def _two_directories(*, long: bool) -> bytes:
    """A zip of one stored member, in which the one of another directory lies."""
    inner = b"something before\n" + _member()
    data = header(b"b", inner) + inner
    at = len(data) - len(_member())
    shown, hidden = _listed(b"b", inner, 0), _listed(b"eicar.com", EICAR, at)
    if long:
        size, start = len(shown), len(data) + len(hidden)
        record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, size, start)
        record += struct.pack("<4sIQI", b"PK\6\7", 0, start + size, 1)
        return data + hidden + shown + record + _end(len(hidden), len(data), 0)
    start = len(data) + len(hidden) + 22
    comment = shown + _end(len(shown), start, 0) + b"more"
    return data + hidden + _end(len(hidden), len(data), len(comment)) + comment


def _listed(name: bytes, content: bytes, at: int) -> bytes:
    told = struct.pack(
        "<4s6H3I", b"PK\1\2", 20, 20, 0, 0, 0, 0, zlib.crc32(content), len(content), len(content)
    )
    return told + struct.pack("<5H2I", len(name), 0, 0, 0, 0, 0, at) + name


def _end(size: int, at: int, comment: int) -> bytes:
    return struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, size, at, comment)
