"""The whole check of one subject: stages 1 to 8 of the query process, and the policy.

```
check_now  1 rules ─ 2 confirmed ─ 3 pattern ─ 4 short lists ─ 5 known good ─ 6 cache ──► Decision | None
check      … the same, then 7 query (all tiers at once, one budget) ─ 8 stale answer ───► Decision
```

A listing that the policy lets through ends nothing: the later stages may know worse, and the worst counts.

Nothing here raises and nothing outlives the budget: an internal error is "unverifiable", counted and
logged with its traceback. Nothing is enforced or recorded here; that is the gatekeeper's part.
"""

import asyncio
import logging
from dataclasses import replace

from lru import LRU

from secondlook.agent import metrics
from secondlook.agent.check.deciding import decide, is_open, judge, untested_passes
from secondlook.agent.check.evidence import (
    from_finding,
    listed_step,
    unknown,
    unverifiable,
    worse_of,
    worst_finding,
)
from secondlook.agent.check.inquiry import Inquiry, Known, Question, fresh_answers, stale_answers
from secondlook.agent.check.stages import local_evidence
from secondlook.agent.check.view import LocalView, Snapshot
from secondlook.agent.ports import Lookup
from secondlook.core.answer import Tier
from secondlook.core.asking.cache import AnswerCache
from secondlook.core.subject import RequestContext, Subject, SubjectKind, UrlSubject
from secondlook.core.url.canonical import Suffixes, url_subject, url_subject_from_parts
from secondlook.core.verdict import Action, Decision, Evidence, Stage, Step, SubjectClass, Verdict
from secondlook.ground.clock import Clock

logger = logging.getLogger(__name__)

_NOBODY_TO_ASK = Step(Stage.QUERY, "skipped", "no server to ask about this")
_MIRRORED = Step(Stage.PATTERN, "not_listed", "the local lists hold everything that the server serves")
_CACHED = Step(Stage.CACHE, "not_listed")
_MARGIN_S = 0.02  # the query ends this much before the budget, so that its own account of attempts is heard
_MEMO_S = 10.0
_MEMORY = 20_000  # recent subjects, and decisions, that are remembered


class Checker:
    """Checks subjects against one process's view, cache and servers.

    `budget_s` bounds a whole check; `stale_for_s` is how long after its expiry an answer may serve
    when nobody answers; past `stale_after_s` mirrored lists no longer replace a query.
    """

    def __init__(
        self,
        view: LocalView,
        lookup: Lookup,
        cache: AnswerCache,
        suffixes: Suffixes,
        clock: Clock,
        *,
        budget_s: float = 1.5,
        stale_for_s: float = 3600.0,
        stale_after_s: float = 86_400.0,
    ) -> None:
        self.view = view
        self.lookup = lookup
        self.cache = cache
        self._suffixes = suffixes
        self._clock = clock
        self._budget_s = budget_s
        self._stale_for_s = stale_for_s
        self._stale_after_s = stale_after_s
        self._subjects: LRU[str | bytes | tuple[str, str, str | bytes], UrlSubject] = LRU(_MEMORY)
        # (serial, from, until, tiers, decision): what a later look at the same subject would find again
        self._memo: LRU[object, tuple[int, float, float, tuple[Tier, ...], Decision]] = LRU(_MEMORY)

    def subject(self, raw: str | bytes) -> UrlSubject:
        """Make the subject of a URL, remembering recent ones. Never raise."""
        known = self._subjects.get(raw)
        if known is None:
            known = self._subjects[raw] = url_subject(raw, self._suffixes)
        return known

    def request_subject(self, scheme: str, host: str, path: str | bytes) -> UrlSubject:
        """Make the subject of a request from what a proxy will really use, remembering recent ones."""
        key = (scheme, host, path)
        known = self._subjects.get(key)
        if known is None:
            known = self._subjects[key] = url_subject_from_parts(scheme, host, path, self._suffixes)
        return known

    def check_now(self, subject: Subject, context: RequestContext) -> Decision | None:
        """Decide without waiting (stages 1 to 6); None when a server must be asked."""
        try:
            snapshot = self.view.current
            now = self._clock.now()
            tiers = self.lookup.tiers(subject.kind, context.cls)
            key: object = None
            if isinstance(subject, UrlSubject) and subject.problem is None:
                # by the text too, as a rule may look at the scheme; and by every hash, as a raw `#` adds some
                key = (
                    subject.canonical,
                    subject.hashes,
                    context.cls,
                    *((context.client, context.user) if snapshot.personal else ()),
                )
                memo = self._memo.get(key)
                if (
                    memo is not None
                    and memo[0] == snapshot.serial
                    and memo[1] <= now < memo[2]
                    and memo[3] is tiers
                ):
                    return memo[4]
            started = self._clock.monotonic()
            steps: list[Step] = []
            evidence = self._local(snapshot, subject, context, now, steps)
            until = now + _MEMO_S
            if evidence is None or is_open(snapshot, context, evidence):
                evidence, until = self._from_cache(
                    snapshot, subject, context, tiers, now, steps, until, evidence
                )
            if evidence is None:
                return None
            decision = self._decide(snapshot, context, evidence, now, started)
        except Exception as error:  # noqa: BLE001 - the boundary: unverifiable, counted, logged
            return self._broken(context, error)
        if key is not None:
            boundary = snapshot.next_boundary(now)
            until = until if boundary is None else min(until, boundary)
            self._memo[key] = (snapshot.serial, now, until, tiers, decision)
        return decision

    def check_local(self, subject: Subject, context: RequestContext) -> Decision:
        """Decide by what is here (stages 1 to 6) and ask nobody; what nothing lists is unknown.

        `block_untested` is about what was asked: a page's URL, a download. A body of which only its hash is
        looked up here is not blocked for being untested, else no page at all would come through.
        """
        return untested_passes(self._check_local(subject, context))

    def _check_local(self, subject: Subject, context: RequestContext) -> Decision:
        try:
            snapshot, now, started = self.view.current, self._clock.now(), self._clock.monotonic()
            tiers = self.lookup.tiers(subject.kind, context.cls)
            steps: list[Step] = []
            evidence = known = self._local(snapshot, subject, context, now, steps)
            if known is None or is_open(snapshot, context, known):
                evidence, _ = self._from_cache(snapshot, subject, context, tiers, now, steps, now, known)
            if evidence is None:
                fresh, _ = fresh_answers(self.cache, tiers, subject.kind, subject.hashes, now)
                finding = worst_finding(subject.hashes, context.cls, fresh)
                if finding is not None:
                    known = worse_of(known, from_finding(finding, Stage.CACHE, subject, steps, 0, now))
                    steps.append(listed_step(finding, Stage.CACHE))
                steps.append(Step(Stage.QUERY, "skipped", "looked up locally only"))
                if known is None or is_open(snapshot, context, known):
                    known = self._nothing_worse(subject, Stage.CACHE, steps, known)
                evidence = known
            return self._decide(snapshot, context, evidence, now, started)
        except Exception as error:  # noqa: BLE001 - the boundary: unverifiable, counted, logged
            return self._broken(context, error)

    async def check(self, subject: Subject, context: RequestContext) -> Decision:
        """Decide, asking servers when needed, within the budget. Never raise (but for cancellation)."""
        started = self._clock.monotonic()
        decision = self.check_now(subject, context)
        if decision is not None:
            return decision
        inquiry = self._inquiry(subject, context, started + self._budget_s - _MARGIN_S)
        try:
            try:
                async with asyncio.timeout(max(0.0, started + self._budget_s - self._clock.monotonic())):
                    await inquiry.run(
                        self.lookup.tiers(subject.kind, context.cls),
                        lambda: self._enough(subject, context, inquiry.questions[0].known),
                    )
            except TimeoutError:
                inquiry.cut()
            decision = self._conclude(subject, context, inquiry, started)
        except Exception as error:  # noqa: BLE001 - the boundary: unverifiable, counted, logged
            return self._broken(context, error)
        metrics.CHECK_SECONDS.observe(self._clock.monotonic() - started)
        return decision

    def knew(self, subject: Subject, evidence: Evidence) -> bool:
        """Return whether it was known here that a subject is listed; a rule decides before anybody looks."""
        if evidence.stage is not Stage.RULES:
            return evidence.verdict in (Verdict.MALICIOUS, Verdict.SUSPICIOUS)
        snapshot, now = self.view.current, self._clock.now()
        if snapshot.known_bad(subject.hashes, now) or snapshot.listed(subject.kind, subject.hashes, now):
            return True
        known, _ = fresh_answers(self.cache, tuple(Tier), subject.kind, subject.hashes, now)
        return worst_finding(subject.hashes, SubjectClass.PAGE, known) is not None

    def forget(self) -> None:
        """Drop remembered decisions, where an answer changed something that no snapshot shows."""
        self._memo.clear()

    def mirrored(self, snapshot: Snapshot, tier: Tier, kind: SubjectKind, now: float) -> bool:
        """Return whether the local pattern speaks for a tier ("mirrored lists need no query")."""
        return snapshot.pattern.covers(tier, kind, now, stale_after_s=self._stale_after_s)

    def _local(
        self, snapshot: Snapshot, subject: Subject, context: RequestContext, now: float, steps: list[Step]
    ) -> Evidence | None:
        evidence = local_evidence(
            snapshot, subject, context, now, steps, suffixes=self._suffixes, url_subject=self.subject
        )
        if (
            isinstance(subject, UrlSubject)
            and subject.problem is not None
            and (evidence is None or is_open(snapshot, context, evidence))
        ):
            refused = unverifiable(subject.problem, steps, stage=Stage.MALFORMED)
            policy = snapshot.policies.of(context.client, context.user)
            if policy.decide(refused, SubjectClass.MALFORMED).action is Action.BLOCK:
                return refused  # nobody needs to be asked about what is refused anyway
        return evidence

    def _from_cache(
        self,
        snapshot: Snapshot,
        subject: Subject,
        context: RequestContext,
        tiers: tuple[Tier, ...],
        now: float,
        steps: list[Step],
        until: float,
        known: Evidence | None,
    ) -> tuple[Evidence | None, float]:
        """Stage 6, and what needs no server at all; also until when the cached answers hold.

        `known` is a local listing that leaves the decision open.
        """
        to_ask = [tier for tier in tiers if not self.mirrored(snapshot, tier, subject.kind, now)]
        if not to_ask:
            if not tiers and self.lookup.awaited(subject.kind, context.cls):
                return None, until
            steps.append(_MIRRORED if tiers else _NOBODY_TO_ASK)
            return self._nothing_worse(subject, Stage.PATTERN, steps, known), until
        fresh, missing = fresh_answers(self.cache, to_ask, subject.kind, subject.hashes, now)
        for _, answer, _ in fresh:
            until = min(until, answer.expires_at)
        finding = worst_finding(subject.hashes, context.cls, fresh)
        if finding is not None:
            known = worse_of(known, from_finding(finding, Stage.CACHE, subject, steps, 0, now))
            if not is_open(snapshot, context, known):
                return known, until
        if missing:
            metrics.CACHE_MISSES.inc()
            return None, until
        metrics.CACHE_HITS.inc()
        steps.append(_CACHED if finding is None else listed_step(finding, Stage.CACHE))
        return self._nothing_worse(subject, Stage.CACHE, steps, known, server=fresh[0][1].server), until

    def _inquiry(self, subject: Subject, context: RequestContext, deadline: float) -> Inquiry:
        snapshot = self.view.current
        return Inquiry(
            self.lookup,
            self.cache,
            subject.kind,
            context.cls,
            (Question(subject.hashes),),
            mirrored=lambda tier: self.mirrored(snapshot, tier, subject.kind, self._clock.now()),
            now=self._clock.now,
            deadline=lambda: deadline,
            on_listed=self.forget,
        )

    def _enough(self, subject: Subject, context: RequestContext, known: list[Known]) -> bool:
        finding = worst_finding(subject.hashes, context.cls, known)
        if finding is None:
            return False
        evidence = from_finding(finding, Stage.QUERY, subject, (), 0, self._clock.now())
        decision = self.view.current.policies.of(context.client, context.user).decide(evidence, context.cls)
        return decision.action is Action.BLOCK or decision.would_block

    def _conclude(
        self, subject: Subject, context: RequestContext, inquiry: Inquiry, started: float
    ) -> Decision:
        """Decide by what the servers answered, or by stage 8 where that was too little."""
        snapshot, now = self.view.current, self._clock.now()
        steps: list[Step] = []
        # the view may have moved while we asked: what is known by now counts
        evidence = self._local(snapshot, subject, context, now, steps)
        if evidence is None or is_open(snapshot, context, evidence):
            steps += inquiry.steps
            evidence = self._from_answers(snapshot, subject, context, inquiry, steps, now, evidence)
        return self._decide(snapshot, context, evidence, now, started)

    def _from_answers(
        self,
        snapshot: Snapshot,
        subject: Subject,
        context: RequestContext,
        inquiry: Inquiry,
        steps: list[Step],
        now: float,
        known: Evidence | None,
    ) -> Evidence:
        question = inquiry.questions[0]
        finding = worst_finding(subject.hashes, context.cls, question.known)
        if finding is not None:
            known = worse_of(known, from_finding(finding, Stage.QUERY, subject, steps, inquiry.attempts, now))
            if not is_open(snapshot, context, known):
                return known
            steps.append(listed_step(finding, Stage.QUERY))
        if not inquiry.asked and self.lookup.awaited(subject.kind, context.cls):
            return unverifiable("no server can be reached from here", steps)
        if not question.failed:
            if finding is None:
                steps.append(Step(Stage.QUERY, "not_listed", inquiry.server))
            return self._nothing_worse(
                subject, Stage.QUERY, steps, known, server=inquiry.server, attempts=inquiry.attempts
            )
        stale: list[Known] = []
        for tier in question.failed:
            older = stale_answers(
                self.cache, tier, subject.kind, question.missing[tier], now, self._stale_for_s
            )
            if older is None:
                reason = "; ".join(f"{tier}: {error}" for tier, error in question.failed.items())
                return unverifiable(reason, steps, attempts=inquiry.attempts)
            stale += older
        finding = worst_finding(subject.hashes, context.cls, stale)
        if finding is None:
            steps.append(Step(Stage.CACHE, "not_listed", "expired, and no server answered"))
        else:
            known = worse_of(known, from_finding(finding, Stage.CACHE, subject, steps, inquiry.attempts, now))
            if not is_open(snapshot, context, known):
                return known
            steps.append(listed_step(finding, Stage.CACHE))
        server, attempts = stale[0][1].server, inquiry.attempts
        return self._nothing_worse(
            subject, Stage.CACHE, steps, known, server=server, stale=True, attempts=attempts
        )

    def _nothing_worse(
        self,
        subject: Subject,
        stage: Stage,
        steps: list[Step],
        known: Evidence | None,
        *,
        server: str | None = None,
        stale: bool = False,
        attempts: int = 0,
    ) -> Evidence:
        """Conclude that nobody lists it, or nobody as worse than what is known."""
        if isinstance(subject, UrlSubject) and subject.problem is not None:
            return unverifiable(subject.problem, steps, stage=Stage.MALFORMED, attempts=attempts)
        if known is not None:
            return replace(known, steps=tuple(steps), attempts=attempts)
        return unknown(stage, steps, server=server, stale=stale, attempts=attempts)

    def judge(
        self, context: RequestContext, evidence: Evidence, *, unverifiable: Action | None = None
    ) -> Decision:
        """Decide about evidence from elsewhere; `unverifiable` takes the place of the policy's."""
        return judge(self.view.current, context, evidence, self._clock.now(), unverifiable)

    def _decide(
        self, snapshot: Snapshot, context: RequestContext, evidence: Evidence, now: float, started: float
    ) -> Decision:
        return decide(snapshot, context, evidence, now, (self._clock.monotonic() - started) * 1000.0)

    def _broken(self, context: RequestContext, error: Exception) -> Decision:
        """An internal error is "unverifiable": counted, logged, and judged by the policy."""
        metrics.INTERNAL_ERRORS.inc()
        logger.error("a check failed inside; treated as unverifiable", exc_info=error)
        evidence = unverifiable("internal error", ())
        try:
            return self.view.current.policies.of(context.client, context.user).decide(evidence, context.cls)
        except Exception:
            logger.exception("the policy failed too; refusing")
            return Decision(Action.BLOCK, evidence, reason="internal error")
