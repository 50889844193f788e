"""What makes the second look of the service look (2 s)."""

import asyncio
import contextlib
import time
from dataclasses import replace

import pytest

from ledgerkit.samples import make_event, make_flag
from secondlook.config.agent import Settings
from secondlook.core.event import EventKind
from secondlook.run.assembly.background.second_look import hear_recoveries, make_quarantine, make_second_look
from secondlook.run.assembly.check.ledger_opening import open_ledger
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


@pytest.mark.parametrize("wanted", [False, True])
def test_what_is_cleared_is_fetched_again_where_that_is_wanted(tmp_path, caplog, wanted):
    settings = Settings.model_validate(
        {"state": tmp_path, "servers": {"embedded": False}, "recheck": {"refetch": wanted}}
    )
    caplog.set_level("INFO")

    async def scene():
        with contextlib.closing(open_ledger(settings, keeper=True)) as ledger:
            parts = Parts.build(settings, ledger)
            scanner = make_scanner(parts)
            look = make_second_look(parts, None, make_quarantine(settings, parts), scanner)
            if look.content is not None:
                assert look.rechecker._on_cleared == look.content.offer
                await ledger.flags.flag(*make_flag("x", time.time()))
                (entry,) = await ledger.run(ledger.queue.page)
                assert not await look.content.look(replace(entry, url="http://127.0.0.1/a.exe"))
            await scanner.aclose()
            return look.content

    assert (asyncio.run(scene()) is not None) == wanted
    assert ("127.0.0.1 is not a public address" in caplog.text) == wanted
