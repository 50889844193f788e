"""Looking again at many subjects at once, by their hashes alone.

Stages 3 to 7 without the operator's rules, without the confirmed set and without stale answers: the
question is what the lists and the servers say *now*. All prefixes of a batch go out in requests of at
most 1000.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from secondlook.agent.check.evidence import from_finding, unknown, unverifiable, verdict_of, worst_finding
from secondlook.agent.check.inquiry import Known, fresh_answers
from secondlook.agent.check.view import GOOGLE, GOOGLE_FRESH_S, LocalView, Snapshot
from secondlook.agent.ports import Lookup
from secondlook.core.asking.answer import PrefixAnswer, Tier
from secondlook.core.asking.cache import AnswerCache
from secondlook.core.subject import FileSubject, SubjectKind
from secondlook.core.verdict import Evidence, Stage, Step, SubjectClass, Verdict
from secondlook.ground.clock import Clock

MOST_PREFIXES = 1000  # in one request, by the protocol
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


@dataclass(slots=True)
class _Tally:
    """What is known about one subject of a batch."""

    known: list[Known]
    open: str | None = None  # why some prefix stayed unanswered


class Judge:
    """Judges batches; `timeout_s` bounds each request, with all its attempts."""

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

    def mirrored(self, tier: Tier, kind: SubjectKind) -> bool:
        """Whether the local pattern speaks for a tier."""
        return self.view.current.pattern.covers(
            tier, kind, self._clock.now(), stale_after_s=self._stale_after_s
        )

    async def judge(self, entries: Sequence[Hashed]) -> list[Evidence]:
        """Give the evidence about each entry, in order; never raises for what a server does."""
        found: list[Evidence | None] = [None] * len(entries)
        groups: dict[tuple[SubjectKind, SubjectClass], list[int]] = {}
        snapshot = self.view.current
        for number, entry in enumerate(entries):
            found[number] = in_pattern(snapshot, entry.kind, entry.hashes, self._clock.now())
            if found[number] is None:
                groups.setdefault((entry.kind, entry.cls), []).append(number)
            if number % PAUSE_EVERY == PAUSE_EVERY - 1:
                await asyncio.sleep(0)
        for (kind, cls), numbers in groups.items():
            for number, evidence in zip(
                numbers,
                await self._judge_group(kind, cls, [entries[number].hashes for number in numbers]),
                strict=True,
            ):
                found[number] = evidence
        return [evidence for evidence in found if evidence is not None]

    async def _judge_group(
        self, kind: SubjectKind, cls: SubjectClass, subjects: list[tuple[bytes, ...]]
    ) -> list[Evidence]:
        tiers = self.lookup.tiers(kind, cls)
        if not tiers:  # whoever was to be asked may come back into the configuration: silence clears nothing
            reason = "no server is left to ask about this"
            if self.lookup.awaited(kind, cls):
                reason = "no server can be reached from here"
            return [unverifiable(reason, ()) for _ in subjects]
        tallies = [_Tally([]) for _ in subjects]
        for tier in tiers:
            await self._ask_tier(tier, kind, cls, subjects, tallies, asked=set(tiers))
        return [self._conclude(hashes, cls, tally) for hashes, tally in zip(subjects, tallies, strict=True)]

    async def _ask_tier(
        self,
        tier: Tier,
        kind: SubjectKind,
        cls: SubjectClass,
        subjects: list[tuple[bytes, ...]],
        tallies: list[_Tally],
        *,
        asked: set[Tier],
    ) -> None:
        if self.mirrored(tier, kind):
            return
        failed: list[int] = []
        reason = ""
        for chunk in self._chunks(tier, kind, subjects):
            missing = list(dict.fromkeys(prefix for _, _, prefixes in chunk for prefix in prefixes))
            answers, error = await self._request(tier, kind, cls, missing)
            reason = error or reason
            for number, known, prefixes in chunk:
                answered = [(tier, answers[prefix], False) for prefix in prefixes if prefix in answers]
                tallies[number].known += known + answered
                if len(answered) < len(prefixes):
                    failed.append(number)
            await asyncio.sleep(0)
        if not failed:
            return
        other = self.lookup.fallback(tier, kind, cls)
        if other is None or other in asked:
            for number in failed:
                tallies[number].open = f"{tier}: {reason}"
            return
        rest = [tallies[number] for number in failed]
        await self._ask_tier(
            other, kind, cls, [subjects[number] for number in failed], rest, asked=asked | {other}
        )

    async def _request(
        self, tier: Tier, kind: SubjectKind, cls: SubjectClass, prefixes: list[bytes]
    ) -> tuple[dict[bytes, PrefixAnswer], str]:
        if not prefixes:
            return {}, ""
        deadline = self._clock.monotonic() + self._timeout_s
        answer = await self.lookup.ask(tier, kind, cls, prefixes, deadline=deadline)
        kept: dict[bytes, PrefixAnswer] = {}
        for prefix in prefixes:
            found = answer.answers.get(prefix)
            if found is not None:
                kept[prefix] = self._cache.put(tier, kind, prefix, found)
        return kept, answer.error or "some prefixes stayed unanswered"

    def _chunks(
        self, tier: Tier, kind: SubjectKind, subjects: list[tuple[bytes, ...]]
    ) -> Iterable[list[tuple[int, list[Known], list[bytes]]]]:
        """Cut a group into requests: (number, what the cache knows, prefixes to ask)."""
        chunk: list[tuple[int, list[Known], list[bytes]]] = []
        size = 0
        for number, hashes in enumerate(subjects):
            known, missing = fresh_answers(self._cache, (tier,), kind, hashes, self._clock.now())
            prefixes = missing.get(tier, [])
            if chunk and size + len(prefixes) > self._batch:
                yield chunk
                chunk, size = [], 0
            chunk.append((number, known, prefixes))
            size += len(prefixes)
        if chunk:
            yield chunk

    def _conclude(self, hashes: tuple[bytes, ...], cls: SubjectClass, tally: _Tally) -> Evidence:
        finding = worst_finding(hashes, cls, tally.known)
        if finding is not None:
            subject = FileSubject(hashes, labels=())
            return from_finding(finding, Stage.QUERY, subject, (), 0, self._clock.now())
        if tally.open is not None:
            return unverifiable(tally.open, ())
        server = tally.known[0][1].server if tally.known else None
        return unknown(Stage.QUERY if tally.known else Stage.PATTERN, (), server=server)


def in_pattern(snapshot: Snapshot, kind: SubjectKind, hashes: Sequence[bytes], now: float) -> Evidence | None:
    """Give stage 3 about hashes alone."""
    hit = snapshot.pattern.block_hit(kind, hashes)
    if hit is None or (hit.info.source == GOOGLE and now - hit.info.confirmed_at > GOOGLE_FRESH_S):
        return None
    info = hit.info
    return Evidence(
        verdict=verdict_of(info.risk),
        risk=info.risk,
        stage=Stage.PATTERN,
        threat=info.threat,
        list=info.name,
        server=info.server,
        source=info.source,
        tier=info.tier,
        list_age_s=max(0.0, now - info.confirmed_at),
        hit=hit.full_hash,
        steps=(Step(Stage.PATTERN, "hit", info.name),),
    )


def is_listed(evidence: Evidence) -> bool:
    """Whether evidence says that something is bad."""
    return evidence.verdict in (Verdict.MALICIOUS, Verdict.SUSPICIOUS)
