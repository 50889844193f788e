"""Looking again at many subjects at once, by their hashes alone.

Stages 3 to 7 without the operator's rules, without the confirmed set and without stale answers: the question
is what the lists and the servers hold *now*. All prefixes of a batch go out in requests of at most 1000.

As in a check, a listing ends it that the common policy blocks; with a milder one everybody is heard.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from secondlook.agent.check.evidence import (
    from_finding,
    from_pattern,
    unknown,
    unverifiable,
    worse_of,
    worst_finding,
)
from secondlook.agent.check.inquiry import Inquiry, Question
from secondlook.agent.check.view import LocalView, Snapshot
from secondlook.agent.ports import Lookup
from secondlook.core.answer import MOST_PREFIXES
from secondlook.core.asking.cache import AnswerCache
from secondlook.core.event import FlagEntry, QueueEntry
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import Evidence, Stage, SubjectClass
from secondlook.ground.clock import Clock

_TIMEOUT_S = 10.0  # of one request, with all its attempts
PAUSE_EVERY = 100  # subjects between two chances for others on the event loop


class Hit(NamedTuple):
    """A confirmed entry as something to judge: the listed hash alone."""

    kind: SubjectKind
    cls: SubjectClass
    hashes: tuple[bytes, ...]


class BatchCheck:
    """Checks batches."""

    def __init__(
        self,
        view: LocalView,
        lookup: Lookup,
        cache: AnswerCache,
        clock: Clock,
        *,
        batch: int = MOST_PREFIXES,
        stale_after_s: float = 86_400.0,
    ) -> None:
        self.view = view
        self.lookup = lookup
        self._cache = cache
        self._clock = clock
        self._batch = min(batch, MOST_PREFIXES)
        self._stale_after_s = stale_after_s

    async def check(self, entries: Sequence[QueueEntry | FlagEntry | Hit]) -> list[Evidence]:
        """Return the evidence about each entry, in order. Never raise for what a server does."""
        found: dict[int, Evidence] = {}  # of the lists alone, until somebody was asked
        groups: dict[tuple[SubjectKind, SubjectClass], dict[int, Question]] = {}
        snapshot = self.view.current
        for number, entry in enumerate(entries):
            listed = in_pattern(snapshot, entry.kind, entry.hashes, self._clock.now())
            if listed is not None:
                found[number] = listed
            if listed is None or not snapshot.policies.common.blocks(listed.risk):
                groups.setdefault((entry.kind, entry.cls), {})[number] = Question(entry.hashes)
            if number % PAUSE_EVERY == PAUSE_EVERY - 1:
                await asyncio.sleep(0)
        for (kind, cls), questions in groups.items():
            reason = await self._ask(snapshot, kind, cls, list(questions.values()))
            for number, question in questions.items():
                found[number] = self._conclude(snapshot, cls, question, found.get(number), reason)
        return [found[number] for number in range(len(entries))]

    async def _ask(
        self, snapshot: Snapshot, kind: SubjectKind, cls: SubjectClass, questions: list[Question]
    ) -> str | None:
        """Ask; return why nobody could be asked at all."""
        tiers = self.lookup.tiers(kind, cls)
        if not tiers:  # whoever was to be asked may come back into the configuration: silence clears nothing
            if self.lookup.awaited(kind, cls):
                return "no server can be reached from here"
            return "no server is left to ask about this"
        inquiry = Inquiry(
            self.lookup,
            self._cache,
            kind,
            cls,
            questions,
            # by the lists that were looked into: those that come meanwhile were not
            mirrored=lambda tier: snapshot.pattern.covers(
                tier, kind, self._clock.now(), stale_after_s=self._stale_after_s
            ),
            now=self._clock.now,
            deadline=lambda: self._clock.monotonic() + _TIMEOUT_S,
            most=self._batch,
        )
        await inquiry.run(tiers)
        return None

    def _conclude(
        self,
        snapshot: Snapshot,
        cls: SubjectClass,
        question: Question,
        known: Evidence | None,
        unasked: str | None,
    ) -> Evidence:
        """Conclude about one question; `known` is a milder listing of the local pattern."""
        finding = worst_finding(question.hashes, cls, question.known)
        if finding is not None:
            known = worse_of(known, from_finding(finding, Stage.QUERY, None, (), 0, self._clock.now()))
            if snapshot.policies.common.blocks(known.risk):
                return known
        if unasked is not None:
            return unverifiable(unasked, ())
        for tier, error in reversed(question.failed.items()):
            return unverifiable(f"{tier}: {error}", ())
        if known is not None:
            return known
        if not question.known:
            return unknown(Stage.PATTERN, ())
        return unknown(Stage.QUERY, (), server=question.known[0][1].server)


def in_pattern(snapshot: Snapshot, kind: SubjectKind, hashes: Sequence[bytes], now: float) -> Evidence | None:
    """Return stage 3 about hashes alone."""
    hit = snapshot.listed(kind, hashes, now)
    return None if hit is None else from_pattern(hit.info, hit.full_hash, None, (), now)
