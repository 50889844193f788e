"""The process that looks into archives: hostile ones cost bounded memory and time, and the next is looked into (15 s)."""

import asyncio
import contextlib
import hashlib
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from proxykit.bombs import bombs
from proxykit.samples import EICAR, EICAR_SHA256, zipped
from secondlook.config.traffic import ArchiveSettings
from secondlook.download.archives.archive import ArchiveLimits, look_inside
from secondlook.download.archives.archive_child import MEMORY_BYTES, SPENT_BYTES
from secondlook.download.examination.inspector import ArchiveInspector, Inside
from secondlook.download.gate.spool import Spool, SpoolRoom

MIB = 1 << 20
TIME_S = 2.0
MEMORY = 150 * MIB  # the interpreter with every reader loaded takes about 60
GREEDY = {"7z"}  # its library keeps it all in memory


BOMBS = (
    *("zip", "zip with bzip2", "zip with lzma", "gzip", "bzip2", "xz", "xz that wants memory", "7z"),
    *("nested zips", "nested tars", "overlapping", "names without end"),
)


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
        self.is_spent = False

    def ask(self, data: bytes, time_s: float = TIME_S) -> dict[str, Any]:
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.flush()
            self.send(file.fileno(), time_s)
            answer: dict[str, Any] = json.loads(self.answers.readline())
        self.is_spent |= answer["spent"]
        return answer

    def send(self, descriptor: int, time_s: float = TIME_S) -> None:
        limits = {"depth": 3, "members": 10_000, "max_bytes": 64 * MIB, "time_s": time_s}
        asked = {"limits": limits, "encodings": []}
        socket.send_fds(self.channel, [json.dumps(asked).encode() + b"\n"], [descriptor])

    def forget_peak(self) -> None:
        """Have its peak of memory counted from what it holds now."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def peak_bytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) << 10

    def close(self) -> None:
        self.answers.close()
        self.channel.close()
        self.process.wait(60)


@pytest.fixture(scope="module")
def readers() -> Iterator[list[Reader]]:
    made: list[Reader] = []
    yield made
    for reader in made:
        reader.close()


@pytest.fixture
def reader(readers: list[Reader]) -> Reader:
    """The one of the test before, unless that one is spent: as the inspector does."""
    if not readers or readers[-1].is_spent:
        readers.append(Reader())
    readers[-1].forget_peak()
    return readers[-1]


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_costs_bounded_memory_and_ends(reader, kind):
    answer = reader.ask(bombs()[kind])
    assert answer["problem"].startswith("archive")
    peak = reader.peak_bytes()
    assert peak < (MEMORY if kind not in GREEDY else MEMORY_BYTES), peak // MIB
    assert answer["spent"] is (peak > SPENT_BYTES)
    assert EICAR_SHA256 in dict(reader.ask(zipped({"eicar.com": EICAR}))["members"]).values()


@pytest.mark.parametrize("kind", ["7z", "zip", "xz", "nested tars"])
def test_one_that_takes_too_long_is_reported(reader, kind):
    # the sizes in a 7z are told, and within the limit
    data = bombs()[kind if kind != "7z" else "7z of 50 MiB"]
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


@pytest.mark.parametrize("answered", [True, False], ids=["answered", "asked"])
def test_a_reader_whose_answer_nobody_takes_ends_without_a_word(answered):
    """A worker that has waited too long closes, with an answer unread or on its way."""
    reader = Reader()
    with tempfile.TemporaryFile() as file:
        file.write(zipped({"eicar.com": EICAR}))
        file.flush()
        reader.send(file.fileno())
        if answered:
            select.select([reader.channel], [], [], 60)
        reader.close()
    assert reader.process.wait(60) == 0


def test_a_reader_that_stalls_dies_or_is_spent_is_replaced(tmp_path):
    async def look(inspector: ArchiveInspector, room: SpoolRoom, data: bytes) -> Inside:
        spool = Spool(room)
        spool.put(data)
        found = await inspector.inspect(spool)
        spool.close()
        return found

    others = set(psutil.Process().children())  # of other tests

    def children() -> list[psutil.Process]:
        found = []
        for one in set(psutil.Process().children()) - others:
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
        await look(inspector, room, bombs()["7z"])  # to its end or not: the child has grown
        assert not children()
        assert (await look(inspector, room, good)).problem is None
        await inspector.aclose()
        hurried = ArchiveInspector(ArchiveSettings(time=0.001))
        assert (await look(hurried, room, bombs()["7z"])).problem == "archive: longer than 0.001 s"
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
