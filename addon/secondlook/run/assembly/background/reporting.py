"""Reporting findings to our own servers, put together: the outbox, who is asked, what goes into it by itself.

With `scan.report` what engines find goes there, taken from the end of the log: whichever process found it.
"""

import asyncio
import contextlib
import logging
import socket
from typing import Final

from secondlook.agent.actions.outbox import Outbox, finding_of
from secondlook.agent.actions.reporter import Reporter
from secondlook.core.event import Event, EventKind
from secondlook.core.lists.name import RISKS
from secondlook.core.verdict import Risk, Stage
from secondlook.ground.lanes import STATE
from secondlook.ground.tasks import Tasks
from secondlook.ledger.ledger import EventFilter
from secondlook.lookup.client import ServerClient
from secondlook.lookup.reporting import FindingClient
from secondlook.proxy.event_follower import Follower
from secondlook.run.assembly.check.parts import LedgerTail, Parts
from secondlook.wire.finding import Finding

log = logging.getLogger(__name__)
FOUND: Final = EventFilter(
    kind=(
        EventKind.BLOCKED.value,
        EventKind.WOULD_BLOCK.value,
        EventKind.CONFIRMED.value,
        EventKind.LATE_VERDICT.value,
    ),
    stage=Stage.SCAN.value,
)
LOOK_S: Final = 1.0
AGAIN_S: Final = (
    3600.0  # of the log that is looked at again after a start: what is known is known to the server
)
_REPORTED: Final = frozenset(risk.value for risk in RISKS.values())


class ScanFindings:
    """Puts what engines found into the outbox, one after the other, off the event loop."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._found: asyncio.Queue[Finding] = asyncio.Queue()

    def take(self, event: Event) -> None:
        """Take an event; only a file with its digest is a finding."""
        if event.sha256 is None or event.risk not in _REPORTED:
            return
        name, engine = event.rule or "?", event.list or Stage.SCAN.value
        self._found.put_nowait(finding_of(event.sha256, name=name, engine=engine, risk=Risk(event.risk)))

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            finding = await self._found.get()
            try:
                if not await STATE.run(self._outbox.put, finding):
                    log.warning("%s is not reported: too many findings wait already", finding.subject)
            except OSError as error:
                log.warning("%s is not reported: %s", finding.subject, error)


async def start_reporting(stack: contextlib.AsyncExitStack, parts: Parts) -> None:
    """Start what reports, to be ended by `stack`; nothing where there is no server of ours to report to."""
    settings = parts.settings
    own = [server for server in settings.servers.intranet if not server.google]
    if not own:
        return
    clients = [FindingClient(ServerClient(each, upstream_proxy=settings.upstream_proxy)) for each in own]
    for client in clients:
        stack.push_async_callback(client.aclose)
    outbox = Outbox(settings.state)
    reporter = Reporter(outbox, clients, parts.ledger.recorder, parts.clock, socket.gethostname())
    work = [reporter.run]
    if settings.scan.report:
        findings = ScanFindings(outbox)
        follower = Follower(
            LedgerTail(parts.ledger, FOUND),
            lambda: parts.clock.now() - AGAIN_S,
            findings.take,
            every_s=LOOK_S,
        )
        follower.start()
        stack.push_async_callback(follower.aclose)
        work.append(findings.run)
    tasks = Tasks()
    stack.push_async_callback(tasks.aclose)
    for each in work:
        tasks.keep("reports of findings", each)
