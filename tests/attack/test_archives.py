"""Archives. How a listed file is packed so that it is not found, or so that looking for it takes for ever."""

import bz2
import gzip
import hashlib
import io
import lzma
import struct
import tarfile
import time
import zipfile
import zlib

import pytest
import zstandard

from attack.conftest import LISTED
from attackkit.stand import at_once, body_of
from proxykit.archives import ar, told_otherwise
from proxykit.samples import EICAR, seven, tarred, zipped

FILES = {"readme": b"hi", "eicar.com": EICAR}
MIB = 1 << 20


def _v7(name: bytes) -> bytes:
    """A tar of before POSIX: no mark."""
    head = bytearray(512)
    head[: len(name)] = name
    head[100:108], head[124:136], head[148:156] = b"0000644\0", b"%011o\0" % len(EICAR), b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + EICAR.ljust(512, b"\0") + bytes(1024)


def _local(name: bytes, content: bytes, method: int = 0, flags: int = 0, size: int | None = None) -> bytes:
    size = len(content) if size is None else size
    head = struct.pack(
        "<4s5H3I2H", b"PK\3\4", 20, flags, method, 0, 0, zlib.crc32(content), size, size, len(name), 0
    )
    return head + name + content


def _sparse() -> bytes:
    """A file with holes (GNU): its contents are not what stands behind its header."""
    data = bytearray(tarred({"eicar.com": EICAR}))
    data[156:157] = b"S"
    data[386:398], data[398:410] = b"%011o\0" % 0, b"%011o\0" % len(EICAR)
    data[483:495] = b"%011o\0" % len(EICAR)
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


def _pax(records: dict[str, str], stated: int) -> bytes:
    """A tar whose extended header gives the size."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("eicar.com")
        info.size, info.pax_headers = len(EICAR), records
        archive.addfile(info, io.BytesIO(EICAR))
    data = bytearray(buffer.getvalue())
    at = data.index(b"eicar.com\0")
    data[at + 124 : at + 136] = b"%011o\0" % stated
    data[at + 148 : at + 156] = b" " * 8
    data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
    return bytes(data)


def _in_gzip(times: int) -> bytes:
    body = tarred(FILES)
    for _ in range(times):
        body = gzip.compress(body, mtime=0)
    return body


HIDDEN = {
    "a tar that begins like a program": lambda: tarred({"MZ": b"x", **FILES}),
    "a tar without a mark": lambda: _v7(b"eicar.com"),
    "a tar that begins like a zip": lambda: _v7(b"PK\3\4"),
    "a tar with holes": _sparse,
    "a tar whose size is in its extended header": lambda: _pax({"size": str(len(EICAR))}, 0),
    "a tar of which star unpacks the beginning": lambda: told_otherwise(
        {"SCHILY.realsize": str(len(LISTED))}, LISTED + b"more"
    ),
    "a tar whose map only some follow": lambda: told_otherwise(
        {"GNU.sparse.map": f"5,{len(LISTED) - 5}", "GNU.sparse.size": str(len(LISTED))}, LISTED
    ),
    "a library with a long name that ends in a letter": lambda: ar({"#1/4x": b"name" + LISTED}),
    "a tar in zstd": lambda: zstandard.ZstdCompressor().compress(tarred(FILES)),
    "a tar in lzma": lambda: lzma.compress(tarred(FILES), lzma.FORMAT_ALONE),
    "a tar in gzip in gzip in gzip in gzip": lambda: _in_gzip(4),
    "a gzip with a comment of 60 kB": lambda: (
        b"\x1f\x8b\x08\x10" + bytes(6) + b"c" * 60_000 + b"\0" + gzip.compress(EICAR)[10:]
    ),
    "a zip behind 70 kB, before 70 kB": lambda: bytes(70_000) + zipped(FILES) + bytes(60_000),
    "a zip whose directory lacks it": lambda: _local(b"x", EICAR) + zipped({"a": b"b"}),
    "a zip without a directory": lambda: _local(b"x", EICAR),
    "a zip that says it is encrypted": lambda: _flagged(zipped(FILES, zipfile.ZIP_STORED), 1),
    "a zip with an unknown method": lambda: _method(zipped(FILES, zipfile.ZIP_STORED), 97),
    "a zip of bz2": lambda: zipped(FILES, zipfile.ZIP_BZIP2),
    "a zip of lzma": lambda: zipped(FILES, zipfile.ZIP_LZMA),
    "a zip with one name twice": lambda: _twice(),  # noqa: PLW0108 - it stands below
    "a zip in a zip in a zip in a zip in a zip": lambda: _nested(5),
    "a 7z": lambda: seven(FILES),
    "an xz of two streams": lambda: lzma.compress(b"") + lzma.compress(EICAR),
    "an xz with padding": lambda: lzma.compress(b"") + bytes(8) + lzma.compress(EICAR),
    "a bz2 behind a bz2": lambda: bz2.compress(b"") + bz2.compress(EICAR),
    "a frame of zstd that is skipped": lambda: b"\x50\x2a\x4d\x18\3\0\0\0abc" + zstandard.compress(EICAR),
}


def _flagged(data: bytes, bit: int) -> bytes:
    out = bytearray(data)
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = -1
        while (at := out.find(mark, at + 1)) >= 0:
            out[at + offset] |= bit
    return bytes(out)


def _method(data: bytes, method: int) -> bytes:
    out = bytearray(data)
    for mark, offset in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        at = -1
        while (at := out.find(mark, at + 1)) >= 0:
            out[at + offset] = method
    return bytes(out)


def _twice() -> bytes:
    return zipped({"a.com": EICAR, "b.com": b"harmless"}, zipfile.ZIP_STORED).replace(b"b.com", b"a.com")


def _nested(times: int) -> bytes:
    body = EICAR
    for _ in range(times):
        body = zipped({"a.zip": body})
    return body


def test_hidden(stand):
    """A listed file in archives of 26 odd kinds: each is refused, or told to be unverifiable."""
    begun = time.time()
    passed = []
    for number, (name, make) in enumerate(HIDDEN.items()):
        stand.site.put(f"/hidden{number}", make(), "Content-Type: application/octet-stream")
        if not stand.get(f"/hidden{number}").startswith(b"HTTP/1.1 403"):
            passed.append((number, name))
    told = {
        str(event["url"]).rpartition("/")[2] for event in stand.events(begun) if event["kind"] == "flagged"
    }
    assert not [name for number, name in passed if f"hidden{number}" not in told]


def _overlapping(count: int) -> bytes:
    """A zip whose members share one body of zeros (as Fifield's bomb does)."""
    machine = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = machine.compress(bytes(MIB)) + machine.flush()
    check = zlib.crc32(bytes(MIB))
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 0, check, len(body), MIB, 1, 0) + b"a" + body
    entry = struct.pack(
        "<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 8, 0, 0, check, len(body), MIB, 5, 0, 0, 0, 0, 0, 0
    )
    entries = b"".join(entry + b"%05d" % number for number in range(count))
    return (
        local + entries + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(entries), len(local), 0)
    )


def _dear_xz() -> bytes:
    """An xz that wants a dictionary of 1.5 GiB."""
    return lzma.compress(
        b"MZ" + bytes(100), lzma.FORMAT_ALONE, filters=[{"id": lzma.FILTER_LZMA1, "dict_size": 4096}]
    ).replace((4096).to_bytes(4, "little"), (3 << 29).to_bytes(4, "little"), 1)


def _many_tar(count: int) -> bytes:
    head = tarred({"a": b""})[:512]
    return gzip.compress(head * count, 1, mtime=0)


def _long_pax() -> bytes:
    """An extended header that says it has 200 MB."""
    head = bytearray(tarred({"a": b""})[:512])
    head[156:157], head[124:136], head[148:156] = b"x", b"%011o\0" % (200 * MIB), b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    machine = zlib.compressobj(1, zlib.DEFLATED, 31)
    parts = [machine.compress(bytes(head))] + [machine.compress(b"1" * MIB) for _ in range(200)]
    return b"".join(parts) + machine.flush()


DEAR = {
    "members that share a body": lambda: _overlapping(9_000),
    "65,000 members of one byte": lambda: zipped(
        {f"{n:05}": b"x" for n in range(65_000)}, zipfile.ZIP_STORED
    ),
    "a dictionary of 1.5 GiB": _dear_xz,
    "a tar of 300,000 empty members": lambda: _many_tar(300_000),
    "an extended header of 200 MB": _long_pax,
    "a gzip of 30 layers": lambda: _in_gzip(30),
    "100,000 headers of zip": lambda: _local(b"x", b"") * 100_000,
    "marks of zip without headers": lambda: b"MZ" + b"PK\3\4" * 500_000 + b"PK\5\6" * 20_000,
    "a gigabyte of zeros in a zip of a zip": lambda: zipped({"a.zip": zipped({"a": bytes(1024 * MIB)})}),
    "zip in zip, ten wide, four deep": lambda: _tree(4),
}


def _tree(depth: int) -> bytes:
    body = bytes(MIB)
    for level in range(depth):
        body = zipped({f"{n}.zip": body + bytes([n] if level == 0 else []) for n in range(10)})
    return body


@pytest.fixture(scope="module")
def dear(request: pytest.FixtureRequest) -> bytes:
    return DEAR[request.param]()


@pytest.mark.parametrize("dear", DEAR, indirect=True)
def test_dear(stand, dear):
    """An archive that is dear to look into, five times over, beside a good one: the good one arrives."""
    name = hashlib.sha256(dear).hexdigest()[:9]
    good = zipped({f"{name}.txt": name.encode()})
    stand.site.put(f"/{name}.bin", dear, "Content-Type: application/octet-stream")
    stand.site.put(f"/{name}.zip", good, "Content-Type: application/zip")
    came: list[bytes] = []
    at_once(
        *(lambda n=n: stand.get(f"/{name}.bin?{n}") for n in range(5)),
        lambda: (time.sleep(0.1), came.append(stand.get(f"/{name}.zip"))),
    )
    assert body_of(came[0]) == good


def test_listed_among_many(stand):
    """A listed program behind 9,000 others in a zip, and one in a stored zip of its own: each is refused."""
    crowd = zipped({**{f"{n:05}": b"x" for n in range(9_000)}, "last.exe": LISTED}, zipfile.ZIP_STORED)
    stand.site.put("/crowd.zip", crowd, "Content-Type: application/zip")
    stand.site.put("/one.zip", zipped({"a.exe": LISTED}, zipfile.ZIP_STORED), "Content-Type: application/zip")
    assert stand.get("/crowd.zip").startswith(b"HTTP/1.1 403")
    assert stand.get("/one.zip").startswith(b"HTTP/1.1 403")
