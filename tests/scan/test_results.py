"""What engines said is known again: in this process, in the next one, and only for what would be said again."""

import asyncio
import sqlite3
from dataclasses import replace

import pytest

from secondlook.core.scan import Detection, EngineReport
from secondlook.core.verdict import Risk
from secondlook.scan.results import NAME, Results

FILE = b"f" * 32
FOUND = EngineReport(
    "clamd", "v1", (Detection("clamd", "Bad", Risk.DANGEROUS, family="X", member="a/b"),), elapsed_ms=3.0
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scan" / NAME


def with_results(path, work, most=100):
    async def run():
        results = Results(path, most)
        try:
            return await work(results)
        finally:
            await results.aclose()

    return asyncio.run(run())


async def keep(results):
    results.keep(FILE, "", FOUND)
    await results.settle()


def test_what_was_found_is_known_at_once_and_after_a_restart(path):
    async def first(results):
        await keep(results)
        return results.recall(FILE, "", "clamd", "v1")

    async def later(results):
        assert results.recall(FILE, "", "clamd", "v1") is None
        found = await results.find(FILE, "", "clamd", "v1")
        assert results.recall(FILE, "", "clamd", "v1") == found
        return found

    known = with_results(path, first)
    assert (known.detections, known.remembered, known.elapsed_ms) == (FOUND.detections, True, None)
    assert with_results(path, later) == known


@pytest.mark.parametrize("other", [(b"g" * 32, "", "v1"), (FILE, "gzip", "v1"), (FILE, "", "v2")])
def test_another_file_form_or_version_is_not_known(path, other):
    async def ask(results):
        await keep(results)
        digest, form, version = other
        assert results.recall(digest, form, "clamd", version) is None
        return await results.find(digest, form, "clamd", version)

    assert with_results(path, ask) is None


@pytest.mark.parametrize(
    "report",
    [
        EngineReport("clamd", "v1", fault="no connection"),
        EngineReport("clamd", "v1", skipped="too large"),
        EngineReport("clamd"),
    ],
)
def test_what_was_not_looked_at_is_not_known(path, report):
    async def ask(results):
        results.keep(FILE, "", report)
        await results.settle()
        return await results.find(FILE, "", "clamd", "v1"), await results.last(FILE)

    assert with_results(path, ask) == (None, {})


def test_who_has_looked_at_a_file_in_any_form_and_version(path):
    other = EngineReport("yara", "y", fault=None)

    async def ask(results):
        await keep(results)
        results.keep(FILE, "gzip", other)
        await results.settle()
        return await results.last(FILE), await results.last(b"g" * 32)

    known, unknown = with_results(path, ask)
    assert (set(known), unknown) == ({"clamd", "yara"}, {})
    assert known["clamd"].detections == FOUND.detections

    async def later(results):
        return await results.last(FILE)

    assert with_results(path, later) == known
    in_memory, _ = with_results(None, ask)
    assert {name: replace(report, kept_at=None) for name, report in in_memory.items()} == {
        name: replace(report, kept_at=None) for name, report in known.items()
    }


def test_the_oldest_go_first(path, monkeypatch):
    monkeypatch.setattr("secondlook.scan.results._PRUNE_EVERY", 5)

    async def fill(results):
        for number in range(5):
            results.keep(bytes([number]) * 32, "", FOUND)
            await results.settle()

    with_results(path, fill, most=3)
    with sqlite3.connect(path) as database:
        rows = {row[0][0] for row in database.execute("SELECT digest FROM results")}
    database.close()
    assert rows == {2, 3, 4}


def test_a_damaged_database_is_begun_anew(path):
    path.parent.mkdir()
    path.write_bytes(b"no database" * 100)

    async def ask(results):
        assert await results.find(FILE, "", "clamd", "v1") is None
        await keep(results)

    async def later(results):
        return await results.find(FILE, "", "clamd", "v1")

    with_results(path, ask)
    assert with_results(path, later).detections == FOUND.detections


def test_a_folder_that_cannot_be_written_costs_nothing_but_memory(tmp_path):
    (tmp_path / "file").touch()

    async def ask(results):
        await keep(results)
        return results.recall(FILE, "", "clamd", "v1")

    assert with_results(tmp_path / "file" / NAME, ask).detections == FOUND.detections
