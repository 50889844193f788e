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
        requests = CounterMetricFamily(
            "secondlook_server_requests", "Requests by method and status", labels=("method", "status")
        )
        for (method, status), count in sorted(self.requests.items()):
            requests.add_metric((method, str(status)), count)
        yield requests
        yield CounterMetricFamily(
            "secondlook_server_prefixes", "Hash prefixes asked about", value=self.prefixes
        )
        yield CounterMetricFamily(
            "secondlook_server_listed", "Full hashes given in answers", value=self.listed
        )
        updates = CounterMetricFamily(
            "secondlook_server_updates", "List updates served", labels=("list", "kind")
        )
        for (name, kind), count in sorted(self.updates.items()):
            updates.add_metric((name, kind), count)
        yield updates
        feeds = CounterMetricFamily(
            "secondlook_server_feed_fetches", "Feed fetches", labels=("feed", "outcome")
        )
        for (name, outcome), count in sorted(self.feeds.items()):
            feeds.add_metric((name, outcome), count)
        yield feeds
        findings = CounterMetricFamily(
            "secondlook_server_findings",
            "Findings that agents reported, by what became of them",
            labels=("outcome",),
        )
        for outcome, count in sorted(self.findings.items()):
            findings.add_metric((outcome,), count)
        yield findings
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
