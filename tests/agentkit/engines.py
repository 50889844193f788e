"""Engines that do as they are told, for `agent.ports.Scan`."""

import asyncio
from dataclasses import dataclass, field

from secondlook.core.scan import Detection, EngineReport
from secondlook.core.verdict import Risk


@dataclass
class FakeEngine:
    """One engine: what it finds, after how long; `mode` up, fault, hang, broken (raises) or skips."""

    name: str = "clamd"
    risk: Risk | None = None
    mode: str = "up"
    delay_s: float = 0.01
    asked: int = 0
    stopped: int = 0

    async def look(self) -> EngineReport:
        self.asked += 1
        try:
            await asyncio.sleep(1e9 if self.mode == "hang" else self.delay_s)
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        return self.report()

    def report(self) -> EngineReport:
        if self.mode == "broken":
            raise RuntimeError("planted")
        if self.mode == "fault":
            return EngineReport(self.name, "1", fault="no connection")
        if self.mode == "skips":
            return EngineReport(self.name, "1", skipped="not asked")
        found = () if self.risk is None else (Detection(self.name, "Some.Thing", self.risk, family="Some"),)
        return EngineReport(self.name, "1", found, signatures_at=1_900_000_000.0)


@dataclass
class FakeScan:
    """A file and its engines."""

    looking: list[FakeEngine] = field(default_factory=list)
    within_s: float = 5.0
    remembered: bool = False

    @property
    def engines(self):
        return [engine.name for engine in self.looking]

    def known(self):
        return [engine.report() for engine in self.looking] if self.remembered else None

    def looks(self):
        return [engine.look() for engine in self.looking]
