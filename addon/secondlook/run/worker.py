"""A worker process, started by the supervisor through `run.entry`."""

import asyncio
import logging

from secondlook.ground.errors import ConfigError, LedgerError
from secondlook.proxy.mitm.transport.fair_selector import FairLoop
from secondlook.proxy.mitm.transport.spread import Spread
from secondlook.proxy.worker import Surroundings, Worker
from secondlook.run.assembly.check.parts import (
    LATE,
    PASSAGES,
    LedgerRecords,
    LedgerTail,
    cache_file,
    elsewhere_s,
    site_key,
)
from secondlook.run.assembly.check.scanning import clamd_reporter
from secondlook.run.judging import judging
from secondlook.run.process import Process, begin, cannot_start
from secondlook.run.supervisor.listening import inherited
from secondlook.run.supervisor.supervisor import DRAIN_S

SPREAD_FILE = "connections"

logger = logging.getLogger(__name__)


async def work(process: Process) -> None:
    """Serve until SIGTERM, then drain."""
    settings, plan = process.settings, process.plan
    own_ports = frozenset(plan.own_ports)
    async with judging(process, cache_file(settings, process.index)) as around:
        parts, ledger = around.parts, around.parts.ledger
        surroundings = Surroundings(
            gatekeeper=parts.gatekeeper,
            records=LedgerRecords(
                ledger, parts.suffixes, parts.clock, parts.rulebook, elsewhere_s=elsewhere_s(settings)
            ),
            site_key=await site_key(settings.state, ledger),
            own_ports=lambda: own_ports,
            not_ready=around.not_ready,
            override_s=parts.override_s,
            unopened_s=parts.unopened_s,
            list_title=parts.list_title,
            late=LedgerTail(ledger, LATE) if settings.notify.next_page else None,
            passages=LedgerTail(ledger, PASSAGES),
            on_clamd=clamd_reporter(parts, process.name),
        )
        sockets = [inherited(descriptor) for descriptor in plan.sockets["proxy"]]
        worker = Worker(settings, sockets, surroundings, _spread(process))
        await worker.start()
        around.ready()
        await around.stop.wait()
        await worker.drain(DRAIN_S)


def _spread(process: Process) -> Spread | None:
    """Share with the other workers how many connections each has, where that can be."""
    if process.plan.workers < 2:  # noqa: PLR2004
        return None
    try:
        return Spread(process.settings.state / SPREAD_FILE, process.index, process.plan.workers)
    except OSError as error:
        logger.warning("connections are not spread over the workers: %r", error)
        return None


def main() -> None:
    """Run as a child of the supervisor."""
    process = begin("worker")
    try:
        asyncio.run(work(process), loop_factory=FairLoop)
    except (ConfigError, LedgerError) as error:
        cannot_start(error)
    except SystemExit:  # mitmproxy could not open what its mode needs, and has logged the reason
        cannot_start(ConfigError(f"`mode: {process.settings.mode}` cannot be served here, as logged above"))


if __name__ == "__main__":
    main()
