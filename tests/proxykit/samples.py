"""Bodies for tests: clean and listed files of any size, archives around them."""

import functools
import gzip
import hashlib
import io
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from typing import Literal

import brotli
import py7zr
import zstandard

# Of one password there is one key, of half a million rounds.
setattr(py7zr.compressor, "calculate_key", functools.cache(py7zr.helpers.calculate_key))  # noqa: B010 - for the types

KIB, MIB = 1 << 10, 1 << 20
# Downloads' limits at a sixteenth of what is usual: what matters is which side of a border a body is on.
SIXTEENTH = {"hold_up_to": 1 * MIB, "tail_min": 4 * KIB, "spool_memory": 64 * KIB}
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
EICAR_SHA256 = hashlib.sha256(EICAR).hexdigest()
ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": functools.partial(brotli.compress, quality=9),  # with 11 a large body takes 15 times as long
    "zstd": zstandard.ZstdCompressor().compress,
}


@functools.lru_cache
def _noise(seed: int) -> bytes:
    return b"".join(hashlib.sha256(f"{seed}.{n}".encode()).digest() for n in range(2048))


def program(size: int, seed: int = 0) -> bytes:
    """A body that begins like a Windows program and does not compress."""
    block = _noise(seed)
    return (b"MZ" + block * (size // len(block) + 1))[:size]


def prose(size: int) -> bytes:
    """A body that nobody minds."""
    return (b"The quick brown fox jumps over the lazy dog.\n" * (size // 45 + 1))[:size]


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files: dict[str, bytes], mode: Literal["w", "w:gz", "w:bz2", "w:xz"] = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def seven(
    files: dict[str, bytes], *, plain: bool = False, password: str | None = None, names_too: bool = True
) -> bytes:
    """Make a 7z archive; `plain` does not compress, `password` encrypts contents and (`names_too`) names."""
    buffer = io.BytesIO()
    # as py7zr makes archives of itself, in a quarter of the time
    lzma2 = {"id": py7zr.FILTER_LZMA2, "preset": 0, "dict_size": MIB}
    filters = [{"id": py7zr.FILTER_COPY}] if plain else [{"id": py7zr.FILTER_X86}, lzma2]
    if password is not None and not plain:
        filters = [lzma2, {"id": py7zr.FILTER_CRYPTO_AES256_SHA256}]
    hide = password is not None and names_too
    with py7zr.SevenZipFile(
        buffer, "w", filters=filters, password=password, header_encryption=hide
    ) as archive:
        for name, content in files.items():
            archive.writestr(content, name)
    return buffer.getvalue()


def locked(files: dict[str, bytes], password: str) -> bytes:
    """Make a zip archive encrypted as PKWARE's APPNOTE 6.1 tells (zipfile reads such archives, and writes none)."""
    buffer = io.BytesIO()
    with _LockedZip(buffer, "w") as archive:
        for name, content in files.items():
            archive.lock(name, content, password.encode())
    return buffer.getvalue()


class _LockedZip(zipfile.ZipFile):
    def lock(self, name: str, content: bytes, password: bytes) -> None:
        info = zipfile.ZipInfo(name)
        checksum = zlib.crc32(content)
        secret = _encrypt(bytes(11) + bytes([checksum >> 24]) + content, password)
        with self.open(info, "w") as member:
            member.write(secret)
        info.CRC, info.file_size, info.flag_bits = checksum, len(content), info.flag_bits | 1
        at = self.fp.tell()
        self.fp.seek(info.header_offset)
        self.fp.write(info.FileHeader(False))
        self.fp.seek(at)


def _encrypt(data: bytes, password: bytes) -> bytes:
    keys = [0x12345678, 0x23456789, 0x34567890]

    def update(byte: int) -> None:
        keys[0] = _crc_step(keys[0], byte)
        keys[1] = ((keys[1] + (keys[0] & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
        keys[2] = _crc_step(keys[2], keys[1] >> 24)

    for byte in password:
        update(byte)
    out = bytearray()
    for byte in data:
        mix = (keys[2] | 2) & 0xFFFF
        out.append(byte ^ ((mix * (mix ^ 1)) >> 8 & 0xFF))
        update(byte)
    return bytes(out)


def _crc_step(crc: int, byte: int) -> int:
    return ~zlib.crc32(bytes([byte]), ~crc & 0xFFFFFFFF) & 0xFFFFFFFF
