"""Other rules come into force while files are looked into: none of them waits for a child to load them."""

import asyncio
import contextlib
import json
import os

import psutil
import pytest

from proxykit.samples import EICAR
from secondlook.config.scan import ScanSettings
from secondlook.config.traffic import ArchiveSettings
from secondlook.download.examination import ready_rules
from secondlook.download.examination.inspector import ArchiveInspector
from secondlook.download.examination.ready_rules import ReadyRules
from secondlook.download.gate.spool import Spool, SpoolRoom
from secondlook.scan.compiling import RuleSource, compile_rules
from secondlook.scan.rule_set import FOLDER, NAME, engine_version

BODY = EICAR + b" planted"  # our own rule finds the first, that of the new rules the second too


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(ready_rules, "LOOK_EVERY_S", 0.02)


class Place:
    """A state folder with compiled rules, and what looks into files with them."""

    def __init__(self, folder):
        self.folder = folder / FOLDER
        self.folder.mkdir()
        self.inspector = ArchiveInspector(ArchiveSettings(time=60.0))
        self.rules = ReadyRules(ScanSettings(), folder, self.inspector)
        self.room = SpoolRoom(folder / "spool", 1 << 30, 1000)
        self.spool = Spool(self.room)
        self.spool.put(BODY)
        source = folder / "new.yar"
        source.write_text('rule planted { strings: $a = "planted" condition: $a }')
        self.old, self.new = (self.folder / f"rules-{each}.yarc" for each in ("old", "new"))
        compile_rules([], self.old)
        compile_rules([RuleSource("new", source)], self.new)

    def put_in_force(self, path):
        told = {
            "file": path.name,
            "version": path.stem,
            "engine": engine_version(),
            "count": 1,
            "compiled_at": 0,
        }
        (self.folder / "beside").write_text(json.dumps(told))
        (self.folder / "beside").rename(self.folder / NAME)

    async def look(self, look=None, client=None):
        """Have the file looked into; return by which rules, and how many fit (None: none of them could look)."""
        found = await self.inspector.inspect(
            self.spool, archive=False, client=client, look=look or self.rules.look()
        )
        return found.yara.version, None if found.yara.fault else len(found.yara.detections)

    async def until(self, wanted):
        async with asyncio.timeout(60):
            while await self.look() != wanted:
                await asyncio.sleep(0.01)

    def children(self):
        found = 0
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.NoSuchProcess):
                found += "archive_child" in " ".join(child.cmdline())
        return found

    async def settled(self):
        """Wait until no child loads anything."""
        async with asyncio.timeout(60):
            while self.inspector._turns._held:
                await asyncio.sleep(0.01)

    async def aclose(self):
        await self.rules.aclose()
        await self.inspector.aclose()
        self.spool.close()
        self.room.close()


def run(folder, story):
    async def told():
        place = Place(folder)
        place.put_in_force(place.old)
        try:
            async with asyncio.timeout(120):
                await story(place)
        finally:
            await place.aclose()

    asyncio.run(told())


OLD, NEW = ("rules-old", 1), ("rules-new", 2)


@pytest.mark.parametrize("children", [1, 2])
def test_files_are_looked_into_with_the_rules_before_until_a_child_has_the_others(tmp_path, children):
    async def story(place):
        looks = [place.look(client=str(each)) for each in range(children)]
        assert await asyncio.gather(*looks) == [OLD] * children
        assert place.children() == children
        good = place.new.read_bytes()
        place.new.unlink()
        os.mkfifo(place.new)  # the child waits here until somebody writes them
        place.put_in_force(place.new)
        while not place.inspector._turns._held:
            await asyncio.sleep(0.01)
        for _ in range(5):
            assert await place.look() == OLD
        waited_with = place.rules.look()
        await asyncio.to_thread(place.new.write_bytes, good)
        await place.until(NEW)
        assert await place.look(waited_with) == NEW  # nothing is loaded back
        if children == 2:
            assert await place.look() == NEW  # the other child waits now
            await asyncio.to_thread(place.new.write_bytes, good)
        await place.settled()
        assert await place.look() == NEW
        assert place.children() == children

    run(tmp_path, story)


def test_the_child_that_has_a_file_loads_them_after_it(tmp_path):
    async def story(place):
        await asyncio.gather(place.look(client="a"), place.look(client="b"))
        first, second = place.inspector._readers
        place.inspector._idle.remove(second)  # it has a file
        async with place.inspector._turns.turn("client", 1):
            place.put_in_force(place.new)
            while not first.has(str(place.new)):
                await asyncio.sleep(0.01)
            while place.rules.look().rules.version != "rules-new":
                await asyncio.sleep(0.01)
            assert second.has(str(place.old))
            place.inspector._give_back(second)
        await place.settled()
        assert second.has(str(place.new))

    run(tmp_path, story)


def test_rules_that_cannot_be_loaded_leave_files_open(tmp_path):
    async def story(place):
        assert await place.look() == OLD
        place.new.write_bytes(b"no rules")
        place.put_in_force(place.new)
        await place.until(("rules-new", None))
        place.put_in_force(place.old)
        await place.until(OLD)

    run(tmp_path, story)


def test_without_a_child_the_first_file_has_the_rules_in_force(tmp_path):
    async def story(place):
        place.put_in_force(place.new)
        assert await place.look() == NEW
        await place.inspector.aclose()
        place.put_in_force(place.old)
        assert await place.look() == OLD

    run(tmp_path, story)
