"""Looking again at many subjects at once, by their hashes alone.

Stages 3 to 7 without the operator's rules, without the confirmed set and without stale answers: the
question is what the lists and the servers hold *now*. All prefixes of a batch go out in requests of at
most 1000.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from secondlook.agent.check.evidence import from_finding, from_pattern, unknown, unverifiable, worst_finding
from secondlook.agent.check.inquiry import Inquiry, Question
from secondlook.agent.check.view import LocalView, Snapshot
from secondlook.agent.ports import Lookup
from secondlook.core.answer import MOST_PREFIXES
from secondlook.core.asking.cache import AnswerCache
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import Evidence, Stage, SubjectClass
from secondlook.ground.clock import Clock

PAUSE_EVERY = 100  # subjects between two chances for others on the event loop


class Hashed(Protocol):
    """What can be looked at again: a queue entry, or a remembered subject."""

    @property
    def kind(self) -> SubjectKind:
        """Kind of subject."""
        ...

    @property
    def cls(self) -> SubjectClass:
        """Class of use."""
        ...

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """Every full hash to ask about, identity first."""
        ...


class BatchCheck:
    """Checks batches; `timeout_s` bounds each request, with all its attempts."""

    def __init__(
        self,
        view: LocalView,
        lookup: Lookup,
        cache: AnswerCache,
        clock: Clock,
        *,
        batch: int = MOST_PREFIXES,
        timeout_s: float = 10.0,
        stale_after_s: float = 86_400.0,
    ) -> None:
        self.view = view
        self.lookup = lookup
        self._cache = cache
        self._clock = clock
        self._batch = min(batch, MOST_PREFIXES)
        self._timeout_s = timeout_s
        self._stale_after_s = stale_after_s

    async def check(self, entries: Sequence[Hashed]) -> list[Evidence]:
        """Return the evidence about each entry, in order. Never raise for what a server does."""
        found: list[Evidence | None] = [None] * len(entries)
        groups: dict[tuple[SubjectKind, SubjectClass], dict[int, Question]] = {}
        snapshot = self.view.current
        for number, entry in enumerate(entries):
            found[number] = in_pattern(snapshot, entry.kind, entry.hashes, self._clock.now())
            if found[number] is None:
                groups.setdefault((entry.kind, entry.cls), {})[number] = Question(entry.hashes)
            if number % PAUSE_EVERY == PAUSE_EVERY - 1:
                await asyncio.sleep(0)
        for (kind, cls), questions in groups.items():
            answers = await self._ask(kind, cls, list(questions.values()))
            for number, evidence in zip(questions, answers, strict=True):
                found[number] = evidence
        return [evidence for evidence in found if evidence is not None]

    async def _ask(self, kind: SubjectKind, cls: SubjectClass, questions: list[Question]) -> list[Evidence]:
        tiers = self.lookup.tiers(kind, cls)
        if not tiers:  # whoever was to be asked may come back into the configuration: silence clears nothing
            reason = "no server is left to ask about this"
            if self.lookup.awaited(kind, cls):
                reason = "no server can be reached from here"
            return [unverifiable(reason, ()) for _ in questions]
        inquiry = Inquiry(
            self.lookup,
            self._cache,
            kind,
            cls,
            questions,
            mirrored=lambda tier: self.view.current.pattern.covers(
                tier, kind, self._clock.now(), stale_after_s=self._stale_after_s
            ),
            now=self._clock.now,
            deadline=lambda: self._clock.monotonic() + self._timeout_s,
            most=self._batch,
        )
        await inquiry.run(tiers)
        return [self._conclude(question, cls) for question in questions]

    def _conclude(self, question: Question, cls: SubjectClass) -> Evidence:
        finding = worst_finding(question.hashes, cls, question.known)
        if finding is not None:
            return from_finding(finding, Stage.QUERY, None, (), 0, self._clock.now())
        for tier, error in reversed(question.failed.items()):
            return unverifiable(f"{tier}: {error}", ())
        if not question.known:
            return unknown(Stage.PATTERN, ())
        return unknown(Stage.QUERY, (), server=question.known[0][1].server)


def in_pattern(snapshot: Snapshot, kind: SubjectKind, hashes: Sequence[bytes], now: float) -> Evidence | None:
    """Return stage 3 about hashes alone."""
    hit = snapshot.listed(kind, hashes, now)
    return None if hit is None else from_pattern(hit.info, hit.full_hash, None, (), now)
