"""From a decision to what is written about it: the flag first, the traffic after.

```
decision ─┬─ allow ─► remembered (history), unless listed so ─────► go on
          ├─ block ─► event (late is fine) ──────────────────────► refuse
          └─ flag ──► event + queue entry COMMITTED ─► remembered ► go on
                      └─ nothing could store it ─► refuse, stage=ledger
```

What was known to be listed, as what is blocked, and was let through all the same (by a rule, an exception, a
pause or assessment mode) is not remembered: a late verdict about it would be no news. What the policy of its
client does not block is: its risk or the level may rise.

A local hit's event has `detail: pending` until one query has shown what stands behind it; a positive
answer joins the confirmed set here at once and in the ledger as soon as it commits.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Protocol

from lru import LRU

from secondlook.agent import metrics
from secondlook.agent.check.checker import Checker
from secondlook.agent.check.confirming import Confirming
from secondlook.agent.check.content import ContentCheck
from secondlook.agent.check.evidence import describe, unverifiable
from secondlook.agent.check.record import PENDING, event_of, flag_entry, host_of
from secondlook.agent.ports import ConfirmedSet, Counts, EventSink, FlagStore, Memory, Scan
from secondlook.core.answer import ListedHash, Tier
from secondlook.core.digest import PREFIX_BYTES
from secondlook.core.event import Event, EventKind
from secondlook.core.subject import FileSubject, RequestContext, Subject, SubjectKind, UrlSubject
from secondlook.core.verdict import Action, Decision, Evidence, Risk, Stage, Step, SubjectClass, Verdict
from secondlook.ground.clock import Clock
from secondlook.ground.errors import LedgerError
from secondlook.ground.ulid import Identifiers

logger = logging.getLogger(__name__)

_REMEMBER_AGAIN_S = 300.0  # one visit of a client in so long is enough to know that it got through
_DETAIL_TIMEOUT_S = 10.0
_MOST_TASKS = 256  # questions about details at once; a hit beyond them goes without
_BAD = frozenset({Verdict.MALICIOUS, Verdict.SUSPICIOUS})


class CheckLedger(Protocol):
    """The parts of the ledger that a worker writes to."""

    @property
    def recorder(self) -> EventSink:
        """Where events go."""

    @property
    def counts(self) -> Counts:
        """Where checks go that leave no event."""

    @property
    def flags(self) -> FlagStore:
        """Where flags are committed."""

    @property
    def history(self) -> Memory:
        """Where allowed subjects are remembered."""

    @property
    def confirmed(self) -> ConfirmedSet:
        """Where findings are put in force."""


class Gatekeeper:
    """Checks and settles: what `now`, `check` and `local` return has been recorded and may be enforced.

    No front needs to expect that it raises. `reblock_s` is how long the URL of a bad file is refused;
    `log_all` also records what was allowed; `elsewhere_s` is how long other workers may take to hear of what
    the ledger has (0: there is no other).
    """

    def __init__(
        self,
        checker: Checker,
        ledger: CheckLedger,
        clock: Clock,
        *,
        reblock_s: float = 600.0,
        log_all: bool = False,
        history: bool = True,
        elsewhere_s: float = 0.0,
    ) -> None:
        self.checker = checker
        self.content = ContentCheck(checker, clock)
        self.subject: Callable[[str, str, str | bytes], UrlSubject] = checker.request_subject
        self._recorder = ledger.recorder
        self._counts = ledger.counts
        self._flags = ledger.flags
        self._memory = ledger.history
        self._clock = clock
        self._log_all = log_all
        self._history = history
        self._identifiers = Identifiers()
        self._remembered: LRU[object, float] = LRU(50_000)
        self._tasks: set[asyncio.Task[None]] = set()
        self._confirming = Confirming(
            checker, ledger.confirmed, clock, self._start, reblock_s=reblock_s, elsewhere_s=elsewhere_s
        )

    def now(self, subject: Subject, context: RequestContext, *, scan: Scan | None = None) -> Decision | None:
        """Check and settle without waiting; None when `check` must be awaited (to ask, look or flag)."""
        if scan is not None:
            decision = self.content.now(subject, context, scan)
        else:
            decision = self.checker.check_now(subject, context)
        if decision is None or decision.action is Action.FLAG:
            return None
        return self._settle_now(subject, context, decision)

    async def check(self, subject: Subject, context: RequestContext, *, scan: Scan | None = None) -> Decision:
        """Check and settle, asking servers and engines when needed. Never raise (but for cancellation)."""
        return await self.settle(subject, context, await self._check(subject, context, scan))

    async def _check(self, subject: Subject, context: RequestContext, scan: Scan | None) -> Decision:
        if scan is None:
            return await self.checker.check(subject, context)
        try:
            return await self.content.check(subject, context, scan)
        except Exception:
            metrics.INTERNAL_ERRORS.inc()
            logger.exception("a check of content failed inside; treated as unverifiable")
            return self._unverifiable(context, "internal error", None)

    def local(self, subject: Subject, context: RequestContext, *, late: bool = False) -> Decision | None:
        """Check by local means alone and settle; None when `check_local` must be awaited (a flag).

        `late`: what is checked has reached the client already; a find is a late verdict.
        """
        decision = self.checker.check_local(subject, context)
        if decision.action is Action.FLAG:
            return None
        return self._settle_now(subject, context, decision, late=late)

    async def check_local(self, subject: Subject, context: RequestContext) -> Decision:
        """Check by local means alone and settle. Never raise (but for cancellation)."""
        return await self.settle(subject, context, self.checker.check_local(subject, context))

    async def unsure(
        self,
        subject: Subject,
        context: RequestContext,
        reason: str,
        *,
        block: bool | None = None,
        scan: Scan | None = None,
    ) -> Decision:
        """Check what could not be looked through: where nothing is known of it, it is unverifiable."""
        decision = await self._check(subject, context, scan)
        allowed = decision.action is Action.ALLOW and not decision.would_block
        if allowed and not decision.evidence.allowed_by_rule:
            decision = self._unverifiable(context, reason, block, decision.evidence.steps)
        return await self.settle(subject, context, decision)

    async def unverifiable(
        self, subject: Subject, context: RequestContext, reason: str, *, block: bool | None = None
    ) -> Decision:
        """Settle what could not be checked: by the policy of its class, or as `block` demands."""
        return await self.settle(subject, context, self._unverifiable(context, reason, block))

    async def refuse(self, subject: Subject, context: RequestContext, reason: str) -> Decision:
        """Record that something is closed to this client whatever it asks for."""
        evidence = Evidence(verdict=Verdict.UNKNOWN, risk=Risk.UNTESTED, stage=Stage.ACCESS, detail=reason)
        return await self.settle(subject, context, Decision(Action.BLOCK, evidence, reason=reason))

    def digest_kinds(self) -> frozenset[str]:
        """Return the digests other than SHA-256 that a loaded file list or rule names: of `md5`, `sha1`."""
        return self.checker.view.current.pattern.digest_kinds

    async def settle(self, subject: Subject, context: RequestContext, decision: Decision) -> Decision:
        """Record a decision; a flag is committed before this returns, or the request is refused."""
        if decision.action is not Action.FLAG:
            return self._settle_now(subject, context, decision)
        try:
            return await self._flag(subject, context, decision)
        except Exception:
            logger.exception("settling a flag failed inside; refusing the request")
            metrics.INTERNAL_ERRORS.inc()
            return _refused(decision, "internal error")

    async def in_force(self) -> None:
        """Wait until what was found here is in force in the other workers too, as far as is known."""
        await self._confirming.in_force()

    async def aclose(self) -> None:
        """Give up what is still running in the background."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _unverifiable(
        self, context: RequestContext, reason: str, block: bool | None, steps: tuple[Step, ...] = ()
    ) -> Decision:
        evidence = replace(unverifiable(reason, ()), steps=steps)
        demanded = None if block is None else (Action.BLOCK if block else Action.FLAG)
        return self.checker.judge(context, evidence, unverifiable=demanded)

    def _settle_now(
        self, subject: Subject, context: RequestContext, decision: Decision, *, late: bool = False
    ) -> Decision:
        metrics.decisions(decision.evidence.stage, decision.action).inc()
        try:
            match decision.action:
                case Action.BLOCK:
                    kind = EventKind.LATE_VERDICT if late else EventKind.BLOCKED
                    return self._blocked(subject, context, decision, kind)
                case _ if decision.would_block:
                    self._remember(subject, context, decision)
                    return self._blocked(subject, context, decision, EventKind.WOULD_BLOCK)
                case _:
                    return self._allowed(subject, context, decision)
        except Exception:
            # the decision stands: only its record failed
            logger.exception("recording a decision failed inside")
            metrics.INTERNAL_ERRORS.inc()
            return decision

    def _allowed(self, subject: Subject, context: RequestContext, decision: Decision) -> Decision:
        if decision.evidence.verdict in _BAD and decision.evidence.stage is Stage.QUERY:
            self._confirming.confirm(subject, context, decision.evidence)
        if not self._log_all:
            evidence = decision.evidence
            self._counts.tally(
                EventKind.CHECK,
                decision.action,
                evidence.stage,
                client=context.client,
                host=host_of(subject, context),
                server=evidence.server,
                elapsed_ms=decision.elapsed_ms,
                gateway=context.gateway,
            )
            if evidence.rule is not None and evidence.stage is Stage.RULES:
                self._counts.count_hit(evidence.rule)
            self._remember(subject, context, decision)
            return decision
        event = self._event(EventKind.CHECK, subject, context, decision)
        self._recorder.record(event)
        self._remember(subject, context, decision)
        return replace(decision, event_id=event.id)

    def _blocked(
        self, subject: Subject, context: RequestContext, decision: Decision, kind: EventKind
    ) -> Decision:
        event = self._event(kind, subject, context, decision)
        if decision.evidence.stage is Stage.PATTERN and decision.evidence.hit is not None:
            if len(self._tasks) < _MOST_TASKS:
                event = replace(event, detail=PENDING)
                _ = self._start(self._fill_in(event.id, subject.kind, context.cls, decision))
            else:
                event = replace(event, detail=None)
        self._recorder.record(event)
        if decision.evidence.stage is Stage.QUERY:
            self._confirming.confirm(subject, context, decision.evidence)
        if decision.action is Action.BLOCK and isinstance(subject, FileSubject) and context.url:
            self._confirming.reblock(context.url, subject, context, decision.evidence)
        return replace(decision, event_id=event.id)

    async def _flag(self, subject: Subject, context: RequestContext, decision: Decision) -> Decision:
        started = self._clock.monotonic()
        now = self._clock.now()
        event = self._event(EventKind.FLAGGED, subject, context, decision)
        try:
            await self._flags.flag(event, flag_entry(decision, subject, context, time=now))
        except LedgerError as error:
            metrics.FLAGS_REFUSED.inc()
            logger.warning("refusing a request: its flag could not be stored: %s", error)
            refused = _refused(decision, "its record could not be stored")
            return replace(refused, event_id=self._record_refusal(subject, context, refused))
        metrics.FLAG_SECONDS.observe(self._clock.monotonic() - started)
        metrics.decisions(decision.evidence.stage, decision.action).inc()
        self._remember(subject, context, decision)
        return replace(decision, event_id=event.id)

    def _record_refusal(self, subject: Subject, context: RequestContext, refused: Decision) -> str:
        event = self._event(EventKind.BLOCKED, subject, context, refused)
        self._recorder.record(event)
        metrics.decisions(refused.evidence.stage, refused.action).inc()
        return event.id

    def _event(self, kind: EventKind, subject: Subject, context: RequestContext, decision: Decision) -> Event:
        now = self._clock.now()
        return event_of(kind, decision, subject, context, time=now, event_id=self._identifiers.new(now))

    def _remember(self, subject: Subject, context: RequestContext, decision: Decision) -> None:
        if not self._history or self._is_no_news(subject, context, decision.evidence):
            return
        # the same bytes may have been looked into further than before: that is to be remembered as well
        key = (subject.hashes[0], hash(subject.hashes), context.client, context.user)
        now = self._clock.now()
        last = self._remembered.get(key)
        # a visit from the future was noted before the clock was set back: it holds up nothing
        if last is not None and 0 <= now - last < _REMEMBER_AGAIN_S:
            return
        self._remembered[key] = now
        policies = self.checker.view.current.policies
        yields = policies.others_are_stricter(context.client, context.user)
        self._memory.remember(flag_entry(decision, subject, context, time=now), yields=yields)

    def _is_no_news(self, subject: Subject, context: RequestContext, evidence: Evidence) -> bool:
        """Return whether it was known that a subject is listed as what this client is kept from."""
        if not self.checker.knew(subject, evidence):
            return False
        policy = self.checker.view.current.policies.of(context.client, context.user)
        return evidence.stage is Stage.RULES or policy.blocks(evidence.risk)

    async def _fill_in(self, event_id: str, kind: SubjectKind, cls: SubjectClass, decision: Decision) -> None:
        """Ask what stands behind a local hit; only for log and block page, so failing is harmless."""
        evidence = decision.evidence
        detail: str | None = None
        extra: dict[str, object] | None = None
        try:
            listed = await self._behind(evidence, kind, cls)
            if listed is not None:
                detail = describe(listed)
                extra = {
                    "feeds": list(listed.feeds),
                    "family": listed.family,
                    "first_seen": listed.first_seen,
                }
        finally:
            self._recorder.amend(event_id, detail=detail, extra=extra)

    async def _behind(self, evidence: Evidence, kind: SubjectKind, cls: SubjectClass) -> ListedHash | None:
        """Find what the server of a local list knows about a hit, from the cache or by one query."""
        if evidence.hit is None or evidence.tier is None:
            return None
        tier, prefix, cache = Tier(evidence.tier), evidence.hit[:PREFIX_BYTES], self.checker.cache
        found = cache.get(tier, kind, prefix, self._clock.now())
        if found is None:
            deadline = self._clock.monotonic() + _DETAIL_TIMEOUT_S
            answer = await self.checker.lookup.ask(tier, kind, cls, (prefix,), deadline=deadline)
            found = answer.answers.get(prefix)
            if found is None:
                return None
            found = cache.put(tier, kind, prefix, found)
        return next((listed for listed in found.listed if listed.full_hash == evidence.hit), None)

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            metrics.INTERNAL_ERRORS.inc()
            logger.error("background work of the gatekeeper failed", exc_info=error)


def _refused(decision: Decision, reason: str) -> Decision:
    evidence = unverifiable(reason, decision.evidence.steps, stage=Stage.LEDGER)
    return Decision(Action.BLOCK, evidence, decision.elapsed_ms, reason=reason)
