"""Counters of the lookup room, for Prometheus; labels are servers and outcomes, never hosts or prefixes."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from secondlook.core.asking.circuit import CircuitState

QUERIES: Final = Counter(
    "secondlook_lookup_queries", "Requests to Smart Protection Servers, by outcome.", ["server", "outcome"]
)
PREFIXES: Final = Counter(
    "secondlook_lookup_prefixes", "Hash prefixes asked for, each once a query.", ["server"]
)
SECONDS: Final = Histogram(
    "secondlook_lookup_seconds",
    "Time from sending a query to its answer.",
    ["server"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
DROPPED: Final = Counter(
    "secondlook_lookup_dropped_hashes",
    "Full hashes of answers that were not used: unasked prefix, or not 32 bytes.",
    ["server", "why"],
)
HEDGES: Final = Counter(
    "secondlook_lookup_hedges", "Second queries sent because the first was slow.", ["server"]
)
CIRCUIT: Final = Gauge(
    "secondlook_lookup_circuit",
    "State of a server's circuit: 0 closed, 1 half open, 2 open (the worst of all processes).",
    ["server", "tier"],
    multiprocess_mode="livemax",
)
LOCATION: Final = Gauge(
    "secondlook_lookup_on_intranet", "1 on the intranet, 0 elsewhere.", multiprocess_mode="livemax"
)

CIRCUIT_VALUES: Final = {CircuitState.CLOSED: 0, CircuitState.HALF_OPEN: 1, CircuitState.OPEN: 2}


def outcome_label(outcome: str) -> str:
    """Bounded label for an outcome text: what stands before a colon; statuses by their class."""
    head = outcome.partition(":")[0]
    if head.startswith("status "):
        return f"{head[:8]}xx" if head != "status 429" else head
    return head
