"""What makes the second look of the service look (2 s)."""

import asyncio
import contextlib
import time

from ledgerkit.samples import make_event, make_flag
from secondlook.config import Settings
from secondlook.core.event import EventKind
from secondlook.run.assembly.background.second_look import hear_recoveries, make_quarantine, make_second_look
from secondlook.run.assembly.check.opening import open_ledger
from secondlook.run.assembly.check.parts import Parts
from secondlook.run.assembly.check.scanning import make_scanner

PATIENCE_S = 30


async def all_looked_at(ledger) -> None:
    """Wait until everything flagged was asked about at least once (there is no server to answer)."""
    async with asyncio.timeout(PATIENCE_S):
        while not all(entry.attempts for entry in await ledger.run(ledger.queue.page)):
            await asyncio.sleep(0.01)


def test_a_server_that_answers_the_traffic_again_brings_the_second_look_forward(tmp_path):
    """Nobody else noticed that it was away, and what it kept from being checked is due in an hour."""
    settings = Settings.model_validate(
        {
            "state": tmp_path,
            "servers": {"embedded": False},
            "recheck": {"first": "1h"},
            "log": {"privacy": 3},
        }
    )

    async def scene():
        with (
            contextlib.closing(open_ledger(settings, keeper=True)) as ledger,
            contextlib.closing(open_ledger(settings)) as worker,
        ):
            parts = Parts.build(settings, ledger)
            scanner = make_scanner(parts)
            look = make_second_look(parts, None, make_quarantine(settings, parts), scanner)
            follower = hear_recoveries(parts, look.rechecker)
            await follower.look()
            await worker.flags.flag(*make_flag("before", time.time()))
            rechecker = asyncio.create_task(look.rechecker.run())
            await all_looked_at(ledger)  # at the start all is looked at
            await worker.flags.flag(*make_flag("while-away", time.time()))
            follower.start()
            now = time.time()
            for detail in ("opened: refused", "closed: answers again"):
                worker.recorder.record(
                    make_event(EventKind.SERVER, now, server="sps", detail=detail, decision=None)
                )
            await all_looked_at(ledger)
            rechecker.cancel()
            await asyncio.gather(rechecker, return_exceptions=True)
            await follower.aclose()
            await scanner.aclose()
            await parts.gatekeeper.aclose()

    asyncio.run(scene())
