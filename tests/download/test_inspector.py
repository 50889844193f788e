"""Looking into files by real children: each file once, and never taken for looked at when it was not (5 s)."""

import asyncio
import contextlib
import hashlib
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from typing import IO

import pytest

from proxykit.samples import EICAR, EICAR_SHA256, locked, zipped
from secondlook.config.traffic import ArchiveSettings
from secondlook.download.examination import inspector as inspecting
from secondlook.download.examination.inspector import ArchiveInspector
from secondlook.download.gate.spool import SpoolFullError

ARCHIVE = zipped({"a/eicar.com": EICAR})
DIGEST = hashlib.sha256(ARCHIVE).digest()
FOUND = (("member:a/eicar.com", bytes.fromhex(EICAR_SHA256)),)


class File:
    """A file that counts how often it is looked into; `fault` is raised in place of it."""

    def __init__(self, opened: IO[bytes], content: bytes = ARCHIVE, fault: Exception | None = None) -> None:
        self.size = len(content)
        self.looks = 0
        self._opened = opened
        self._content, self._fault = content, fault

    async def file(self) -> IO[bytes]:
        self.looks += 1
        if self._fault is not None:
            raise self._fault
        self._opened.seek(0)
        self._opened.write(self._content)
        self._opened.flush()
        return self._opened


type MakeFile = Callable[..., File]


@pytest.fixture
def make_file() -> Iterator[MakeFile]:
    with contextlib.ExitStack() as stack:
        yield lambda *given, **more: File(stack.enter_context(tempfile.TemporaryFile()), *given, **more)


def _run(test: Callable[[ArchiveInspector], Awaitable[None]], **settings: float) -> None:
    async def begun() -> None:
        inspector = ArchiveInspector(ArchiveSettings(**{"time": 60, **settings}))
        try:
            await test(inspector)
        finally:
            await inspector.aclose()
        assert not inspector.started

    asyncio.run(begun())


def test_what_was_found_in_a_file_is_remembered_by_its_digest(make_file):
    async def test(inspector: ArchiveInspector) -> None:
        file = make_file()
        for _ in range(3):
            assert (await inspector.inspect(file, digest=DIGEST)).members == FOUND
        assert file.looks == 1
        await inspector.inspect(file, ("gzip",), digest=DIGEST)
        assert file.looks == 2, "in a coding it is another file"
        await inspector.inspect(file)
        assert file.looks == 3, "what nobody knows by its digest is looked into each time"

    _run(test)


def test_who_asks_for_a_file_that_is_looked_into_waits_for_that(make_file):
    async def test(inspector: ArchiveInspector) -> None:
        files = [make_file() for _ in range(5)]
        found = await asyncio.gather(*(inspector.inspect(each, digest=DIGEST) for each in files))
        assert {each.members for each in found} == {FOUND}
        assert sum(each.looks for each in files) == 1

    _run(test)


def test_who_leaves_meanwhile_takes_no_answer_from_the_others(make_file):
    """The child that had the file is replaced: it would answer the next with this one's members."""

    async def test(inspector: ArchiveInspector) -> None:
        first, second = make_file(), make_file()
        leaving = asyncio.ensure_future(inspector.inspect(first, digest=DIGEST))
        waiting = asyncio.ensure_future(inspector.inspect(second, digest=DIGEST))
        while not any(reader.busy for reader in inspector._readers):
            await asyncio.sleep(0)
        leaving.cancel()
        assert (await waiting).members == FOUND
        assert second.looks == 1
        assert (await inspector.inspect(make_file(zipped({"b": b"harmless"})))).members[0][0] == "member:b"

    _run(test)


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (SpoolFullError("no room"), "archive: no room"),
        (OSError("gone"), "archive cannot be read: OSError"),
    ],
)
def test_a_file_that_cannot_be_had_was_not_looked_into_and_is_tried_again(
    make_file, fault, problem, monkeypatch
):
    monkeypatch.setattr(inspecting, "_AGAIN_S", -1.0)

    async def test(inspector: ArchiveInspector) -> None:
        found = await inspector.inspect(make_file(fault=fault), digest=DIGEST)
        assert (found.members, found.problem) == ((), problem)
        assert (await inspector.inspect(make_file(), digest=DIGEST)).members == FOUND

    _run(test)


def test_what_failed_a_moment_ago_is_not_tried_at_once(make_file):
    async def test(inspector: ArchiveInspector) -> None:
        failed = await inspector.inspect(make_file(fault=OSError()), digest=DIGEST)
        file = make_file()
        assert await inspector.inspect(file, digest=DIGEST) == failed
        assert file.looks == 0

    _run(test)


def test_an_encrypted_file_stays_so(make_file):
    async def test(inspector: ArchiveInspector) -> None:
        file = make_file(locked({"x": EICAR}, "infected"))
        for _ in range(2):
            assert "encrypted" in (await inspector.inspect(file, digest=DIGEST)).problem
        assert file.looks == 1

    _run(test)


def test_an_archive_beyond_a_limit_is_not_taken_for_looked_through(make_file):
    async def test(inspector: ArchiveInspector) -> None:
        found = await inspector.inspect(make_file(zipped({"a": b"1", "b": b"2", "c": EICAR})), digest=DIGEST)
        assert "more than 2 members" in found.problem

    _run(test, members=2)


def test_what_is_no_archive_has_no_problem_of_one(make_file):
    async def test(inspector: ArchiveInspector) -> None:
        assert (await inspector.inspect(make_file(b"PK\x03\x04 broken"), archive=True)).problem is not None
        found = await inspector.inspect(make_file(fault=OSError()), archive=False)
        assert (found.members, found.problem) == ((), None)

    _run(test)
