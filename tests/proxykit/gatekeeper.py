"""A gatekeeper that answers from two sets: for tests of the proxy alone, held to the types of the real one."""

import asyncio
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from secondlook.agent.check.gatekeeper import Gatekeeper
from secondlook.core.event import Event, EventKind
from secondlook.core.subject import FileSubject, RequestContext, Subject, UrlSubject
from secondlook.core.url.canonical import url_subject_from_parts
from secondlook.core.verdict import Action, Decision, Evidence, Risk, Stage, SubjectClass, Threat, Verdict
from secondlook.suffix import load_suffixes


def listed(stage: Stage = Stage.PATTERN, threat: Threat = Threat.MALWARE) -> Decision:
    evidence = Evidence(
        verdict=Verdict.MALICIOUS,
        risk=Risk.DANGEROUS,
        stage=stage,
        threat=threat,
        list="mw-8b",
        list_age_s=190.0,
    )
    return Decision(Action.BLOCK, evidence)


UNKNOWN = Decision(Action.ALLOW, Evidence(verdict=Verdict.UNKNOWN, risk=Risk.UNTESTED, stage=Stage.CACHE))


@dataclass
class FakeGatekeeper(Gatekeeper):
    """Blocks what is in `bad` (URL expressions or SHA-256 hex); asks (waits) for what is in `slow`."""

    bad: set[str] = field(default_factory=set)
    slow: set[str] = field(default_factory=set)
    flagged: set[str] = field(default_factory=set)
    faults: set[str] = field(default_factory=set)
    unverifiable_blocks: bool = False
    delay_s: float = 0.05
    opened: threading.Event | None = None  # what is slow waits for this instead
    kinds: frozenset[str] = frozenset()
    seen: list[tuple[str, Subject, RequestContext, Decision]] = field(default_factory=list)
    events: dict[str, Event] = field(default_factory=dict)
    exceptions: list[tuple[str, str | None, str | None, float]] = field(default_factory=list)
    passed: list[tuple[str, float]] = field(default_factory=list)
    closed_hosts: set[str] = field(default_factory=set)
    on_check: Callable[[Subject], None] | None = None
    waited: int = 0  # how often somebody wanted to know that a find is in force everywhere
    _ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def forget(self) -> None:
        """Judge as at the beginning; proxies that have it keep it."""
        vars(self).update(vars(FakeGatekeeper()) | {"_ids": self._ids})

    def subject(self, scheme: str, host: str, path: str | bytes) -> UrlSubject:
        self._fault("subject")
        return url_subject_from_parts(scheme, host, path, load_suffixes())

    @property
    def checker(self) -> "FakeGatekeeper":  # type: ignore[override]  # it looks without recording by itself
        return self

    def check_now(self, subject: Subject, context: RequestContext) -> Decision | None:
        """Look without recording."""
        self._fault("check_now")
        names = self._names(subject)
        if names & self.flagged or names & self.slow:
            return None
        return listed() if names & self.bad else UNKNOWN

    def now(self, subject: Subject, context: RequestContext, *, scan: object = None) -> Decision | None:
        self._fault("now")
        names = self._names(subject)
        if names & self.flagged or names & self.slow:
            return None
        return self._settle("now", subject, context, listed() if names & self.bad else UNKNOWN)

    async def check(self, subject: Subject, context: RequestContext, *, scan: object = None) -> Decision:
        self._fault("check")
        names = self._names(subject)
        if names & self.slow:
            if self.opened is not None:
                await asyncio.to_thread(self.opened.wait, 60)
            else:
                await asyncio.sleep(self.delay_s)
        if names & self.flagged:
            evidence = Evidence(
                verdict=Verdict.UNKNOWN, risk=Risk.UNTESTED, stage=Stage.UNVERIFIABLE, unverifiable="nobody"
            )
            return self._settle("check", subject, context, Decision(Action.FLAG, evidence))
        return self._settle("check", subject, context, listed(Stage.QUERY) if names & self.bad else UNKNOWN)

    def local(self, subject: Subject, context: RequestContext, *, late: bool = False) -> Decision | None:
        self._fault("local")
        names = self._names(subject)
        return self._settle(
            "late" if late else "local", subject, context, listed() if names & self.bad else UNKNOWN
        )

    async def check_local(self, subject: Subject, context: RequestContext) -> Decision:
        self._fault("check_local")
        names = self._names(subject)
        return self._settle("check_local", subject, context, listed() if names & self.bad else UNKNOWN)

    async def unsure(
        self,
        subject: Subject,
        context: RequestContext,
        reason: str,
        *,
        block: bool | None = None,
        scan: object = None,
    ) -> Decision:
        if self._names(subject) & (self.bad | self.flagged):
            return await self.check(subject, context)
        return await self.unverifiable(subject, context, reason, block=block)

    async def unverifiable(
        self, subject: Subject, context: RequestContext, reason: str, *, block: bool | None = None
    ) -> Decision:
        self._fault("unverifiable")
        evidence = Evidence(
            verdict=Verdict.UNKNOWN,
            risk=Risk.UNTESTED,
            stage=Stage.UNVERIFIABLE,
            unverifiable=reason,
            detail=reason,
        )
        stop = self.unverifiable_blocks if block is None else block
        return self._settle(
            "unverifiable", subject, context, Decision(Action.BLOCK if stop else Action.FLAG, evidence)
        )

    async def settle(self, subject: Subject, context: RequestContext, decision: Decision) -> Decision:
        return self._settle("settle", subject, context, decision)

    async def refuse(self, subject: Subject, context: RequestContext, reason: str) -> Decision:
        evidence = Evidence(verdict=Verdict.UNKNOWN, risk=Risk.UNTESTED, stage=Stage.ACCESS, detail=reason)
        return self._settle("refuse", subject, context, Decision(Action.BLOCK, evidence, reason=reason))

    def digest_kinds(self) -> frozenset[str]:
        return self.kinds

    async def in_force(self) -> None:
        self._fault("in_force")
        self.waited += 1

    async def event(self, event_id: str) -> Event | None:
        return self.events.get(event_id)

    def whole(self, event: Event) -> bool:
        return event.url is not None

    def closed(self, event: Event) -> bool:
        return event.host in self.closed_hosts

    async def make_exception(self, event: Event, duration_s: float) -> None:
        self.exceptions.append((event.id, event.client, event.user, duration_s))
        assert event.url is not None
        self.bad.clear()

    async def pass_through(self, event: Event, duration_s: float) -> None:
        self.passed.append((event.id, duration_s))

    def files(self) -> list[tuple[str, FileSubject, RequestContext, Decision]]:
        return [(how, s, context, d) for how, s, context, d in self.seen if isinstance(s, FileSubject)]

    def _fault(self, where: str) -> None:
        if where in self.faults:
            raise RuntimeError(f"injected fault in {where}")

    def _names(self, subject: Subject) -> set[str]:
        if self.on_check is not None:
            self.on_check(subject)
        if isinstance(subject, UrlSubject):
            return set(subject.expressions)
        return {one.hex() for one in subject.hashes}

    def _settle(self, how: str, subject: Subject, context: RequestContext, decision: Decision) -> Decision:
        if decision.action is not Action.ALLOW:
            event_id = f"E{next(self._ids)}"
            decision = replace(decision, event_id=event_id)
            self.events[event_id] = Event(
                kind=EventKind.BLOCKED if decision.action is Action.BLOCK else EventKind.FLAGGED,
                time=1_790_000_000.0,
                id=event_id,
                cls=context.cls if isinstance(context.cls, SubjectClass) else None,
                subject=subject.kind,
                url=context.url,
                client=context.client,
                user=context.user,
                stage=decision.evidence.stage.value,
                threat=decision.evidence.threat.value if decision.evidence.threat else None,
            )
        self.seen.append((how, subject, context, decision))
        return decision
