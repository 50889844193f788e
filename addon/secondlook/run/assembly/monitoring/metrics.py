"""`/metrics` of the proxy (Prometheus): the counters of all processes, and what only the service knows.

Each process keeps its counters in files of `STATE/metrics` (prometheus_client's multiprocess mode); the
folder is emptied when the program starts, and what ended processes left is put together
(`run.assembly.monitoring.ended_counters`). No label ever names a host, a URL or a client.

What is asked of the ledger is waited for no longer than `LEDGER_S`: a database that hangs would take all
other metrics with it, just when they are wanted.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from secondlook.ground.errors import LedgerError
from secondlook.run.assembly.check.parts import Parts
from secondlook.run.assembly.monitoring.ended_counters import fold_ended, folding
from secondlook.run.supervisor.runfile import read_run_file

LEDGER_S: Final = 1.0
type _Count = Future[tuple[int, float | None, float | None]]


class QueueCount:
    """The ledger's count of its queue: at most one is under way, however often it is asked for."""

    def __init__(self, count: Callable[[], tuple[int, float | None, float | None]]) -> None:
        self._count = count
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="queue-count")
        self._asked: _Count | None = None

    def now(self) -> tuple[int, float | None] | None:
        """Return how many wait and since when the oldest does; None: the ledger does not answer just now.

        What came too late the last time is taken where this comes too late as well: a long queue is counted
        slowly.
        """
        late, asked = None, self._asked
        if asked is None or asked.done():
            late, asked = asked, self._thread.submit(self._count)
        self._asked = asked
        try:
            waiting, oldest, _ = asked.result(LEDGER_S)
            self._asked = None
        except TimeoutError:
            if late is None or late.exception() is not None:
                return None
            waiting, oldest, _ = late.result()
        except LedgerError:
            return None
        return waiting, oldest


class ServiceCollector(Collector):
    """Gauges that are read when somebody asks."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._queue = QueueCount(parts.ledger.queue.count)

    def collect(self) -> Iterator[Metric]:
        """Yield queue, pattern and ledger as they are now."""
        now = self._parts.clock.now()
        queue = self._queue.now()
        yield _gauge("ledger_away", "1 where the ledger does not answer just now.", queue is None)
        if queue is not None:
            waiting, oldest = queue
            yield _gauge("queue_entries", "Flagged subjects that wait for their second look.", waiting)
            yield _gauge(
                "queue_oldest_seconds", "Age of the oldest of them.", 0 if oldest is None else now - oldest
            )
        view = self._parts.view.current
        pattern = view.pattern
        entries = GaugeMetricFamily(
            "secondlook_pattern_entries", "Entries by list.", labels=["list", "server"]
        )
        ages = GaugeMetricFamily(
            "secondlook_pattern_age_seconds", "Since a list was last confirmed.", labels=["list", "server"]
        )
        for info, table in pattern.lists:
            entries.add_metric([info.name, info.server], table.count)
            ages.add_metric([info.name, info.server], max(now - info.confirmed_at, 0.0))
        yield entries
        yield ages
        yield _gauge(
            "confirmed_entries",
            "Subjects that a second look found bad.",
            len(view.confirmed) + len(view.passing),
        )
        yield _gauge("rules", "Rules of the operator.", len(view.rulebook))
        yield CounterMetricFamily(
            "secondlook_events_dropped",
            "Events of the service that could not be kept.",
            value=self._parts.ledger.recorder.dropped,
        )
        yield CounterMetricFamily(
            "secondlook_housekeeping_faults",
            "Errors inside the ledger's housekeeping, which goes on.",
            value=self._parts.ledger.upkeep.faults,
        )
        hung = CounterMetricFamily(
            "secondlook_hung_processes", "Processes that hung and were killed.", labels=["process"]
        )
        running = read_run_file(self._parts.settings.state) or {}
        for role, count in running.get("hung", {}).get("count", {}).items():
            hung.add_metric([role], count)
        yield hung


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"secondlook_{name}", text, value=value)


def exporter(parts: Parts, folder: Path) -> Callable[[], bytes]:
    """Return what renders all metrics; it blocks, so call it in a thread."""
    registry = CollectorRegistry()
    if folder.is_dir():
        MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]
    registry.register(ServiceCollector(parts))

    def render() -> bytes:
        fold_ended(folder)
        with folding:
            return generate_latest(registry)

    return render
