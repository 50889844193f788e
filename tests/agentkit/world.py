"""The whole query process in virtual time: real lookup client, checker, gatekeeper, rechecker.

Only four things are not real: the wire (an httpx transport that leads to `Server` objects, which speak
real protobuf and lie in every way), the ledger (the fake that passes the ledger's own contract suite),
the clock, and threads (which take no time). A *process* can be killed at any step: what it holds in
memory is gone, and nothing it still tries reaches ledger or servers.
"""

import asyncio
import functools
import math
import random

from agentkit.house import make_pattern
from agentkit.virtual import FakeClock, Poll, VirtualLoop
from agentkit.wire import Server, Wire
from ledgerkit.fake import FakeLedger
from secondlook.agent.actions.enforcement import Enforcement
from secondlook.agent.check.checker import Checker
from secondlook.agent.check.gatekeeper import Gatekeeper
from secondlook.agent.check.groups import Policies
from secondlook.agent.check.view import LocalView
from secondlook.agent.check.watch import Watcher
from secondlook.agent.recheck.batch_check import BatchCheck
from secondlook.agent.recheck.rechecker import Rechecker
from secondlook.agent.recheck.renewal import Renewal
from secondlook.agent.recheck.retro_check import RetroCheck
from secondlook.config.query import RecheckSettings, ServersSettings
from secondlook.core.answer import Tier
from secondlook.core.asking.cache import AnswerCache
from secondlook.core.rules.policy import Policy
from secondlook.core.subject import RequestContext, SubjectKind
from secondlook.core.url.canonical import url_subject
from secondlook.core.verdict import SubjectClass
from secondlook.lookup.tiered import TieredLookup
from secondlook.suffix import load_suffixes

URLS = [f"http://host{host}.test/{path}" for host in range(4) for path in ("", "a", "a/b", "c?q=1")]
PORTS = {"embedded": 1, "intranet-1": 2, "intranet-2": 3, "network": 4}
ANSWER_HOLDS_S = 400.0  # longer than any

type _Place = tuple[Tier, SubjectKind, bytes]  # where an answer is kept: by the last, a prefix


class _Held:
    """A part of the ledger as a process holds it: lets go when the process is killed."""

    def __init__(self, part, process: "Process") -> None:
        self._part = part
        self._process = process

    def __getattr__(self, name):
        self._process.must_live()
        return getattr(self._part, name)


class _HeldQueue(_Held):
    async def close(self, closings) -> None:
        for entry, event in closings:
            if event.kind == "cleared" and not self._process.has_answers(entry.hashes):
                self._process.world.fault(f"{entry.url} was cleared though nobody has answered about it")
        await self.__getattr__("close")(closings)


class _HeldConfirmed(_Held):
    async def withdraw(self, identity, event) -> None:
        world = self._process.world
        entry = self._part.entries.get(identity)
        if entry is not None and entry.source != "reblock":
            if world.long_listed(entry):
                world.fault(f"{entry.url} was withdrawn although {entry.tier} lists it")
            if not self._process.was_told_of_late(entry.hit):
                world.fault(f"{entry.url} was withdrawn though nobody has answered about it for long")
        await self.__getattr__("withdraw")(identity, event)


class _Ledger:
    """A process's hold on the ledger."""

    def __init__(self, ledger: FakeLedger, process: "Process") -> None:
        self.queue = _HeldQueue(ledger.queue, process)
        self.confirmed = _HeldConfirmed(ledger.confirmed, process)
        self.recorder = _Held(ledger.recorder, process)
        self.counts = _Held(ledger.counts, process)
        self.flags = _Held(ledger.flags, process)
        self.history = _Held(ledger.history, process)
        self.snapshots = _Held(ledger.snapshots, process)


class Process:
    """One worker, or the service (`second_look`)."""

    def __init__(self, world: "World", name: str, *, second_look: bool) -> None:
        self.world = world
        self.name = name
        self.alive = True
        self.stored: dict[_Place, tuple[float, float]] = {}  # what the cache holds: when nobody may be asked
        self.told_at: dict[
            tuple[Tier, bytes], float
        ] = {}  # when (monotonic) a tier last answered about a prefix
        self.told_bad: set[bytes] = set()  # hashes that an answer to this process listed
        self.tasks: list[asyncio.Task] = []
        self.ledger = _Ledger(world.ledger, self)
        self.second_look = second_look

    def has_answers(self, hashes) -> bool:
        """Whether a server of one tier beyond the mirrored one has told this process about every hash."""
        return any(
            all((tier, SubjectKind.URL, full[:4]) in self.stored for full in hashes)
            for tier in (Tier.INTRANET, Tier.NETWORK)
        )

    def was_told_of_late(self, full: bytes) -> bool:
        """Whether a server told this process about a hash within the time for which an answer holds, and a bit."""
        told_at = max(self.told_at.get((tier, full[:4]), -math.inf) for tier in Tier)
        return self.world.loop.time() - told_at <= ANSWER_HOLDS_S

    def must_live(self) -> None:
        if not self.alive:
            raise asyncio.CancelledError

    async def start(self) -> None:
        world, clock = self.world, self.world.clock
        settings = ServersSettings.model_validate(
            {
                "embedded": True,
                "intranet": [{"url": f"http://127.0.0.1:{PORTS[name]}", "name": name} for name in ("intranet-1", "intranet-2")],
                "network": {"url": f"http://127.0.0.1:{PORTS['network']}", "name": "network"},
            }
        )  # fmt: skip
        beat = Poll(5.0, self._hears_nothing_new) if self.second_look else None
        self.lookup = TieredLookup(settings, clock=clock, draw=world.random.random, heartbeat_s=beat)
        await self.lookup.set_local(f"http://127.0.0.1:{PORTS['embedded']}")
        for tier in Tier:
            for client in self.lookup.clients(tier):
                client._open = functools.partial(Wire, world.servers[client.name], self.must_live)
        await self.lookup.start()
        self._watch_asking()
        self.view = LocalView(Policies(Policy()))
        self.cache = AnswerCache(100_000)
        self._watch_cache()
        self.checker = Checker(self.view, self.lookup, self.cache, world.suffixes, clock)
        self.gatekeeper = Gatekeeper(self.checker, self.ledger, clock)
        self.watcher = Watcher(
            self.checker, self.ledger.snapshots, clock, stamp=lambda: world.generation, load=lambda: world.pattern,
            on_pattern=self._on_pattern, poll_s=Poll(0.5, self._has_read_all),
        )  # fmt: skip
        if self.second_look:
            batch_check = BatchCheck(self.view, self.lookup, self.cache, clock)
            self.enforcement = Enforcement(
                self.view,
                self.ledger.confirmed,
                self.ledger.history,
                self.ledger.recorder,
                clock,
                url_subject=self.checker.subject,
            )
            self.rechecker = Rechecker(
                batch_check, self.ledger.queue, self.enforcement, Renewal(batch_check, self.ledger.confirmed, clock), clock, RecheckSettings(),
                random=world.random.random,
            )  # fmt: skip
            self.late = RetroCheck(self.view, self.ledger.history, self.enforcement, clock, RecheckSettings())
        await self.watcher.refresh()
        self._spawn(self.watcher.run())
        if self.second_look:
            self._spawn(self.rechecker.run())
            self._spawn(self.late.run())

    def _spawn(self, work) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(work))

    def _on_pattern(self, pattern) -> None:
        if self.second_look:
            self.rechecker.trigger("new pattern", renew_all=True)
            self.late.trigger()

    def _has_read_all(self) -> bool:
        """Whether the watcher has read what the ledger and the pattern are now: looking again, it would do nothing."""
        world, watcher = self.world, self.watcher
        return watcher._version == world.ledger.snapshots.number and watcher._seen == world.generation

    def _hears_nothing_new(self) -> bool:
        """Whether every server that a heartbeat would ask is up: an answer to it would change nothing."""
        asked = (each.client.name for each in self.lookup._all_members() if each.healthy)
        return all(self.world.servers[name].mode == "up" for name in asked)

    def _watch_asking(self) -> None:
        """Hold every question against what is stored (the invariant about asking again)."""
        ask = self.lookup.ask

        async def watched(tier, kind, cls, prefixes, *, deadline):
            now = self.world.clock.now()
            for prefix in prefixes:
                span = self.stored.get((tier, kind, prefix))
                if span is not None and span[0] <= now < span[1]:
                    self.world.fault(
                        f"{self.name} asked {tier} again about {prefix.hex()} within its answer's expiry"
                    )
            if len(prefixes) > 1000 or any(len(prefix) != 4 for prefix in prefixes):
                self.world.fault("more than 1000 prefixes, or more than 4 bytes of a hash, left the machine")
            return await ask(tier, kind, cls, prefixes, deadline=deadline)

        self.lookup.ask = watched

    def _watch_cache(self) -> None:
        put, drop = self.cache.put, self.cache.drop_contradicted

        def watched_put(tier, kind, prefix, answer, **more):
            kept = put(tier, kind, prefix, answer, **more)
            self.stored[tier, kind, prefix] = (kept.stored_at, kept.expires_at)
            self.told_at[tier, prefix] = self.world.loop.time()
            self.told_bad |= {listed.full_hash for listed in kept.listed}
            return kept

        def watched_drop(pattern, now, since=None):
            for dropped in drop(pattern, now, since):
                self.stored = {
                    key: span
                    for key, span in self.stored.items()
                    if self.cache.stale(*key, span[0], 0.0) is not None
                }
                yield dropped

        self.cache.put, self.cache.drop_contradicted = watched_put, watched_drop

    async def kill(self) -> None:
        """Kill -9: no clean-up of this process reaches anybody."""
        self.alive = False
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await asyncio.gather(self.gatekeeper.aclose(), self.lookup.aclose(), return_exceptions=True)


class World:
    """Servers, ledger and processes; `faults` collects every broken promise."""

    def __init__(self, seed: int = 0) -> None:
        self.loop = VirtualLoop()
        self.clock = FakeClock(self.loop)
        self.random = random.Random(seed)
        self.suffixes = load_suffixes()
        self.servers = {
            "embedded": Server("embedded", Tier.LOCAL),
            "intranet-1": Server("intranet-1", Tier.INTRANET),
            "intranet-2": Server("intranet-2", Tier.INTRANET),
            "network": Server("network", Tier.NETWORK),
        }
        self.ledger = FakeLedger(self.clock)
        self.faults: list[str] = []
        self.generation = 0
        self.published_at = 0.0
        self.pattern_hashes: set[bytes] = set()
        self.pattern = make_pattern([], now=self.clock.now())
        self.flags: dict[str, bytes] = {}  # event id of each let-through unverified: its subject
        self.confirmed_since: dict[
            bytes, float
        ] = {}  # listed hash: since when the ledger says so (monotonic)
        self.processes: dict[str, Process] = {}
        self.run(self._start())

    async def _start(self) -> None:
        self._housekeeping = asyncio.get_running_loop().create_task(self._settle())
        for name in ("worker-1", "worker-2", "service"):
            await self.begin(name)

    async def _settle(self) -> None:
        """The ledger's own passing of time, and our note of what it has confirmed since when."""
        noted = -1
        moment = Poll(0.2, lambda: self.ledger.settled and self.ledger.snapshots.number == noted)
        while True:
            self.ledger.settle()
            noted = self.ledger.snapshots.number
            self.note_confirmed()
            await asyncio.sleep(moment)

    def note_confirmed(self) -> None:
        now = self.loop.time()
        self.confirmed_since = {hit: self.confirmed_since.get(hit, now) for hit in self.confirmed_hits()}

    def confirmed_hits(self) -> set[bytes]:
        """Return what the ledger has as confirmed, beside what is refused for a while only."""
        return {entry.hit for entry in self.ledger.snapshots.confirmed() if entry.source != "reblock"}

    def run(self, main):
        return self.loop.run_until_complete(main)

    def long_listed(self, entry) -> bool:
        """Whether every server of the tiers in question has listed an entry's hash for longer than any answer holds."""
        now = self.loop.time()
        return all(
            now - server.listed.get(entry.hit, now) > ANSWER_HOLDS_S
            for server in self.servers.values()
            if server.tier is not Tier.LOCAL
        )

    def fault(self, text: str) -> None:
        self.faults.append(text)

    async def begin(self, name: str) -> None:
        process = Process(self, name, second_look=name == "service")
        self.processes[name] = process
        await process.start()

    async def crash(self, name: str) -> None:
        await self.processes[name].kill()
        self.ledger.crash()
        await self.begin(name)

    def hash_of(self, url: str) -> bytes:
        return url_subject(url, self.suffixes).hashes[0]

    def publish(self) -> None:
        """The embedded server's list becomes the pattern of a new generation."""
        self.pattern_hashes = set(self.servers["embedded"].listed)
        self.pattern = make_pattern(sorted(self.pattern_hashes), now=self.clock.now(), source="embedded")
        self.generation += 1
        self.published_at = self.loop.time()

    async def visit(self, name: str, url: str, cls: SubjectClass = SubjectClass.PAGE) -> str:
        """Check one URL as traffic does, and hold the outcome against every promise."""
        process = self.processes[name]
        subject = process.checker.subject(url)
        context = RequestContext(cls, client="127.0.0.1", url=url, method="GET")
        started = self.loop.time()
        known = self._known_bad(process)
        decision = process.gatekeeper.now(subject, context)
        if decision is None:
            decision = await process.gatekeeper.check(subject, context)
        elapsed_s = self.loop.time() - started
        if elapsed_s > 1.5 + 1e-6:
            self.fault(f"a check took {elapsed_s:.3f} s")
        action = str(decision.action)
        self.last = decision
        if action != "block":
            bad = [full.hex()[:8] for full in subject.hashes if full in known]
            still = self._known_bad(process)
            if bad and any(full in still for full in subject.hashes):
                self.fault(f"{name} served {url}, known to be bad ({bad}): {decision}")
        if action == "allow" and not process.has_answers(subject.hashes):
            self.fault(f"{url} was let through though nobody has answered about it: {decision}")
        if action == "flag":
            if not decision.event_id:
                self.fault("a flag without an event")
                return action
            self.flags[decision.event_id] = subject.hashes[0]
            if not self._queued(decision.event_id, subject.hashes[0]):
                self.fault(f"{url} was let through before its flag was stored")
        return action

    def _known_bad(self, process: Process) -> set[bytes]:
        """What this process knows, or the ledger has known for more than a second."""
        now = self.loop.time()
        old = {hit for hit, since in self.confirmed_since.items() if now - since > 1.0}
        in_view = {entry.hit for entry in process.view.current.confirmed}
        pattern = process.view.current.pattern
        listed = {full for full in process.told_bad if self._fresh(process, full)}
        current = pattern is self.pattern or now - self.published_at > 1.0
        lists = self.pattern_hashes if current else set()
        return old | in_view | listed | lists

    def _fresh(self, process: Process, full: bytes) -> bool:
        now = self.clock.now()
        return any(
            (answer := process.cache.get(tier, SubjectKind.URL, full[:4], now)) is not None
            and any(listed.full_hash == full for listed in answer.listed)
            for tier in process.lookup.tiers(SubjectKind.URL, SubjectClass.PAGE)
        )

    def _queued(self, event_id: str, identity: bytes) -> bool:
        if any(event.id == event_id for event, _ in self.ledger.flags.journal):
            return True
        return identity in self.ledger.queue.rows or self._closed_after(event_id, identity)

    def _closed_after(self, event_id: str, identity: bytes) -> bool:
        seen = False
        for event in self.ledger.log:
            if event.id == event_id:
                seen = True
            elif (
                seen
                and event.identity == identity
                and event.kind in ("confirmed", "cleared", "expired", "late_verdict")
            ):
                return True
        return False

    def check_promises(self) -> None:
        """Nothing let through unverified is ever lost; and nothing else was broken on the way."""
        for event_id, identity in self.flags.items():
            if not self._queued(event_id, identity):
                self.fault(f"the flag {event_id} is neither queued nor closed")
        assert not self.faults, "\n".join(self.faults)

    async def close(self) -> None:
        for process in self.processes.values():
            await process.kill()
        self._housekeeping.cancel()
        await asyncio.gather(self._housekeeping, return_exceptions=True)
