"""Files that are known to be good: rules that hit one of them are not put in force.

They are made here or lie on this machine anyway: a rule that fits every program, archive or text would block
everything from the minute it came.
"""

import gzip
import io
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

_MOST_BYTES = 64 << 20
_PROSE = b"The quick brown fox jumps over the lazy dog. Pack my box with five dozen liquor jugs.\n"
_PAGE = b"<!doctype html><html><head><title>Hello</title></head><body></body></html>"
_SCRIPT = b'#!/bin/sh\nset -e\ncurl -fsSL https://example.org/file -o "$1"\nchmod +x "$1"\necho done\n'
_PDF = b"%PDF-1.4\n1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\ntrailer\n<</Root 1 0 R>>\n%%EOF\n"


def known_good() -> Iterator[tuple[str, bytes]]:
    """Yield each sample with its name."""
    yield "an empty file", b""
    yield "a text", _PROSE * 100
    yield "a page", _PAGE
    yield "a shell script", _SCRIPT
    yield "a PDF", _PDF
    yield "a picture", _png()
    yield "a Windows program", _pe()
    yield "a zip archive", _zip()
    yield "a tar archive", _tar()
    yield "a gzip file", gzip.compress(_PROSE, mtime=0)
    for path in (Path(sys.executable), Path(__file__), Path(zipfile.__file__)):
        if path.is_file() and path.stat().st_size <= _MOST_BYTES:
            yield path.name, path.read_bytes()


def _png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">2I5B", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0\xff\xff\xff")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _pe() -> bytes:
    head = bytearray(b"MZ" + bytes(510))
    head[60:64] = struct.pack("<I", 128)
    head[64:117] = (
        b"\x0e\x1f\xba\x0e\x00\xb4\x09\xcd\x21\xb8\x01\x4c\xcd\x21This program cannot be run in DOS mode"
    )
    head[128:132] = b"PE\0\0"
    head[132:152] = struct.pack("<2H3I2H", 0x8664, 0, 0, 0, 0, 0xF0, 0x22)
    head[152:154] = struct.pack("<H", 0x20B)
    return bytes(head)


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("readme.txt", _PROSE)
        archive.writestr("page.html", _PAGE)
    return buffer.getvalue()


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("readme.txt")
        info.size = len(_PROSE)
        archive.addfile(info, io.BytesIO(_PROSE))
    return buffer.getvalue()
