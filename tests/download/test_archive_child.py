"""The process that looks into archives: hostile ones cost bounded memory and time, and the next is looked into (15 s)."""

import asyncio
import bz2
import contextlib
import functools
import hashlib
import io
import json
import lzma
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from proxykit.samples import EICAR, EICAR_SHA256, gzipped, seven, tarred, zipped
from secondlook.config import ArchiveSettings
from secondlook.download.archives.archive import ArchiveLimits, look_inside
from secondlook.download.archives.archive_child import MEMORY_BYTES, SPENT_BYTES
from secondlook.download.examination.inspector import ArchiveInspector, Inside
from secondlook.download.gate.spool import Spool, SpoolRoom

MIB = 1 << 20
TIME_S = 2.0
MEMORY = 150 * MIB  # the interpreter with every reader loaded takes about 60
GREEDY = {"7z"}  # its library keeps it all in memory


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
        archive._didModify = True
    return buffer.getvalue()


def _many_names(count: int) -> bytes:
    """Make a zip of nothing but a directory of names."""
    entry = (
        struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"n"
    )
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, count * len(entry), 4, 0)
    return b"PK\x03\x04" + entry * count + end


BOMBS: dict[str, Callable[[], bytes]] = {
    "zip": lambda: zipped({"x": bytes(100 * MIB)}),
    "zip with bzip2": lambda: zipped({"x": bytes(100 * MIB)}, zipfile.ZIP_BZIP2),
    "zip with lzma": lambda: zipped({"x": bytes(100 * MIB)}, zipfile.ZIP_LZMA),
    "gzip": lambda: gzipped(bytes(100 * MIB)),
    "bzip2": lambda: bz2.compress(bytes(100 * MIB)),
    "xz": lambda: lzma.compress(bytes(100 * MIB), preset=0),
    "xz that wants memory": lambda: (
        lzma.compress(b"x" * 1000, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1536 * MIB}])[:40]
        + os.urandom(5000)
    ),
    "7z": lambda: seven({"x": bytes(100 * MIB)}),
    "nested zips": lambda: _nested(zipped, 2, 8),
    "nested tars": lambda: _nested(lambda files: tarred(files, "w:xz"), 1, 8),
    "overlapping": lambda: _overlapping(20),
    "names without end": lambda: _many_names(400_000),
}


@functools.cache
def bomb(kind: str) -> bytes:
    """Make a bomb, once for all tests."""
    return BOMBS[kind]()


class Reader:
    """The child process, asked directly."""

    def __init__(self) -> None:
        self.channel, theirs = socket.socketpair()
        self.channel.settimeout(60)
        with theirs:
            command = [
                sys.executable,
                "-m",
                "secondlook.download.archives.archive_child",
                str(theirs.fileno()),
            ]
            self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        self.answers = self.channel.makefile("rb")

    def ask(self, data: bytes, time_s: float = TIME_S) -> dict[str, Any]:
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.flush()
            limits = {"depth": 3, "members": 10_000, "max_bytes": 64 * MIB, "time_s": time_s}
            asked = {"limits": limits, "encodings": []}
            socket.send_fds(self.channel, [json.dumps(asked).encode() + b"\n"], [file.fileno()])
            answer: dict[str, Any] = json.loads(self.answers.readline())
        return answer

    def close(self) -> None:
        self.answers.close()
        self.channel.close()
        self.process.wait(60)


@pytest.fixture
def reader() -> Iterator[Reader]:
    found = Reader()
    yield found
    found.close()


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_costs_bounded_memory_and_ends(reader, kind):
    answer = reader.ask(bomb(kind))
    assert answer["problem"].startswith("archive")
    status = Path(f"/proc/{reader.process.pid}/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) << 10
    assert peak < (MEMORY if kind not in GREEDY else MEMORY_BYTES), peak // MIB
    assert answer["spent"] is (peak > SPENT_BYTES)
    assert EICAR_SHA256 in dict(reader.ask(zipped({"eicar.com": EICAR}))["members"]).values()


@pytest.mark.parametrize("kind", ["7z", "zip", "xz", "nested tars"])
def test_one_that_takes_too_long_is_reported(reader, kind):
    # the sizes in a 7z are told, and within the limit
    data = bomb(kind) if kind != "7z" else seven({"x": bytes(50 * MIB)})
    assert reader.ask(data, time_s=0.001)["problem"] == "archive: longer than 0.001 s"
    assert reader.ask(zipped({"eicar.com": EICAR}))["problem"] is None


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_every_method_of_zip_is_unpacked(method):
    files = {"a": os.urandom(300_000), "b": bytes(3 * MIB), "c": b"", "eicar.com": EICAR}
    limits = ArchiveLimits(depth=3, members=100, max_bytes=5 * MIB, time_s=5.0)
    report = look_inside(io.BytesIO(zipped(files, method)), limits)
    assert report.problem is None
    assert dict(report.members) == {
        name: hashlib.sha256(content).hexdigest() for name, content in files.items()
    }
    cut = bytearray(zipped({"a": bytes(3 * MIB)}, method))
    cut[60:70] = b"0123456789"
    assert look_inside(io.BytesIO(bytes(cut)), limits).problem is not None


def test_a_reader_that_stalls_dies_or_is_spent_is_replaced(tmp_path):
    async def look(inspector: ArchiveInspector, room: SpoolRoom, data: bytes) -> Inside:
        spool = Spool(room)
        spool.put(data)
        found = await inspector.inspect(spool)
        spool.close()
        return found

    def children() -> list[psutil.Process]:
        found = []
        for one in psutil.Process().children():
            with contextlib.suppress(
                psutil.NoSuchProcess
            ):  # also one that has ended and was not waited for yet
                if "archive_child" in " ".join(one.cmdline()):
                    found.append(one)
        return found

    async def story() -> None:
        inspector, room = ArchiveInspector(ArchiveSettings(time=1.0)), SpoolRoom(tmp_path, 1 << 30, 1000)
        good = zipped({"eicar.com": EICAR})
        for how, why in (
            (signal.SIGCONT, None),
            (signal.SIGSTOP, "longer than 1 s"),
            (signal.SIGKILL, "cannot be read"),
        ):
            found = await look(inspector, room, good)
            assert dict(found.members)["member:eicar.com"].hex() == EICAR_SHA256
            (first,) = children()
            first.suspend()
            looking = asyncio.create_task(look(inspector, room, good))
            await asyncio.sleep(0)
            first.send_signal(how)
            found = await looking
            known = how is signal.SIGKILL and found.problem is None  # its end was noticed in time
            assert known or ((found.problem is None) if why is None else (why in (found.problem or "")))
        await look(inspector, room, bomb("7z"))  # to its end or not: the child has grown
        assert not children()
        assert (await look(inspector, room, good)).problem is None
        await inspector.aclose()
        hurried = ArchiveInspector(ArchiveSettings(time=0.001))
        assert (await look(hurried, room, bomb("7z"))).problem == "archive: longer than 0.001 s"
        await hurried.aclose()
        room.close()

    asyncio.run(story())


def test_an_archive_is_looked_into_once_for_all_who_have_it(tmp_path):
    class Counting(ArchiveInspector):
        looks = 0

        async def _look(self, *asked: Any) -> tuple[Inside, bool]:
            self.looks += 1
            return await super()._look(*asked)

    async def story() -> None:
        inspector, room = Counting(ArchiveSettings()), SpoolRoom(tmp_path, 1 << 30, 1000)
        good = zipped({"eicar.com": EICAR})
        spool = Spool(room)
        spool.put(good)
        digest = hashlib.sha256(good).digest()
        found = await asyncio.gather(*[inspector.inspect(spool, digest=digest) for _ in range(5)])
        found.append(await inspector.inspect(spool, digest=digest))
        assert {each.members for each in found} == {found[0].members}
        assert inspector.looks == 1
        await inspector.inspect(spool, ("gzip",), digest=digest)  # the same bytes read otherwise are others
        assert inspector.looks == 2
        spool.close()
        await inspector.aclose()
        room.close()

    asyncio.run(story())
