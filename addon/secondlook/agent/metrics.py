"""Counters of the query process (Prometheus); no label ever names a host, a client or a URL."""

from functools import cache

from prometheus_client import Counter, Histogram

EVENTS = Counter("secondlook_events", "Events written to the log.", ["kind"])
DECISIONS = Counter("secondlook_decisions", "Decisions by stage and action.", ["stage", "action"])
INTERNAL_ERRORS = Counter("secondlook_internal_errors", "Errors inside a check, treated as unverifiable.")
CACHE_OUTCOMES = Counter("secondlook_cache_outcomes", "Checks by what the answer cache gave.", ["outcome"])
CACHE_HITS = CACHE_OUTCOMES.labels("hit")
CACHE_MISSES = CACHE_OUTCOMES.labels("miss")
CHECK_SECONDS = Histogram(
    "secondlook_query_check_seconds",
    "Time of checks that had to ask a server.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 5.0),
)
SCAN_SECONDS = Histogram(
    "secondlook_scan_seconds",
    "Time until all engines had looked into a file.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
SCANS = Counter("secondlook_scans", "Looks into files by engine and outcome.", ["engine", "outcome"])
VIEW_ERRORS = Counter("secondlook_view_errors", "Refreshes of rules, confirmed set or pattern that failed.")
FLAG_SECONDS = Histogram(
    "secondlook_flag_seconds",
    "Time until a flag was committed.",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0),
)
FLAGS_REFUSED = Counter(
    "secondlook_flags_refused", "Requests refused because nothing could store their flag."
)
CLIENTS_REFUSED = Counter("secondlook_clients_refused", "Client connections refused as one too many.")
LOGINS_REFUSED = Counter("secondlook_logins_refused", "Passwords of proxy users not tried: too many wrong.")
GATEWAY_HELPERS = Counter("secondlook_gateway_helpers", "Connections of a gateway's helpers.")
GATEWAY_LINES = Counter("secondlook_gateway_lines", "Lines of a gateway's helpers, by answer.", ["answer"])
RECHECKED = Counter("secondlook_rechecked", "Flagged subjects looked at again, by outcome.", ["outcome"])
LATE_VERDICTS = Counter("secondlook_late_verdicts", "Allowed subjects that turned out malicious.")
ACTIONS = Counter(
    "secondlook_actions", "Actions after a confirmation, by action and outcome.", ["action", "outcome"]
)
LOOP_LATENESS = Histogram(
    "secondlook_loop_lateness_seconds",
    "How late the event loop of a process comes round, four times a second.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)


def count_events(kind: str, count: int) -> None:
    """Count events that the ledger has written."""
    EVENTS.labels(kind).inc(count)


@cache
def decisions(stage: str, action: str) -> Counter:
    """Return the bound counter of one stage and action (binding takes longer than counting)."""
    return DECISIONS.labels(stage, action)


@cache
def scans(engine: str, outcome: str) -> Counter:
    """Return the bound counter of one engine and outcome."""
    return SCANS.labels(engine, outcome)
