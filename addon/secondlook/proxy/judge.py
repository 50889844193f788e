"""The agent's gatekeeper, in the words of the proxy (`ports.Gatekeeper`)."""

from collections.abc import Awaitable, Callable

from lru import LRU

from secondlook.agent.check.gatekeeper import Gatekeeper as Agent
from secondlook.core.subject import RequestContext, Subject, UrlSubject
from secondlook.core.url.canonical import Suffixes, url_subject_from_parts
from secondlook.core.verdict import Action, Decision, Evidence, Risk, Stage, Step, Verdict

_REMEMBERED = 20_000


class Judge:
    """Checks and settles what the proxy sees; every decision it gives is recorded and may be enforced."""

    def __init__(self, agent: Agent, suffixes: Suffixes) -> None:
        self._agent = agent
        self._suffixes = suffixes
        self._subjects: LRU[tuple[str, str, str | bytes], UrlSubject] = LRU(_REMEMBERED)
        self.now: Callable[[Subject, RequestContext], Decision | None] = agent.now
        self.check: Callable[[Subject, RequestContext], Awaitable[Decision]] = agent.check
        self.check_local: Callable[[Subject, RequestContext], Awaitable[Decision]] = agent.check_local
        self.in_force: Callable[[], Awaitable[None]] = agent.in_force
        self.settle: Callable[[Subject, RequestContext, Decision], Awaitable[Decision]] = agent.settle

    def subject(self, scheme: str, host: str, path: str | bytes) -> UrlSubject:
        """Make the subject of a request from what the proxy will really use, remembering recent ones."""
        key = (scheme, host, path)
        known = self._subjects.get(key)
        if known is None:
            known = self._subjects[key] = url_subject_from_parts(scheme, host, path, self._suffixes)
        return known

    def local(self, subject: Subject, use: RequestContext, *, late: bool = False) -> Decision | None:
        """Decide about something that nobody is asked about; None: a flag must be waited for."""
        return self._agent.local(subject, use, late=late)

    async def unsure(
        self, subject: Subject, use: RequestContext, reason: str, *, block: bool | None = None
    ) -> Decision:
        """Check what could not be looked through: where nothing is known of it, it is unverifiable."""
        decision = await self._agent.checker.check(subject, use)
        allowed = decision.action is Action.ALLOW and not decision.would_block
        if allowed and not decision.evidence.allowed_by_rule:
            decision = self._unverifiable(use, reason, block, decision.evidence.steps)
        return await self._agent.settle(subject, use, decision)

    async def unverifiable(
        self, subject: Subject, use: RequestContext, reason: str, *, block: bool | None = None
    ) -> Decision:
        """Settle something that could not be checked: by the policy of its class, or as `block` says."""
        return await self._agent.settle(subject, use, self._unverifiable(use, reason, block))

    def _unverifiable(
        self, use: RequestContext, reason: str, block: bool | None, steps: tuple[Step, ...] = ()
    ) -> Decision:
        evidence = Evidence(
            verdict=Verdict.UNKNOWN,
            risk=Risk.UNTESTED,
            stage=Stage.UNVERIFIABLE,
            unverifiable=reason,
            detail=reason,
            steps=steps,
        )
        demanded = None if block is None else (Action.BLOCK if block else Action.FLAG)
        return self._agent.checker.judge(use, evidence, unverifiable=demanded)

    async def refuse(self, subject: Subject, use: RequestContext, reason: str) -> Decision:
        """Record that something is closed to this client whatever it asks for."""
        evidence = Evidence(verdict=Verdict.UNKNOWN, risk=Risk.UNTESTED, stage=Stage.ACCESS, detail=reason)
        return await self._agent.settle(subject, use, Decision(Action.BLOCK, evidence, reason=reason))

    def digest_kinds(self) -> frozenset[str]:
        """Digests other than SHA-256 that a loaded file list names."""
        return self._agent.checker.view.current.pattern.digest_kinds
