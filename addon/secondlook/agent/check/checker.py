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
from typing import NamedTuple

from lru import LRU

from secondlook.agent import metrics
from secondlook.agent.check.case import Case
from secondlook.agent.check.deciding import decide, judge, untested_passes
from secondlook.agent.check.evidence import from_finding, listed_step, unverifiable, worse_of, worst_finding
from secondlook.agent.check.inquiry import Inquiry, Known, Question, fresh_answers, stale_answers
from secondlook.agent.check.stages import local_evidence
from secondlook.agent.check.view import LocalView, Snapshot
from secondlook.agent.ports import Lookup
from secondlook.core.answer import Tier
from secondlook.core.asking.cache import AnswerCache
from secondlook.core.subject import RequestContext, Subject, SubjectKind, UrlSubject
from secondlook.core.url.canonical import url_subject, url_subject_from_parts
from secondlook.core.url.expression import Suffixes
from secondlook.core.verdict import Action, Decision, Evidence, Stage, Step, SubjectClass, Verdict
from secondlook.ground.clock import Clock

logger = logging.getLogger(__name__)

_NOBODY_TO_ASK = Step(Stage.QUERY, "skipped", "no server to ask about this")
_MIRRORED = Step(Stage.PATTERN, "not_listed", "the local lists hold everything that the server serves")
_CACHED = Step(Stage.CACHE, "not_listed")
_MARGIN_S = 0.02  # the query ends this much before the budget, so that its own account of attempts is heard
_MEMO_S = 10.0
_MEMORY = 20_000  # recent subjects, and decisions, that are remembered


class _Decided(NamedTuple):
    """A decision that a later look at the same subject would find again, and what it holds by."""

    serial: int  # of the snapshot
    since: float
    until: float
    tiers: tuple[Tier, ...]
    decision: Decision


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
        self._memo: LRU[object, _Decided] = LRU(_MEMORY)

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
                    and memo.serial == snapshot.serial
                    and memo.since <= now < memo.until
                    and memo.tiers is tiers
                ):
                    return memo.decision
            case = Case(snapshot, subject, context, now, self._clock.monotonic(), [])
            evidence = self._local(case)
            until = now + _MEMO_S
            if evidence is None or case.is_open(evidence):
                evidence, until = self._from_cache(case, tiers, until, evidence)
            if evidence is None:
                return None
            decision = self._decide(case, evidence)
        except Exception as error:  # noqa: BLE001 - the boundary: unverifiable, counted, logged
            return self._broken(context, error)
        if key is not None:
            boundary = snapshot.next_boundary(now)
            until = until if boundary is None else min(until, boundary)
            self._memo[key] = _Decided(snapshot.serial, now, until, tiers, decision)
        return decision

    def check_local(self, subject: Subject, context: RequestContext) -> Decision:
        """Decide by what is here (stages 1 to 6) and ask nobody; what nothing lists is unknown.

        `block_untested` is about what was asked: a page's URL, a download. A body of which only its hash is
        looked up here is not blocked for being untested, else no page at all would come through.
        """
        return untested_passes(self._check_local(subject, context))

    def _check_local(self, subject: Subject, context: RequestContext) -> Decision:
        try:
            case = self._begin(subject, context, self._clock.monotonic())
            tiers = self.lookup.tiers(subject.kind, context.cls)
            evidence = known = self._local(case)
            if known is None or case.is_open(known):
                evidence, _ = self._from_cache(case, tiers, case.now, known)
            if evidence is None:
                fresh, _ = fresh_answers(self.cache, tiers, subject.kind, subject.hashes, case.now)
                finding = worst_finding(subject.hashes, context.cls, fresh)
                if finding is not None:
                    known = worse_of(known, case.from_finding(finding, Stage.CACHE))
                    case.steps.append(listed_step(finding, Stage.CACHE))
                case.steps.append(Step(Stage.QUERY, "skipped", "looked up locally only"))
                if known is None or case.is_open(known):
                    known = case.nothing_worse(Stage.CACHE, known)
                evidence = known
            return self._decide(case, evidence)
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

    def _begin(self, subject: Subject, context: RequestContext, started: float) -> Case:
        return Case(self.view.current, subject, context, self._clock.now(), started, [])

    def _local(self, case: Case) -> Evidence | None:
        snapshot, subject, context = case.snapshot, case.subject, case.context
        evidence = local_evidence(
            snapshot,
            subject,
            context,
            case.now,
            case.steps,
            suffixes=self._suffixes,
            url_subject=self.subject,
        )
        if (
            isinstance(subject, UrlSubject)
            and subject.problem is not None
            and (evidence is None or case.is_open(evidence))
        ):
            refused = unverifiable(subject.problem, case.steps, stage=Stage.MALFORMED)
            policy = snapshot.policies.of(context.client, context.user)
            if policy.decide(refused, SubjectClass.MALFORMED).action is Action.BLOCK:
                return refused  # nobody needs to be asked about what is refused anyway
        return evidence

    def _from_cache(
        self, case: Case, tiers: tuple[Tier, ...], until: float, known: Evidence | None
    ) -> tuple[Evidence | None, float]:
        """Stage 6, and what needs no server at all; also until when the cached answers hold.

        `known` is a local listing that leaves the decision open.
        """
        subject, cls = case.subject, case.context.cls
        to_ask = [tier for tier in tiers if not self.mirrored(case.snapshot, tier, subject.kind, case.now)]
        if not to_ask:
            if not tiers and self.lookup.awaited(subject.kind, cls):
                return None, until
            case.steps.append(_MIRRORED if tiers else _NOBODY_TO_ASK)
            return case.nothing_worse(Stage.PATTERN, known), until
        fresh, missing = fresh_answers(self.cache, to_ask, subject.kind, subject.hashes, case.now)
        for _, answer, _ in fresh:
            until = min(until, answer.expires_at)
        finding = worst_finding(subject.hashes, cls, fresh)
        if finding is not None:
            known = worse_of(known, case.from_finding(finding, Stage.CACHE))
            if not case.is_open(known):
                return known, until
        if missing:
            metrics.CACHE_MISSES.inc()
            return None, until
        metrics.CACHE_HITS.inc()
        case.steps.append(_CACHED if finding is None else listed_step(finding, Stage.CACHE))
        return case.nothing_worse(Stage.CACHE, known, server=fresh[0][1].server), until

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
        # the view may have moved while we asked: what is known by now counts
        case = self._begin(subject, context, started)
        evidence = self._local(case)
        if evidence is None or case.is_open(evidence):
            case.steps.extend(inquiry.steps)
            evidence = self._from_answers(case, inquiry, evidence)
        return self._decide(case, evidence)

    def _from_answers(self, case: Case, inquiry: Inquiry, known: Evidence | None) -> Evidence:
        subject, cls, steps, attempts = case.subject, case.context.cls, case.steps, inquiry.attempts
        question = inquiry.questions[0]
        finding = worst_finding(subject.hashes, cls, question.known)
        if finding is not None:
            known = worse_of(known, case.from_finding(finding, Stage.QUERY, attempts))
            if not case.is_open(known):
                return known
            steps.append(listed_step(finding, Stage.QUERY))
        if not inquiry.asked and self.lookup.awaited(subject.kind, cls):
            return unverifiable("no server can be reached from here", steps)
        if not question.failed:
            if finding is None:
                steps.append(Step(Stage.QUERY, "not_listed", inquiry.server))
            return case.nothing_worse(Stage.QUERY, known, server=inquiry.server, attempts=attempts)
        stale: list[Known] = []
        for tier in question.failed:
            older = stale_answers(
                self.cache, tier, subject.kind, question.missing[tier], case.now, self._stale_for_s
            )
            if older is None:
                reason = "; ".join(f"{tier}: {error}" for tier, error in question.failed.items())
                return unverifiable(reason, steps, attempts=attempts)
            stale += older
        finding = worst_finding(subject.hashes, cls, stale)
        if finding is None:
            steps.append(Step(Stage.CACHE, "not_listed", "expired, and no server answered"))
        else:
            known = worse_of(known, case.from_finding(finding, Stage.CACHE, attempts))
            if not case.is_open(known):
                return known
            steps.append(listed_step(finding, Stage.CACHE))
        return case.nothing_worse(
            Stage.CACHE, known, server=stale[0][1].server, stale=True, attempts=attempts
        )

    def judge(
        self, context: RequestContext, evidence: Evidence, *, unverifiable: Action | None = None
    ) -> Decision:
        """Decide about evidence from elsewhere; `unverifiable` takes the place of the policy's."""
        return judge(self.view.current, context, evidence, self._clock.now(), unverifiable)

    def _decide(self, case: Case, evidence: Evidence) -> Decision:
        elapsed_ms = (self._clock.monotonic() - case.started) * 1000.0
        return decide(case.snapshot, case.context, evidence, case.now, elapsed_ms)

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
