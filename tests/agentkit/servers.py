"""Fake Smart Protection Servers, and a lookup over them that fits `agent.ports.Lookup`."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from secondlook.core.answer import Attempt, ListedHash, PrefixAnswer, Tier, TierAnswer
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import Risk, SubjectClass, Threat


@dataclass
class FakeServer:
    """One tier's server: what it lists, and how it behaves (up, down, hang, slow, partial, foreign)."""

    tier: Tier
    listed: dict[bytes, Risk] = field(default_factory=dict)
    mode: str = "up"
    delay_s: float = 0.002
    expiry_s: float = 60.0
    asked: list[tuple[float, bytes]] = field(default_factory=list)
    classes: frozenset[SubjectClass] = frozenset(SubjectClass)
    source: str = "fake"


class FakeLookup:
    """Asks fake servers; one each tier. With `circuit` an unanswered tier is refused at once until it is up."""

    def __init__(self, clock, servers: Sequence[FakeServer]) -> None:
        self.clock = clock
        self.servers = {server.tier: server for server in servers}
        self.open: set[Tier] = set()
        self.callbacks: list[Callable[[str], None]] = []
        self.requests = 0
        self.biggest = 0
        self._tiers: dict = {}

    def tiers(self, kind: SubjectKind, cls: SubjectClass) -> tuple[Tier, ...]:
        key = (kind, cls)
        if key not in self._tiers:
            self._tiers[key] = tuple(
                tier
                for tier, server in self.servers.items()
                if cls in server.classes and server.mode != "gone"
            )
        return self._tiers[key]

    def moved(self) -> None:
        self._tiers.clear()

    def fallback(self, tier, kind, cls):
        return None

    def awaited(self, kind, cls) -> bool:
        return any(server.mode == "gone" for server in self.servers.values())

    async def ask(self, tier, kind, cls, prefixes, *, deadline: float) -> TierAnswer:
        self.requests += 1
        self.biggest = max(self.biggest, len(prefixes))
        server = self.servers[tier]
        started = self.clock.monotonic()

        def failed(outcome: str) -> TierAnswer:
            elapsed = (self.clock.monotonic() - started) * 1000
            return TierAnswer(tier, {}, (Attempt(tier, outcome, elapsed),), outcome)

        if tier in self.open:
            return TierAnswer(tier, {}, (), "circuit open")
        mode = server.mode
        if mode in ("down", "gone"):
            await asyncio.sleep(0.001)
            return failed("refused")
        wait = {"slow": server.delay_s + 0.4, "hang": 1e9}.get(mode, server.delay_s)
        left = deadline - self.clock.monotonic()
        if wait > left:
            await asyncio.sleep(max(0.0, left))
            return failed("timeout")
        await asyncio.sleep(wait)
        if mode in ("bad_protobuf", "no_duration", "status_500"):
            return failed(f"bad answer: {mode}")
        now = self.clock.now()
        asked = prefixes if mode != "partial" else prefixes[: len(prefixes) // 2]
        answers = {}
        for prefix in asked:
            server.asked.append((now, prefix))
            listed = tuple(
                ListedHash(full, Threat.MALWARE, risk, "mw-8b", ("fake feed",))
                for full, risk in server.listed.items()
                if full[:4] == prefix
            )
            answers[prefix] = PrefixAnswer(listed, now, now + server.expiry_s, "fake", server.source)
        if mode == "foreign":  # a prefix that nobody asked for
            answers[b"\xff\xff\xff\xff"] = PrefixAnswer((), now, now + 1e6, "fake", server.source)
        error = None if len(asked) == len(prefixes) else "some prefixes stayed unanswered"
        return TierAnswer(tier, answers, (Attempt(tier, "answered", wait * 1000),), error)

    def on_recovery(self, callback) -> None:
        self.callbacks.append(callback)

    def recovered(self, name: str = "fake") -> None:
        for callback in self.callbacks:
            callback(name)
