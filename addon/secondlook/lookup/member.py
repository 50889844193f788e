"""One server as a member of its tier: its client, circuit, pace and usual speed."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from secondlook.config.query import CircuitSettings
from secondlook.core.answer import Tier
from secondlook.core.asking.circuit import Circuit, CircuitState
from secondlook.core.asking.plan import LatencyWindow
from secondlook.core.asking.schedule import GOOGLE_BACKOFF, Backoff
from secondlook.lookup.client import ServerClient
from secondlook.lookup.failure import LOST, Remedy, ServerFailure
from secondlook.lookup.metrics import (
    CIRCUIT,
    CIRCUIT_VALUES,
    DROPPED,
    PREFIXES,
    QUERIES,
    SECONDS,
    outcome_label,
)
from secondlook.lookup.pace import Pace, Share
from secondlook.lookup.reading import SearchResult


@dataclass(frozen=True, slots=True)
class MemberChange:
    """What one request changed about a server: `what` is opened, closed, slowed, resumed or misconfigured."""

    member: "TierMember"
    what: str
    why: str


class TierMember:
    """A server of a tier. Instants are monotonic; `draw` gives a random number in [0, 1).

    `on_change` hears of each opened or closed circuit, of slowing down and going on, and of the
    first of a row of configuration errors.
    """

    def __init__(
        self,
        client: ServerClient,
        tier: Tier,
        settings: CircuitSettings,
        *,
        monotonic: Callable[[], float],
        draw: Callable[[], float],
        on_change: Callable[[MemberChange], None],
    ) -> None:
        self.client = client
        self.name = client.name
        self.tier = tier
        backoff = GOOGLE_BACKOFF if client.google else Backoff(settings.backoff_min, settings.backoff_max)
        self.circuit = Circuit(
            failures=1 if client.google else settings.failures,  # Google wants any failure to count
            backoff_s=backoff.first_s,
            backoff_max_s=backoff.cap_s,
        )
        self.pace = Pace(backoff)
        self.latency = LatencyWindow()
        self.heard_at: float | None = None  # last outcome of any kind
        self.answered = False  # ever, in this process
        self.problem: str | None = None  # configuration error that the operator must mend
        self.lost: str | None = None  # what its last request failed with, since it last answered
        self._lost_at = -math.inf  # the loss of a connection that was counted last
        self._monotonic = monotonic
        self._draw = draw
        self._on_change = on_change
        self._answered_counter = QUERIES.labels(self.name, "answered")
        self._prefix_counter = PREFIXES.labels(self.name)
        self._seconds = SECONDS.labels(self.name)
        self._gauge = CIRCUIT.labels(self.name, tier.value)
        self._gauge.set(CIRCUIT_VALUES[self.circuit.state])

    @property
    def healthy(self) -> bool:
        """Circuit closed and nothing slowed down."""
        return self.circuit.state is CircuitState.CLOSED and not any(map(self.pace.slowed, Share))

    @property
    def probe_at(self) -> float | None:
        """When to see whether the server is back, None while it is healthy."""
        if self.circuit.state is not CircuitState.CLOSED:
            return self.circuit.probe_at
        return min((self.pace.ready_at(share) for share in Share if self.pace.slowed(share)), default=None)

    def ready_at(self, share: Share) -> float | None:
        """When this share of the traffic may ask, None while the circuit is open."""
        return self.pace.ready_at(share) if self.circuit.admits() else None

    async def ask(
        self, prefixes: Sequence[bytes], share: Share, timeout_s: float
    ) -> SearchResult | ServerFailure:
        """Send one query and learn from what becomes of it."""
        started, began_at = time.perf_counter(), self._monotonic()
        self._prefix_counter.inc(len(prefixes))
        try:
            result = await self.client.search(prefixes, timeout_s=timeout_s)
        except ServerFailure as failure:
            self.failed(failure, share, began_at)
            return failure
        elapsed_s = time.perf_counter() - started
        self.latency.add(elapsed_s)
        self._seconds.observe(elapsed_s)
        self._answered_counter.inc()
        if result.dropped_unasked:
            DROPPED.labels(self.name, "unasked").inc(result.dropped_unasked)
        if result.dropped_malformed:
            DROPPED.labels(self.name, "malformed").inc(result.dropped_malformed)
        self._succeeded(share)
        return result

    def failed(self, failure: ServerFailure, share: Share, began_at: float = math.inf) -> None:
        """Learn from a failure: circuit, or pace where the server only asked for patience.

        `began_at` is when the request was sent: one that was lost together with another is no news.
        """
        now = self._monotonic()
        self.heard_at = now
        self.lost = failure.outcome
        QUERIES.labels(self.name, outcome_label(failure.outcome)).inc()
        if failure.remedy is Remedy.BACK_OFF and self.circuit.admits() and not self.client.google:
            slowed = self.pace.slowed(share)
            self.pace.refused(share, now, self._draw(), asked_s=failure.wait_s)
            if not slowed:
                self._on_change(MemberChange(self, "slowed", failure.outcome))
            return
        if failure.remedy is Remedy.CONFIGURATION and self.problem != failure.outcome:
            self.problem = failure.outcome
            self._on_change(MemberChange(self, "misconfigured", failure.outcome))
        if failure.outcome in LOST:
            if began_at <= self._lost_at:
                return
            self._lost_at = now
        if self.circuit.failed(now, self._draw()):
            self._on_change(MemberChange(self, "opened", failure.outcome))
        self._gauge.set(CIRCUIT_VALUES[self.circuit.state])

    def _succeeded(self, share: Share) -> None:
        now = self._monotonic()
        self.heard_at = now
        self.answered = True
        self.problem = self.lost = None
        slowed = self.pace.slowed(share)
        self.pace.answered(share)
        if self.circuit.succeeded():
            self._gauge.set(CIRCUIT_VALUES[self.circuit.state])
            self._on_change(MemberChange(self, "closed", "answers again"))
        elif slowed:
            self._on_change(MemberChange(self, "resumed", "answers again"))

    def begin_probe(self) -> bool:
        """Return whether a probe is due now; it must then be sent."""
        now = self._monotonic()
        if self.circuit.state is CircuitState.CLOSED:
            probe_at = self.probe_at
            return probe_at is not None and probe_at <= now
        due = self.circuit.probe(now)
        self._gauge.set(CIRCUIT_VALUES[self.circuit.state])
        return due
