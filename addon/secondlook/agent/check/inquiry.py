"""Stage 7: one check's questions to the servers.

Every tier that has to answer is asked at once, each about the prefixes that no fresh answer covers; a
tier that gives no answer may name another in its place. What was learnt stays when the budget cuts in.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from secondlook.agent.check.evidence import attempt_steps
from secondlook.agent.check.view import GOOGLE, GOOGLE_FRESH_S
from secondlook.agent.ports import Lookup
from secondlook.core.asking.answer import PrefixAnswer, Tier, TierAnswer
from secondlook.core.asking.cache import AnswerCache
from secondlook.core.subject import Subject, SubjectKind, Use
from secondlook.core.verdict import Step

PREFIX_BYTES = 4

type Known = tuple[Tier, PrefixAnswer, bool]  # who answered, what, whether it is past its expiry


def prefixes_of(hashes: Iterable[bytes]) -> list[bytes]:
    """Cut full hashes to the 4 bytes that may leave the machine; each once, in order."""
    return list(dict.fromkeys(full_hash[:PREFIX_BYTES] for full_hash in hashes))


def fresh_answers(
    cache: AnswerCache, tiers: Iterable[Tier], kind: SubjectKind, hashes: Iterable[bytes], now: float
) -> tuple[list[Known], dict[Tier, list[bytes]]]:
    """Stage 6: answers that still hold, and for each tier the prefixes without one."""
    known: list[Known] = []
    missing: dict[Tier, list[bytes]] = {}
    prefixes = prefixes_of(hashes)
    for tier in tiers:
        for prefix in prefixes:
            answer = cache.get(tier, kind, prefix, now)
            if answer is None:
                missing.setdefault(tier, []).append(prefix)
            else:
                known.append((tier, answer, False))
    return known, missing


def stale_answers(
    cache: AnswerCache,
    tier: Tier,
    kind: SubjectKind,
    prefixes: Sequence[bytes],
    now: float,
    stale_for_s: float,
) -> list[Known] | None:
    """Stage 8: expired answers of a tier, young enough to serve; None unless every prefix has one."""
    known: list[Known] = []
    for prefix in prefixes:
        answer = cache.stale(tier, kind, prefix, now, stale_for_s)
        if answer is None or (answer.source == GOOGLE and now - answer.stored_at > GOOGLE_FRESH_S):
            return None
        known.append((tier, answer, True))
    return known


class Inquiry:
    """Asks for one subject; `known` and `failed` grow while it runs and stay when it is cut short.

    `mirrored` tells which tiers the local pattern speaks for; `on_listed` is called once when an answer
    lists anything at all.
    """

    def __init__(
        self,
        lookup: Lookup,
        cache: AnswerCache,
        subject: Subject,
        use: Use,
        *,
        mirrored: Callable[[Tier], bool],
        now: Callable[[], float],
        on_listed: Callable[[], None],
    ) -> None:
        self._lookup = lookup
        self._cache = cache
        self._subject = subject
        self._use = use
        self._mirrored = mirrored
        self._now = now
        self._on_listed = on_listed
        self.known: list[Known] = []
        self.failed: dict[Tier, str] = {}
        self.missing: dict[Tier, list[bytes]] = {}  # what a failed tier did not answer
        self.steps: list[Step] = []
        self.attempts = 0
        self.server: str | None = None
        self.asked: set[Tier] = set()

    async def run(self, tiers: Sequence[Tier], deadline: float, enough: Callable[[], bool]) -> None:
        """Ask these tiers until all have spoken, `enough` is known, or `deadline` (monotonic seconds)."""
        self.asked.update(tiers)
        if len(tiers) == 1:
            await self._ask(tiers[0], deadline)
            return
        tasks = {asyncio.ensure_future(self._ask(tier, deadline)) for tier in tiers}
        try:
            waiting = tasks
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                if enough():
                    return
        finally:
            for task in tasks:
                task.cancel()

    def cut(self) -> None:
        """Note that the budget ended before everybody had spoken."""
        for tier in self.missing:
            self.failed.setdefault(tier, "no answer within the budget")

    async def _ask(self, tier: Tier, deadline: float) -> None:
        subject, use = self._subject, self._use
        if self._mirrored(tier):
            return
        known, missing = fresh_answers(self._cache, (tier,), subject.kind, subject.hashes, self._now())
        self.known += known
        prefixes = missing.get(tier)
        if not prefixes:
            return
        self.missing[tier] = prefixes
        answer = await self._lookup.ask(tier, subject.kind, use.cls, prefixes, deadline=deadline)
        self._take(answer, tier, prefixes)
        if tier not in self.failed:
            return
        other = self._lookup.fallback(tier, subject.kind, use.cls)
        if other is None or other in self.asked:
            return
        self.asked.add(other)
        await self._ask(other, deadline)
        if other not in self.failed:
            del self.failed[tier]

    def _take(self, answer: TierAnswer, tier: Tier, prefixes: Sequence[bytes]) -> None:
        self.attempts += len(answer.attempts)
        self.steps += attempt_steps(tier, answer.attempts)
        left = []
        listed = False
        for prefix in prefixes:
            found = answer.answers.get(prefix)
            if found is None:
                left.append(prefix)
                continue
            found = self._cache.put(tier, self._subject.kind, prefix, found)
            self.known.append((tier, found, False))
            self.server = found.server
            listed = listed or bool(found.listed)
        if listed:
            self._on_listed()
        if left:
            self.missing[tier] = left
            self.failed[tier] = answer.error or "some prefixes stayed unanswered"
        else:
            del self.missing[tier]
