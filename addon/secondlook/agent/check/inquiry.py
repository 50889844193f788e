"""Stages 6 to 8: what earlier answers hold, and asking the servers for the rest.

A check asks about one subject, the second look about thousands: both are an `Inquiry` over `Question`s.

```
tier ─► mirrored by the local lists? ─► nothing to ask
     ─► cache ─► prefixes without a fresh answer, in requests of at most `most`
     ─► questions that a tier left open are asked of the tier that stands in for it, if there is one
```

What was learnt is in the questions and stays there when the budget of a check cuts in.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field

from secondlook.agent.check.evidence import attempt_steps
from secondlook.agent.ports import Lookup
from secondlook.core.answer import GOOGLE, GOOGLE_FRESH_S, MOST_PREFIXES, PrefixAnswer, Tier
from secondlook.core.asking.cache import AnswerCache
from secondlook.core.digest import PREFIX_BYTES
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import Step, SubjectClass

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


@dataclass(slots=True)
class Question:
    """One subject that is asked about, by its hashes: what is known, and which tiers left something open."""

    hashes: tuple[bytes, ...]
    known: list[Known] = field(default_factory=list)
    missing: dict[Tier, list[bytes]] = field(default_factory=dict)  # prefixes that a tier has not answered
    failed: dict[Tier, str] = field(default_factory=dict)  # why it has not

    def take(self, tier: Tier, found: Mapping[bytes, PrefixAnswer], error: str | None) -> None:
        """Take what a tier answered about the missing prefixes."""
        left = []
        for prefix in self.missing.pop(tier):
            answer = found.get(prefix)
            if answer is None:
                left.append(prefix)
            else:
                self.known.append((tier, answer, False))
        if left:
            self.missing[tier] = left
            self.failed[tier] = error or "some prefixes stayed unanswered"


@dataclass(eq=False)
class Inquiry:
    """Asks about subjects of one kind and class of use.

    `mirrored` reports which tiers the local pattern speaks for; `deadline` gives the end of a request that
    begins now (monotonic seconds); `on_listed` is called after each answer that lists anything at all.
    """

    lookup: Lookup
    cache: AnswerCache
    kind: SubjectKind
    cls: SubjectClass
    questions: Sequence[Question]
    _: KW_ONLY
    mirrored: Callable[[Tier], bool]
    now: Callable[[], float]
    deadline: Callable[[], float]
    most: int = MOST_PREFIXES
    on_listed: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        self.steps: list[Step] = []
        self.attempts = 0
        self.server: str | None = None  # that answered last
        self.asked: set[Tier] = set()

    async def run(self, tiers: Sequence[Tier], enough: Callable[[], bool] | None = None) -> None:
        """Ask these tiers: all at once until `enough` is known; without it one after the other."""
        self.asked.update(tiers)
        if enough is None or len(tiers) == 1:
            for tier in tiers:
                await self._ask(tier, self.questions)
            return
        tasks = {asyncio.ensure_future(self._ask(tier, self.questions)) for tier in tiers}
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
        for question in self.questions:
            for tier in question.missing:
                question.failed.setdefault(tier, "no answer within the budget")

    async def _ask(self, tier: Tier, questions: Sequence[Question]) -> None:
        if self.mirrored(tier):
            return
        unanswered: list[Question] = []
        for number, chunk in enumerate(self._chunks(tier, questions)):
            if number:
                await asyncio.sleep(0)  # traffic in the same process gets its turn
            await self._request(tier, chunk)
            unanswered += [question for question in chunk if tier in question.failed]
        other = self.lookup.fallback(tier, self.kind, self.cls) if unanswered else None
        if other is None or other in self.asked:
            return
        self.asked.add(other)
        await self._ask(other, unanswered)
        for question in unanswered:
            if other not in question.failed:
                del question.failed[tier]

    def _chunks(self, tier: Tier, questions: Sequence[Question]) -> Iterator[list[Question]]:
        """Take what the cache knows, and cut the questions that stay open into requests."""
        # lazily: what one request brings, the next need not ask for
        chunk: list[Question] = []
        size = 0
        for question in questions:
            known, missing = fresh_answers(self.cache, (tier,), self.kind, question.hashes, self.now())
            question.known += known
            if tier not in missing:
                continue
            question.missing |= (
                missing  # before the request: a budget that ends meanwhile finds who was silent
            )
            if chunk and size + len(missing[tier]) > self.most:
                yield chunk
                chunk, size = [], 0
            chunk.append(question)
            size += len(missing[tier])
        if chunk:
            yield chunk

    async def _request(self, tier: Tier, chunk: Sequence[Question]) -> None:
        prefixes = list(dict.fromkeys(prefix for question in chunk for prefix in question.missing[tier]))
        answer = await self.lookup.ask(tier, self.kind, self.cls, prefixes, deadline=self.deadline())
        self.attempts += len(answer.attempts)
        self.steps += attempt_steps(tier, answer.attempts)
        found: dict[bytes, PrefixAnswer] = {}
        for prefix in prefixes:  # an answer about what was not asked is left where it is
            if prefix in answer.answers:
                kept = found[prefix] = self.cache.put(tier, self.kind, prefix, answer.answers[prefix])
                self.server = kept.server
        for question in chunk:
            question.take(tier, found, answer.error)
        if self.on_listed is not None and any(kept.listed for kept in found.values()):
            self.on_listed()
