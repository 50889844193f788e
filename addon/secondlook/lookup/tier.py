"""The servers of one tier, asked by plan (`core.asking.plan`): failover, attempts, hedges, one budget."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from secondlook.core.answer import Attempt, Tier
from secondlook.core.asking.plan import (
    AttemptPlan,
    Begin,
    Cancel,
    Command,
    Finish,
    HedgeCredit,
    Limits,
    arrange,
)
from secondlook.lookup.batch import QueryOutcome
from secondlook.lookup.failure import Remedy, ServerFailure
from secondlook.lookup.member import TierMember
from secondlook.lookup.metrics import HEDGES
from secondlook.lookup.pace import Share
from secondlook.lookup.reading import SearchResult


@dataclass(frozen=True, slots=True)
class Manner:
    """How a tier is asked (`servers` of the configuration)."""

    attempts: int = 3
    attempt_timeout_s: float = 0.5
    shuffled: bool = False
    hedged: bool = True


class ServerTier:
    """Members of one tier; `members` may be exchanged between queries."""

    def __init__(
        self,
        tier: Tier,
        members: Sequence[TierMember],
        manner: Manner,
        *,
        monotonic: Callable[[], float],
        draw: Callable[[], float],
    ) -> None:
        self.tier = tier
        self.members = tuple(members)
        self._manner = manner
        self.monotonic = monotonic
        self._draw = draw
        self.credit = HedgeCredit()
        self.losers: set[asyncio.Task[SearchResult | ServerFailure]] = set()

    @property
    def open(self) -> bool:
        """Return whether no member may be asked: every circuit is open."""
        return not any(member.circuit.admits() for member in self.members)

    async def query(self, prefixes: Sequence[bytes], share: Share, deadline: float) -> QueryOutcome:
        """Ask until somebody answers, `deadline` comes or the attempts are used up."""
        run = _Run(self, self.members, prefixes, share, self._manner.attempt_timeout_s / 2)
        return await run.drive(self._plan(share, deadline))

    async def aclose(self) -> None:
        """Stop requests that nobody waits for any more, close all connections."""
        for task in self.losers:
            task.cancel()
        await asyncio.gather(*self.losers, return_exceptions=True)
        for member in self.members:
            await member.client.aclose()

    def _plan(self, share: Share, deadline: float) -> AttemptPlan:
        members = self.members
        count = len(members)
        hedged = self._manner.hedged and count > 1 and self.credit.earn()
        return AttemptPlan(
            arrange(count, [self._draw() for _ in members] if self._manner.shuffled else None),
            Limits(deadline, self._manner.attempts, self._manner.attempt_timeout_s),
            ready_at=lambda index: members[index].ready_at(share),
            hedge_after_s=[member.latency.p95_s for member in members] if hedged else (),
        )


TIMEOUT: Final = ServerFailure("timeout", Remedy.ELSEWHERE)


@dataclass(eq=False)
class _Run:
    """One query under way."""

    tier: ServerTier
    members: Sequence[TierMember]
    prefixes: Sequence[bytes]
    share: Share
    fair_s: float  # an attempt that had less time is no measure of the server

    def __post_init__(self) -> None:
        self._running: dict[asyncio.Task[SearchResult | ServerFailure], tuple[Begin, float]] = {}
        self._attempts: list[Attempt] = []
        self._result: SearchResult | None = None
        self._error: str | None = None

    async def drive(self, plan: AttemptPlan) -> QueryOutcome:
        monotonic = self.tier.monotonic
        try:
            self._obey(plan.tick(monotonic()), monotonic())
            while not plan.done:
                assert plan.wake_at is not None
                wait_s = max(0.0, plan.wake_at - monotonic())
                if self._running:
                    done, _ = await asyncio.wait(
                        self._running, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED
                    )
                else:
                    done = set()
                    await asyncio.sleep(wait_s)
                now = monotonic()
                for task in done:
                    self._obey(self._ended(plan, task, now), now)
                if not done:
                    self._obey(plan.tick(now), now)
        finally:
            for task in self._running:
                task.cancel()
        answers = {} if self._result is None else self._result.answers
        return QueryOutcome(answers, tuple(self._attempts), self._error)

    def _ended(
        self, plan: AttemptPlan, task: "asyncio.Task[SearchResult | ServerFailure]", now: float
    ) -> list[Command]:
        begun, started = self._running.pop(task, (None, now))
        if begun is None:
            return []
        result = task.result()
        if isinstance(result, SearchResult):
            self._note(begun, started, now, "answered")
            self._result = result
            return plan.answered(begun.attempt)
        self._note(begun, started, now, result.outcome)
        return plan.failed(begun.attempt, now)

    def _obey(self, commands: list[Command], now: float) -> None:
        for command in commands:
            match command:
                case Begin():
                    member = self.members[command.server]
                    if command.hedge:
                        HEDGES.labels(member.name).inc()
                        self.tier.credit.spend()
                    # A little longer than the plan allows: it is the plan that gives up.
                    timeout_s = command.timeout_at - now + 0.05
                    task = asyncio.create_task(member.ask(self.prefixes, self.share, timeout_s))
                    self._running[task] = (command, now)
                case Cancel():
                    self._give_up(command, now)
                case Finish():
                    if command.attempt is None:
                        self._error = self._explain(command.reason or "no answer")
                case _:
                    assert_never(command)

    def _give_up(self, command: Cancel, now: float) -> None:
        for task, (begun, started) in list(self._running.items()):
            if begun.attempt != command.attempt:
                continue
            del self._running[task]
            if not command.timed_out:
                # Overtaken by another server: let it end by itself, which keeps its connection and
                # shows how long it took.
                losers = self.tier.losers
                losers.add(task)
                task.add_done_callback(losers.discard)
                self._note(begun, started, now, "overtaken")
                continue
            task.cancel()
            self._note(begun, started, now, "timeout")
            if now - started >= self.fair_s:  # else it was our budget that ended, not its time
                self.members[begun.server].failed(TIMEOUT, self.share)

    def _note(self, begun: Begin, started: float, now: float, outcome: str) -> None:
        self._attempts.append(Attempt(self.members[begun.server].name, outcome, (now - started) * 1000))

    def _explain(self, reason: str) -> str:
        if reason == "circuit open":
            return "every server is away (circuit open)"
        if not self._attempts:
            return reason
        counts = Counter(f"{attempt.server}: {attempt.outcome}" for attempt in self._attempts)
        return "; ".join(text if count == 1 else f"{text} ({count} times)" for text, count in counts.items())
