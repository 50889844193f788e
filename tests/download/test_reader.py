"""A child process that looks into files, and the rules that it loads."""

import asyncio
import os

from proxykit.samples import EICAR
from secondlook.config.traffic import ArchiveSettings
from secondlook.download.examination.inspector import ArchiveInspector, Inside, RuleLook
from secondlook.download.gate.spool import Spool, SpoolRoom
from secondlook.scan.compiling import compile_rules
from secondlook.scan.rule_set import RuleSet

MIB = 1 << 20


def test_loading_rules_is_no_time_of_the_file_that_waits_for_it(tmp_path, monkeypatch):
    """Thousands of rules take seconds to load: whoever gives up leaves them loading for the next."""
    ready, held = tmp_path / "ready.yarc", tmp_path / "held.yarc"
    compile_rules([], ready)
    os.mkfifo(held)  # the child waits here until somebody writes them
    look = RuleLook(RuleSet(held, "1", 1), time_s=60.0, max_bytes=MIB)

    async def story() -> None:
        inspector, room = ArchiveInspector(ArchiveSettings(time=60.0)), SpoolRoom(tmp_path, 1 << 30, 1000)
        spool = Spool(room)
        spool.put(b"before" + EICAR)

        async def ask() -> Inside:
            return await inspector.inspect(spool, archive=False, look=look)

        with monkeypatch.context() as patched:
            patched.setattr("secondlook.download.examination.reader.LOAD_S", 0.05)
            late = (await ask()).yara
        assert late is not None
        assert late.fault == "loading the rules takes longer than 0.05 s"
        gone = asyncio.create_task(ask())
        reader = inspector._idle[-1]
        while reader._child is None:
            await asyncio.sleep(0.01)
        pid = reader._child.pid
        gone.cancel()
        await asyncio.wait((gone,))
        waiting = asyncio.create_task(ask())
        await asyncio.to_thread(held.write_bytes, ready.read_bytes())
        found = (await waiting).yara
        assert found is not None
        assert (found.fault, len(found.detections)) == (None, 1)
        assert reader._child is not None
        assert reader._child.pid == pid
        spool.close()
        await inspector.aclose()
        room.close()

    asyncio.run(story())
