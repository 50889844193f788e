"""All Smart Protection Servers in tiers: the `Lookup` port of the query process.

```
 ask(tier, prefixes) ──► Batcher (one a tier) ──► ServerTier ──► AttemptPlan ──► Member ──► ServerClient
     one a check         dedupe, batch, lanes  core.asking.plan   circuit, pace    httpx, Safe Browsing v5
                              Prober: background probes · Location: intranet or not
```
"""

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from secondlook.config.query import RemoteServer, ServersSettings
from secondlook.config.traffic import UpstreamProxySettings
from secondlook.core.answer import MAX_EXPIRY_S, MIN_EXPIRY_S, Tier, TierAnswer
from secondlook.core.asking.circuit import CircuitState
from secondlook.core.event import Event, EventKind
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import SubjectClass
from secondlook.ground.clock import Clock, SystemClock
from secondlook.ground.ulid import make_id
from secondlook.lookup.batch import Batcher, QueryOutcome
from secondlook.lookup.client import ServerClient
from secondlook.lookup.location import Location
from secondlook.lookup.member import MemberChange, TierMember
from secondlook.lookup.metrics import LOCATION
from secondlook.lookup.pace import Share
from secondlook.lookup.probe import Prober
from secondlook.lookup.tier import Manner, ServerTier

log = logging.getLogger(__name__)

ANSWERS_AGAIN: Final = frozenset({"closed", "resumed"})  # of what a request changed about a server
# Google's terms: navigations and downloads, and nothing but URLs.
GOOGLE_CLASSES: Final = frozenset({SubjectClass.PAGE, SubjectClass.DOWNLOAD})
SPARE_CONNECTIONS: Final = 2  # for a probe and an overtaken request


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """What the operator sees of one server; `state` is closed, half_open, open, slowed or away."""

    name: str
    tier: Tier
    state: str
    p95_s: float | None
    answered: bool
    problem: str | None
    lost: str | None = None  # what its last request failed with


class TieredLookup:
    """Servers of all tiers. Build it inside the event loop that uses it, then `start`.

    Each process has circuits of its own, so each reports them; `worker` names it in its events, and None
    stands for the one process that also reports where the machine is. `record` writes an event, some time
    soon; `draw` gives random numbers in [0, 1), `heartbeat_s` is for processes without traffic (see
    `lookup.probe`), `expiry_s` clamps the servers' cache durations.
    """

    def __init__(
        self,
        settings: ServersSettings,
        *,
        upstream_proxy: UpstreamProxySettings | None = None,
        record: Callable[[Event], None] | None = None,
        worker: str | None = None,
        clock: Clock | None = None,
        draw: Callable[[], float] = random.random,
        heartbeat_s: float | None = None,
        expiry_s: tuple[float, float] = (MIN_EXPIRY_S, MAX_EXPIRY_S),
    ) -> None:
        self._settings = settings
        self._upstream_proxy = upstream_proxy
        self._record_event = record
        self._worker = worker
        self._clock: Clock = clock or SystemClock()
        self._draw = draw
        self._expiry_s = expiry_s
        self._callbacks: list[Callable[[str], None]] = []
        self._manner = Manner(
            settings.attempts, settings.attempt_timeout, settings.order == "random", settings.hedge
        )
        network = () if settings.network is None else (settings.network,)
        self._tiers = {
            Tier.LOCAL: self._make_tier(Tier.LOCAL, ()),
            Tier.INTRANET: self._make_tier(Tier.INTRANET, settings.intranet),
            Tier.NETWORK: self._make_tier(Tier.NETWORK, network),
        }
        reserved = max(1, round(settings.connections * settings.downloads_share))
        limits = {
            Share.BROWSING: max(1, settings.connections - reserved),
            Share.DOWNLOADS: settings.connections,
        }
        self._batchers = {
            tier: Batcher(servers.query, limits, window_s=settings.batch_window)
            for tier, servers in self._tiers.items()
        }
        self._prober = Prober(
            self._all_members,
            attempt_timeout_s=settings.attempt_timeout,
            monotonic=self._clock.monotonic,
            draw=draw,
            heartbeat_s=heartbeat_s,
        )
        self._location = Location(
            settings.location,
            self._tiers[Tier.INTRANET].members,
            probe=self._prober.probe,
            on_change=self._located,
            draw=draw,
        )
        self._table: dict[tuple[SubjectKind, SubjectClass], tuple[Tier, ...]] = {}
        self._arrange()
        LOCATION.set(self.on_intranet)

    async def start(self) -> None:
        """Begin to judge where the machine is, and to watch servers and addresses."""
        self._prober.start()
        self._location.start()

    async def aclose(self) -> None:
        """Stop everything and close all connections."""
        await self._location.aclose()
        await self._prober.aclose()
        for batcher in self._batchers.values():
            await batcher.aclose()
        for servers in self._tiers.values():
            await servers.aclose()

    async def set_local(self, url: str | None) -> None:
        """Set where the embedded server listens now (None: it is down)."""
        servers = self._tiers[Tier.LOCAL]
        old = servers.members
        embedded = () if url is None else (RemoteServer(url=url, name="embedded"),)
        servers.members = tuple(self._make_member(server, Tier.LOCAL) for server in embedded)
        self._arrange()
        for member in old:
            await member.client.aclose()
        if url is not None:
            self._recovered("embedded")

    def tiers(self, kind: SubjectKind, cls: SubjectClass) -> tuple[Tier, ...]:
        """Return the tiers that count about such a subject now; the same object until that changes.

        An own tier that nobody can reach now is named as well, unless the network tier stands in for
        it: to ask it fails at once, and what waits for it is flagged.
        """
        return self._table[kind, cls]

    def fallback(self, tier: Tier, kind: SubjectKind, cls: SubjectClass) -> Tier | None:
        """Return the network tier for an intranet tier that gave no answer, if it may be asked."""
        if tier is Tier.INTRANET and self._network_serves(kind, cls):
            return Tier.NETWORK
        return None

    def awaited(self, kind: SubjectKind, cls: SubjectClass) -> bool:
        """Return whether an own server, away now, could answer about such a subject later."""
        return bool(self._settings.intranet) and Tier.INTRANET not in self._table[kind, cls]

    async def ask(
        self, tier: Tier, kind: SubjectKind, cls: SubjectClass, prefixes: Sequence[bytes], *, deadline: float
    ) -> TierAnswer:
        """Ask one tier about 4-byte prefixes until `deadline` (monotonic seconds). Never raise."""
        if not prefixes:
            return TierAnswer(tier, {})
        refusal = self._refusal(tier, kind, cls)
        if refusal is not None:
            return TierAnswer(tier, {}, (), refusal)
        share = Share.DOWNLOADS if cls is SubjectClass.DOWNLOAD else Share.BROWSING
        try:
            outcome = await self._batchers[tier].ask(prefixes, share, deadline)
        except Exception as error:
            log.exception("cannot ask the %s servers", tier.value)
            outcome = QueryOutcome({}, (), f"internal error: {type(error).__name__}")
        return TierAnswer(tier, outcome.answers, outcome.attempts, outcome.error)

    def on_recovery(self, callback: Callable[[str], None]) -> None:
        """Call back with a server's name each time it answers again, and when the location changes."""
        self._callbacks.append(callback)

    @property
    def on_intranet(self) -> bool:
        """Return whether the machine is (as far as known) on the intranet."""
        return self._location.on_intranet

    def reachable(self, tier: Tier) -> bool:
        """Return whether a tier may be asked where the machine is now (pattern updates wait otherwise)."""
        match tier:
            case Tier.LOCAL:
                return bool(self._tiers[tier].members)
            case Tier.INTRANET:
                return bool(self._settings.intranet) and self.on_intranet
            case Tier.NETWORK:
                return self._settings.network is not None

    def clients(self, tier: Tier) -> tuple[ServerClient, ...]:
        """Clients of a tier's servers, in the configured order."""
        return tuple(member.client for member in self._tiers[tier].members)

    def status(self) -> list[MemberStatus]:
        """State of every server as this process sees it."""
        return [
            MemberStatus(
                member.name,
                member.tier,
                self._state_of(member),
                member.latency.p95_s,
                member.answered,
                member.problem,
                member.lost,
            )
            for member in self._all_members()
        ]

    def _state_of(self, member: TierMember) -> str:
        if member.tier is Tier.INTRANET and not self.on_intranet:
            return "away"
        if member.circuit.state is CircuitState.CLOSED and not member.healthy:
            return "slowed"
        return member.circuit.state.value

    def _refusal(self, tier: Tier, kind: SubjectKind, cls: SubjectClass) -> str | None:
        if not self._tiers[tier].members:
            return f"no {tier.value} server is there"
        if tier is Tier.INTRANET and not self.on_intranet:
            return "away from the intranet"
        if tier is Tier.NETWORK and not self._network_serves(kind, cls):
            return "the network server may not be asked about this"
        if self._tiers[tier].open:
            return "every server is away (circuit open)"
        return None

    def _network_serves(self, kind: SubjectKind, cls: SubjectClass) -> bool:
        network = self._settings.network
        if network is None:
            return False
        return not network.google or (kind is SubjectKind.URL and cls in GOOGLE_CLASSES)

    def _arrange(self) -> None:
        """Work out `tiers` for every kind and class; called when a circuit or the location changes."""
        intranet = self._tiers[Tier.INTRANET]
        at_hand = bool(intranet.members) and self.on_intranet and not intranet.open
        for kind in SubjectKind:
            for cls in SubjectClass:
                tiers = [Tier.LOCAL] if self._settings.embedded.enabled else []
                if self._network_serves(kind, cls) and not at_hand:
                    tiers.append(Tier.NETWORK)
                elif intranet.members:
                    tiers.append(Tier.INTRANET)
                if self._table.get((kind, cls)) != tuple(tiers):
                    self._table[kind, cls] = tuple(tiers)

    def _all_members(self) -> list[TierMember]:
        return [member for servers in self._tiers.values() for member in servers.members]

    def _make_tier(self, tier: Tier, servers: Sequence[RemoteServer]) -> ServerTier:
        members = [self._make_member(server, tier) for server in servers]
        return ServerTier(tier, members, self._manner, monotonic=self._clock.monotonic, draw=self._draw)

    def _make_member(self, server: RemoteServer, tier: Tier) -> TierMember:
        client = ServerClient(
            server,
            upstream_proxy=self._upstream_proxy,
            connections=2 * self._settings.connections + SPARE_CONNECTIONS,
            expiry_s=self._expiry_s,
            clock=self._clock,
        )
        return TierMember(
            client,
            tier,
            self._settings.circuit,
            monotonic=self._clock.monotonic,
            draw=self._draw,
            on_change=self._changed,
        )

    def _changed(self, change: MemberChange) -> None:
        member = change.member
        self._record(f"{change.what}: {change.why}", member.name)
        match change.what:
            case "opened":
                self._arrange()
                self._prober.watch(member)
                if member.tier is Tier.INTRANET and self._tiers[Tier.INTRANET].open:
                    self._location.judge_soon()
            case "slowed":
                self._prober.watch(member)
            case "closed":
                self._arrange()
                if member.tier is Tier.INTRANET and not self.on_intranet:
                    self._location.judge_soon()
            case _:
                pass
        if change.what in ANSWERS_AGAIN:
            self._recovered(member.name)

    def _located(self, on_intranet: bool, why: str) -> None:
        LOCATION.set(on_intranet)
        self._arrange()
        if self._worker is None:
            self._record(f"location: {'on' if on_intranet else 'away from'} the intranet ({why})", None)
        self._recovered("location")

    def _recovered(self, name: str) -> None:
        for callback in self._callbacks:
            try:
                callback(name)
            except Exception:
                log.exception("a listener failed at the news that %s is back", name)

    def _record(self, detail: str, server: str | None) -> None:
        log.info("%s%s", f"server {server}: " if server else "", detail)
        if self._record_event is None:
            return
        now = self._clock.now()
        self._record_event(
            Event(
                kind=EventKind.SERVER,
                time=now,
                id=make_id(now),
                server=server,
                detail=detail,
                extra=None if self._worker is None else {"process": self._worker},
            )
        )


def is_recovery(event: Event) -> bool:
    """Return whether an event of some process is that a server answers it again."""
    return event.kind is EventKind.SERVER and (event.detail or "").partition(":")[0] in ANSWERS_AGAIN
