"""The findings of a running server: reports are taken off the event loop, what is listed is published soon.

Several findings that come together become one generation: an outbreak is many reports within seconds.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from secondlook.ground.clock import Clock
from secondlook.ground.lanes import LISTS
from secondlook.server.findings.intake import FindingsMode, Intake
from secondlook.server.meter import Meter
from secondlook.wire.finding import Outcome, Report

log = logging.getLogger(__name__)
GATHER_S = 2.0  # from the first finding on
AGAIN_S = 60.0


class FindingReceiver:
    """Takes reports, and has what they list published by `publish` while `run` runs."""

    def __init__(
        self,
        intake: Intake,
        mode: FindingsMode,
        clock: Clock,
        publish: Callable[[], Awaitable[None]],
        *,
        meter: Meter | None = None,
        gather_s: float = GATHER_S,
        again_s: float = AGAIN_S,
    ) -> None:
        self.intake = intake
        self._mode: FindingsMode = mode
        self._clock = clock
        self._publish = publish
        self._meter = meter
        self._gather_s = gather_s
        self._again_s = again_s
        self._changed = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """Return whether reports are taken at all."""
        return self._mode != "off"

    async def take(self, report: Report, address: str) -> list[tuple[Outcome, str | None]]:
        """Decide about a report. Raises PatternError when the store cannot be read or written."""
        outcomes = await LISTS.run(
            self.intake.take, report, mode=self._mode, address=address, now=self._clock.now()
        )
        for outcome, _ in outcomes:
            if self._meter is not None:
                self._meter.findings[outcome.value] += 1
            if outcome is Outcome.LISTED:
                self._changed.set()
        return outcomes

    async def approve(self, identity: str, mark: str) -> None:
        """List a finding and have it published. Raises as `Intake.approve`."""
        await LISTS.run(self.intake.approve, identity, now=self._clock.now(), mark=mark)
        self._changed.set()

    async def withdraw(self, identity: str, mark: str) -> None:
        """Take a finding back and have that published. Raises as `Intake.withdraw`."""
        await LISTS.run(self.intake.withdraw, identity, now=self._clock.now(), mark=mark)
        self._changed.set()

    async def run(self) -> None:
        """Publish after findings were listed or withdrawn, until cancelled."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(self._gather_s)
            self._changed.clear()
            try:
                await self._publish()
            except Exception:
                log.exception("what was found is not published yet; next attempt in %g s", self._again_s)
                self._changed.set()
                await asyncio.sleep(self._again_s)
