"""A worker process, started by the supervisor through `run.entry`."""

import asyncio
import contextlib
import time

from secondlook.agent.metrics import count_events
from secondlook.core.lists.pattern import Pattern
from secondlook.ground.errors import ConfigError, LedgerError
from secondlook.ground.lanes import STATE
from secondlook.ledger.ledger import Ledger
from secondlook.proxy.mitm.fair_selector import FairLoop
from secondlook.proxy.worker import Surroundings, Worker
from secondlook.run.assembly.opening import open_ledger
from secondlook.run.assembly.parts import (
    LATE,
    PASSAGES,
    LedgerRecords,
    LedgerTail,
    Parts,
    cache_file,
    elsewhere_s,
    load_cache,
    save_cache,
    site_key,
)
from secondlook.run.assembly.viewing import make_watcher
from secondlook.run.diagnosis.stall import watch_stalls
from secondlook.run.process import Process, begin, cannot_start
from secondlook.run.supervisor.listening import inherited
from secondlook.run.supervisor.main import DRAIN_S

MENDING_S = 15.0
FIRST_PATTERN_S = 10.0  # for the embedded server's first lists, on a fresh state folder


async def work(process: Process) -> None:
    """Serve until told to stop, then drain."""
    settings, plan = process.settings, process.plan
    stop = process.stop_event()
    ledger = await _open_ledger(process)
    parts = Parts.build(settings, ledger, worker=f"worker {process.index}")
    answers = cache_file(settings, process.index)
    load_cache(parts.cache, answers, now=time.time(), stale_for_s=settings.cache.stale_for)

    listed = asyncio.Event()

    def taken_up(pattern: Pattern) -> None:
        process.say(pattern=pattern.generation or None)
        if pattern.generation:
            listed.set()

    watcher = make_watcher(parts, on_pattern=taken_up)
    await watcher.refresh()
    watching = asyncio.create_task(watcher.run(), name="watcher")
    own_ports = frozenset(plan.own_ports)
    await parts.lookup.start()
    if plan.server is not None:
        await parts.lookup.set_local(plan.server)
    around = Surroundings(
        gatekeeper=parts.gatekeeper,
        records=LedgerRecords(ledger, parts.suffixes, parts.clock, elsewhere_s=elsewhere_s(settings)),
        site_key=site_key(settings.state),
        own_ports=lambda: own_ports,
        ready=lambda: ledger.takes_flags,
        override_s=parts.override_s,
        unopened_s=parts.unopened_s,
        late=LedgerTail(ledger, LATE) if settings.notify.next_page else None,
        passages=LedgerTail(ledger, PASSAGES),
    )
    worker = Worker(settings, [inherited(descriptor) for descriptor in plan.sockets["proxy"]], around)
    if plan.server is not None:  # it publishes its first lists in a moment: who comes now waits for them
        waits = [asyncio.create_task(event.wait()) for event in (listed, stop)]
        await asyncio.wait(waits, timeout=FIRST_PATTERN_S, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
    await worker.start()
    saving = asyncio.create_task(_save_again(parts, process), name="saving")
    process.say_ready()
    stalls = asyncio.create_task(
        watch_stalls(ledger, parts.clock, f"worker {process.index}"), name="stall watch"
    )
    await stop.wait()
    await worker.drain(DRAIN_S)
    for task in (saving, watching, stalls):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await parts.gatekeeper.aclose()
    await parts.lookup.aclose()
    save_cache(parts.cache.dump(), answers)
    await STATE.run(ledger.close)


async def _open_ledger(process: Process) -> Ledger:
    """Open the ledger; a damaged one is mended by the service, which starts too. Raises LedgerError."""
    end = time.monotonic() + MENDING_S
    while True:
        try:
            return await STATE.run(open_ledger, process.settings, counted=count_events)
        except LedgerError:
            if time.monotonic() >= end:
                raise
        await asyncio.sleep(0.2)


async def _save_again(parts: Parts, process: Process) -> None:
    """Save the answers every few minutes, off the event loop."""
    while True:
        await asyncio.sleep(parts.settings.cache.save_every)
        data = parts.cache.dump()
        await STATE.run(save_cache, data, cache_file(parts.settings, process.index))


def main() -> None:
    """Run as a child of the supervisor."""
    process = begin("worker")
    try:
        asyncio.run(work(process), loop_factory=FairLoop)
    except (ConfigError, LedgerError) as error:
        cannot_start(error)
    except SystemExit:  # mitmproxy could not open what its mode needs, and has said why
        cannot_start(ConfigError(f"`mode: {process.settings.mode}` cannot be served here, as said above"))


if __name__ == "__main__":
    main()
