"""Counters of a server: plain integers, as the search path counts every request, reported to Prometheus."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Meter(Collector):
    """What a server did since it started."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()  # method, status
        self.prefixes = 0
        self.listed = 0
        self.updates: Counter[tuple[str, str]] = Counter()  # list, full | partial | unchanged | empty
        self.feeds: Counter[tuple[str, str]] = Counter()  # feed, outcome
        self.findings: Counter[str] = Counter()  # outcome
        self.gauges: dict[str, float] = {}
        self._took = [0] * (len(BUCKETS_S) + 1)
        self._took_sum_s = 0.0
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def took(self, seconds: float) -> None:
        """Count the time of one search."""
        self._took_sum_s += seconds
        for at, bound in enumerate(BUCKETS_S):
            if seconds <= bound:
                self._took[at] += 1
                return
        self._took[-1] += 1

    def text(self) -> bytes:
        """Return the Prometheus text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Return every metric (called by the registry)."""
        reported = "Findings that agents reported, by what became of them"
        became = {(outcome,): count for outcome, count in self.findings.items()}
        for name, meaning, labels, counts in (
            (
                "secondlook_server_requests",
                "Requests by method and status",
                ("method", "status"),
                self.requests,
            ),
            ("secondlook_server_prefixes", "Hash prefixes asked about", (), {(): self.prefixes}),
            ("secondlook_server_listed", "Full hashes given in answers", (), {(): self.listed}),
            ("secondlook_server_updates", "List updates served", ("list", "kind"), self.updates),
            ("secondlook_server_feed_fetches", "Feed fetches", ("feed", "outcome"), self.feeds),
            ("secondlook_server_findings", reported, ("outcome",), became),
        ):
            metric = CounterMetricFamily(name, meaning, labels=labels)
            for key, count in sorted(counts.items()):
                metric.add_metric(tuple(map(str, key)), count)
            yield metric
        cumulated, buckets = 0, []
        for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), self._took, strict=True):
            cumulated += count
            buckets.append((bound, cumulated))
        yield HistogramMetricFamily(
            "secondlook_server_search_seconds",
            "Time of a search",
            buckets=buckets,
            sum_value=self._took_sum_s,
        )
        for name, value in sorted(self.gauges.items()):
            yield GaugeMetricFamily(f"secondlook_server_{name}", name.replace("_", " "), value=value)
