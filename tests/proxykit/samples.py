"""Bodies for tests: clean and listed files of any size, archives around them."""

import gzip
import hashlib
import io
import tarfile
import zipfile

import py7zr

EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
EICAR_SHA256 = hashlib.sha256(EICAR).hexdigest()


def program(size: int, seed: int = 0) -> bytes:
    """A body that begins like a Windows program and does not compress."""
    block = b"".join(hashlib.sha256(f"{seed}.{n}".encode()).digest() for n in range(2048))
    return (b"MZ" + block * (size // len(block) + 1))[:size]


def prose(size: int) -> bytes:
    """A body that nobody minds."""
    return (b"The quick brown fox jumps over the lazy dog.\n" * (size // 45 + 1))[:size]


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def seven(files: dict[str, bytes], *, plain: bool = False, password: str | None = None) -> bytes:
    """Make a 7z archive; `plain` does not compress, `password` encrypts contents and names."""
    buffer = io.BytesIO()
    filters = [{"id": py7zr.FILTER_COPY}] if plain else None
    with py7zr.SevenZipFile(
        buffer, "w", filters=filters, password=password, header_encryption=password is not None
    ) as archive:
        for name, content in files.items():
            archive.writestr(content, name)
    return buffer.getvalue()
