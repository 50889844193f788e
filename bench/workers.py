"""Two workers against one, with pinned cores (P4).

Run: `PYTHONPATH=tests python bench/workers.py [--rounds 5] [--seconds 5]`; prints one JSON object a line.
Plain HTTP on kept connections, a 2.7 kB page, nginx as origin, wrk as load. Each worker has a core of its
own. With four cores or more, origin and load share the others, and both rates are those of workers alone.
With fewer they share the workers' cores, which then serve less: what two workers serve whose cores do nothing
else (`saturated ratio`) is computed of processor time, as twice one worker's for a request over that of two.
`evenness` is how they shared the work: 1 where one did all, 2 where each did half.
"""

import argparse
import contextlib
import os
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from e2e.processes import Proxy
from load import PLAIN, wrk
from peers import Peer, nginx
from traffic import tell

BUDGET = 1.7


def pin(pid: int, cores: Sequence[int]) -> None:
    """Keep a process, with all its threads, on some cores."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.sched_setaffinity(int(thread.name), cores)


class Fleet:
    """A proxy with some workers, each on a core of its own, and what they took."""

    def __init__(self, proxy: Proxy, cores: Sequence[int]) -> None:
        self.address = proxy.address
        self._workers = [Peer(proxy.address, (pid,)) for pid in proxy.facts["workers"]]
        for pid, core in zip(proxy.facts["workers"], cores, strict=True):
            pin(pid, [core])
        self.rates: list[float] = []
        self.costs_us: list[float] = []  # of a request
        self.evenness: list[float] = []
        self.busy: list[float] = []  # a worker's share of its core's time, at most 1

    def measure(self, script: Path, origin: str, seconds: float) -> None:
        """Load it once."""
        before = [worker.cpu_s() for worker in self._workers]
        load = wrk(f"http://{self.address}/", seconds, script, ORIGIN=origin)
        taken = [worker.cpu_s() - was for worker, was in zip(self._workers, before, strict=True)]
        self.rates.append(load.rate)
        self.costs_us.append(sum(taken) / load.count * 1e6)
        self.evenness.append(sum(taken) / max(taken))
        self.busy.append(sum(taken) / len(taken) / seconds)

    def figures(self) -> dict[str, object]:
        """Return what the table shows."""
        return {
            "median": round(statistics.median(self.rates)),
            "min": round(min(self.rates)),
            "max": round(max(self.rates)),
            "cpu us": round(statistics.median(self.costs_us)),
            "busy": round(statistics.median(self.busy), 2),
        }


@contextlib.contextmanager
def fleet(folder: Path, cores: Sequence[int]) -> Iterator[Fleet]:
    """Run a proxy with a worker for each of these cores."""
    config = folder / f"workers-{len(cores)}.yaml"
    config.write_text(f"workers: {len(cores)}\nfeeds: []\n")
    proxy = Proxy(folder / f"state-{len(cores)}", config)
    try:
        yield Fleet(proxy, cores)
    finally:
        proxy.stop()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=float, default=5.0)
    given = arguments.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("two workers want two cores")
    apart = cores[2:] if len(cores) >= 4 else cores
    with tempfile.TemporaryDirectory(prefix="secondlook-bench-") as name:
        folder = Path(name)
        script = folder / "plain.lua"
        script.write_text(PLAIN)
        with fleet(folder, cores[:1]) as one, fleet(folder, cores[:2]) as two:
            os.sched_setaffinity(0, apart)  # origin and load inherit it
            with nginx(folder) as (plain, _):
                for _ in range(given.rounds + 1):  # the first warms up
                    for each in (one, two):
                        each.measure(script, f"127.0.0.1:{plain}", given.seconds)
        for each in (one, two):
            for kept in (each.rates, each.costs_us, each.evenness, each.busy):
                del kept[0]
        pairs = zip(one.costs_us, two.costs_us, strict=True)
        tell(
            "P4 two workers against one, plain HTTP keep-alive",
            unit="requests/s",
            ratio=round(statistics.median(two.rates) / statistics.median(one.rates), 2),
            saturated_ratio=round(statistics.median(2 * alone / both for alone, both in pairs), 2),
            evenness=round(statistics.median(two.evenness), 2),
            budget=BUDGET,
            rounds=given.rounds,
            origin_and_load="on other cores" if len(cores) >= 4 else "on the workers' cores",
            one_worker=one.figures(),
            two_workers=two.figures(),
        )


if __name__ == "__main__":
    main()
