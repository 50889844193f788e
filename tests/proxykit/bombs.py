"""Archives and bodies that stand for much more than they are: kept, as making them costs more than unpacking them.

`tests/data/bombs.tar.xz` holds what the recipes make; a change of one is followed by `PYTHONPATH=tests python -m proxykit.bombs`.
"""

import bz2
import functools
import io
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import brotli
import zstandard

from proxykit.samples import MIB, gzipped, seven, tarred, zipped

KEPT = Path(__file__).resolve().parents[1] / "data" / "bombs.tar.xz"


def _nested(make: Callable[[dict[str, bytes]], bytes], levels: int, width: int) -> bytes:
    inner = make({"zeros": bytes(20 * MIB)})
    for _ in range(levels):
        inner = make({str(number): inner for number in range(width)})
    return inner


def _overlapping(count: int) -> bytes:
    """Make a zip whose directory names one large member again and again."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", bytes(40 * MIB))
        archive.filelist.extend(archive.filelist * (count - 1))
        archive._didModify = True  # type: ignore[attr-defined] # zipfile's own
    return buffer.getvalue()


def _many_names(count: int) -> bytes:
    """Make a zip of nothing but a directory of names."""
    entry = (
        struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"n"
    )
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, count * len(entry), 4, 0)
    return b"PK\x03\x04" + entry * count + end


def _zeros(count: int) -> bytes:
    machine = zlib.compressobj(wbits=31)
    return b"".join([*(machine.compress(bytes(MIB)) for _ in range(count)), machine.flush()])


RECIPES: dict[str, Callable[[], bytes]] = {
    "zip": lambda: zipped({"x": bytes(100 * MIB)}),
    "zip with bzip2": lambda: zipped({"x": bytes(100 * MIB)}, zipfile.ZIP_BZIP2),
    "zip with lzma": lambda: zipped({"x": bytes(100 * MIB)}, zipfile.ZIP_LZMA),
    "gzip": lambda: gzipped(bytes(100 * MIB)),
    "bzip2": lambda: bz2.compress(bytes(100 * MIB)),
    "bzip2 of 300 MiB": lambda: bz2.compress(bytes(300 * MIB)),
    "xz": lambda: lzma.compress(bytes(100 * MIB), preset=0),
    "xz that wants memory": lambda: (
        lzma.compress(b"x" * 1000, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1536 * MIB}])[:40]
        + os.urandom(5000)
    ),
    "7z": lambda: seven({"x": bytes(100 * MIB)}),
    "7z of 50 MiB": lambda: seven({"x": bytes(50 * MIB)}),
    "nested zips": lambda: _nested(zipped, 2, 8),
    "nested tars": lambda: _nested(lambda files: tarred(files, "w:xz"), 1, 8),
    "overlapping": lambda: _overlapping(20),
    "names without end": lambda: _many_names(400_000),
    # bodies that are encoded
    "zeros in gzip": lambda: _zeros(80),
    "members without number": lambda: gzipped(b"") * 20_000,
    "blocks without content": lambda: b"\0\0\0\xff\xff" * 100_000,
    # the library keeps back the end of what stands for a lot, and with bytes behind it, it is decoded again
    "brotli with more behind it": lambda: brotli.compress(bytes(80 * MIB) + b"x", quality=2) + b"zz",
    "a program in brotli": lambda: brotli.compress(b"MZ" + bytes(300 * MIB), quality=3),
    "frames without number": lambda: (b"\x50\x2a\x4d\x18" + bytes(4)) * 40_000,
    "zeros in zstd": lambda: zstandard.ZstdCompressor().compress(bytes(80 * MIB)) * 2,
    "zeros in gzip in brotli": lambda: brotli.compress(_zeros(80), quality=2),
}


@functools.cache
def bombs() -> dict[str, bytes]:
    """Give all of them by name."""
    with tarfile.open(KEPT) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


def _write() -> None:
    kept = lzma.compress(tarred({name: make() for name, make in RECIPES.items()}), preset=9)
    KEPT.write_bytes(kept)


if __name__ == "__main__":
    _write()
