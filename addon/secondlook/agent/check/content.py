"""The stage `scan`: engines look into a file while servers are asked about its digests.

```
check_now ─┬─ blocked, allowed by a rule, known good ──────────────────────► that
           └─ otherwise ─┬─► engine ─┐
                         ├─► engine ─┼─ the first that blocks ends it ─────► block
                         └─► servers ┴─ all heard: the worse finding ─────► policy
                                        none, and an engine was silent ───► unverifiable
```

An engine that fails, breaks or takes too long leaves the file unverifiable, whatever the servers answer short
of a block: it never counts as having found nothing.
"""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, Final

from secondlook.agent import metrics
from secondlook.agent.check.checker import Checker
from secondlook.agent.check.evidence import from_scan, scan_steps, unverifiable
from secondlook.agent.ports import Scan
from secondlook.core.scan import EngineReport, fault_of, worst
from secondlook.core.subject import RequestContext, Subject
from secondlook.core.verdict import SEVERITY, Action, Decision, Stage, Step, Verdict
from secondlook.ground.clock import Clock

logger = logging.getLogger(__name__)

SCAN: Final = "scan: "  # begins the reason of what engines left open
SLOW: Final = "no answer in time"
_BAD = frozenset({Verdict.MALICIOUS, Verdict.SUSPICIOUS})


class ContentCheck:
    """Checks files by their digests and their content."""

    def __init__(self, checker: Checker, clock: Clock) -> None:
        self._checker = checker
        self._clock = clock

    def now(self, subject: Subject, context: RequestContext, scan: Scan) -> Decision | None:
        """Decide without waiting; None when a server must be asked or an engine must look."""
        decision = self._checker.check_now(subject, context)
        if decision is None or is_settled(decision):
            return decision
        reports = scan.known()
        return None if reports is None else self._joined(subject, context, decision, reports)

    async def check(self, subject: Subject, context: RequestContext, scan: Scan) -> Decision:
        """Decide, asking servers and engines at the same time. Never raise (but for cancellation)."""
        started = self._clock.monotonic()
        decision = self._checker.check_now(subject, context)
        if decision is not None and is_settled(decision):
            return decision
        reports: list[EngineReport] = []
        asking = asyncio.ensure_future(self._ask(subject, context, decision))
        looking = asyncio.ensure_future(self._look(subject, context, scan, reports))
        try:
            await asyncio.wait((asking, looking), return_when=asyncio.FIRST_COMPLETED)
            if not asking.done() and self._blocks(subject, context, reports):
                decision = self._unasked(subject, context)
            else:
                decision = await asking
                if not is_settled(decision):
                    await looking
        finally:
            asking.cancel()
            looking.cancel()
        for report in reports:
            metrics.scans(report.engine, _outcome_of(report)).inc()
        elapsed_ms = (self._clock.monotonic() - started) * 1000.0
        return replace(self._joined(subject, context, decision, reports), elapsed_ms=elapsed_ms)

    async def _ask(self, subject: Subject, context: RequestContext, known: Decision | None) -> Decision:
        return known if known is not None else await self._checker.check(subject, context)

    async def _look(
        self, subject: Subject, context: RequestContext, scan: Scan, reports: list[EngineReport]
    ) -> None:
        """Wait for the engines, until all have answered, one finding decides, or the time is over."""
        started = self._clock.monotonic()
        looks = {
            asyncio.ensure_future(_guarded(look, engine)): engine
            for look, engine in zip(scan.looks(), scan.engines, strict=True)
        }
        waiting = set(looks)
        try:
            while waiting and not self._blocks(subject, context, reports):
                left_s = max(0.0, started + scan.within_s - self._clock.monotonic())
                done, waiting = await asyncio.wait(
                    waiting, timeout=left_s, return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    elapsed_ms = (self._clock.monotonic() - started) * 1000.0
                    reports += [
                        EngineReport(looks[task], fault=SLOW, elapsed_ms=elapsed_ms) for task in waiting
                    ]
                    return
                reports += [task.result() for task in done]
        finally:
            for task in looks:
                task.cancel()
            metrics.SCAN_SECONDS.observe(self._clock.monotonic() - started)

    def _blocks(self, subject: Subject, context: RequestContext, reports: Sequence[EngineReport]) -> bool:
        found = self._found(subject, context, (), reports)
        return found is not None and is_settled(found)

    def _unasked(self, subject: Subject, context: RequestContext) -> Decision:
        """Return what is known here, where an engine had its answer before the servers had theirs."""
        decision = self._checker.check_local(subject, context)
        steps = tuple(step for step in decision.evidence.steps if step.stage is not Stage.QUERY)
        return replace(decision, evidence=replace(decision.evidence, steps=steps))

    def _found(
        self,
        subject: Subject,
        context: RequestContext,
        steps: Sequence[Step],
        reports: Sequence[EngineReport],
    ) -> Decision | None:
        found = worst(reports)
        if found is None:
            return None
        return self._checker.judge(context, from_scan(*found, subject, steps, self._clock.now()))

    def _joined(
        self,
        subject: Subject,
        context: RequestContext,
        decision: Decision,
        reports: Sequence[EngineReport],
    ) -> Decision:
        """Join the findings of servers and engines; of two the worse one counts."""
        evidence = decision.evidence
        steps = (*evidence.steps, *scan_steps(reports, self._clock.now()))
        explained = replace(decision, evidence=replace(evidence, steps=steps))
        if is_settled(decision) and not evidence.unverifiable:
            return explained
        found = self._found(subject, context, steps, reports)
        if found is not None:
            milder = evidence.verdict in _BAD and (
                SEVERITY[evidence.risk] <= SEVERITY[found.evidence.risk] or _is_block(decision)
            )
            if _is_block(found) and not milder:
                return found
        fault = fault_of(reports)
        if fault is not None:
            reason = f"{evidence.unverifiable}; {SCAN}{fault}" if evidence.unverifiable else f"{SCAN}{fault}"
            silent = replace(unverifiable(reason, ()), steps=steps, attempts=evidence.attempts)
            return self._checker.judge(context, silent)
        if evidence.unverifiable is not None:
            return explained
        if found is not None and evidence.verdict not in _BAD:
            return found
        return explained


async def _guarded(look: Coroutine[Any, Any, EngineReport], engine: str) -> EngineReport:
    try:
        return await look
    except Exception as error:
        metrics.INTERNAL_ERRORS.inc()
        logger.exception("%s failed inside; the file is treated as unverifiable", engine)
        return EngineReport(engine, fault=f"internal error: {type(error).__name__}")


def is_settled(decision: Decision) -> bool:
    """Return whether no look into the file could change a decision: it is blocked, or known to be good."""
    evidence = decision.evidence
    if evidence.unverifiable is not None:
        return False
    return _is_block(decision) or evidence.allowed_by_rule or evidence.verdict is Verdict.CLEAN


def _is_block(decision: Decision) -> bool:
    return decision.action is Action.BLOCK or decision.would_block


def _outcome_of(report: EngineReport) -> str:
    if report.fault is not None:
        return "failed"
    if report.skipped is not None:
        return "skipped"
    return "found" if report.detections else "nothing"
