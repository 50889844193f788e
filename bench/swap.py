"""P8: what traffic feels when new lists are taken up by the workers.

Run: `PYTHONPATH=tests python bench/swap.py [--entries 10000000] [--rounds 5] [--seconds 10] [--rate 300]`;
prints one JSON object a line. One worker, a server of its own with so many entries, an origin, URLs that are
new each time. The same load runs without and with an update in the middle, in turn: a delta of 1 %, fetched,
verified, written and swapped. A round whose update the proxy took by itself before the load began is left
out.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from pathlib import Path

from e2e.processes import Proxy, Server, server_publish, wait_for
from pacing import paced, percentile
from peers import nginx
from secondlook.server.store.store import ServerStore
from synthetic import add_source


def paths_of(folder: Path, seed: int, count: int) -> Path:
    """Write a file of paths that nobody has seen."""
    file = folder / "paths.txt"
    file.write_text("".join(f"/p/{seed}/{number}.html\n" for number in range(count)))
    return file


def measure(folder: Path, options: argparse.Namespace) -> dict[str, object]:
    """Alternate quiet and swapping runs."""
    state = folder / "server"
    state.mkdir()
    store = ServerStore(state)
    add_source(store, options.entries, seed=1)
    server_publish(state)
    server = Server(state)
    quiet: list[list[float]] = []
    swapping: list[list[float]] = []
    taken: list[float] = []
    try:
        with nginx(folder) as (plain, _):
            config = folder / "proxy.yaml"
            config.write_text(
                f"workers: 1\nmode: reverse:http://127.0.0.1:{plain}\n"
                f"servers:\n  embedded: false\n  intranet: [{{url: '{server.url}'}}]\n"
            )
            proxy = Proxy(folder / "proxy", config)
            try:
                host = proxy.address
                wait_for(lambda: proxy.json("pattern", "status") or None, "the lists", 120)
                count = int(options.rate * options.seconds * 1.2)
                paced(host, paths_of(folder, 0, count), options.rate, options.seconds)
                part = 0
                while len(taken) < options.rounds:
                    part += 1
                    without = paced(host, paths_of(folder, part, count), options.rate, options.seconds)
                    add_source(store, options.entries // 100, seed=1 + part, name=f"part {part}")
                    server_publish(state)
                    told: list[float | None] = []
                    update = threading.Timer(
                        options.seconds / 4, lambda told=told: told.append(updated(proxy))
                    )
                    update.start()
                    beside = paced(host, paths_of(folder, -part, count), options.rate, options.seconds)
                    update.join()
                    if told[0] is not None:
                        taken.append(told[0])
                        quiet.append(without)
                        swapping.append(beside)
            finally:
                proxy.stop()
    finally:
        server.stop()

    def p99(runs: list[list[float]]) -> float:
        return statistics.median(percentile(run, 99) for run in runs)

    return {
        "bench": "P8 swap under traffic",
        "entries": options.entries,
        "rate": options.rate,
        "p50_ms": [round(statistics.median(map(statistics.median, runs)), 2) for runs in (quiet, swapping)],
        "p99_ms": [round(p99(quiet), 2), round(p99(swapping), 2)],
        "p99_bump_ms": round(p99(swapping) - p99(quiet), 2),
        "p99_ratio": round(p99(swapping) / p99(quiet), 2),
        "slowest_ms": [round(max(run[-1] for run in runs), 1) for runs in (quiet, swapping)],
        "update_command_s": round(statistics.median(taken), 2),
        "rounds": options.rounds,
        "budget_p99_bump_ms": 10,
    }


def updated(proxy: Proxy) -> float | None:
    """Fetch news now; gives the seconds that it took, None where there were none."""
    began = time.monotonic()
    outcomes = proxy.json("pattern", "update")
    return time.monotonic() - began if any(each["taken"] for each in outcomes) else None


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--entries", type=int, default=10_000_000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=int, default=10)
    arguments.add_argument("--rate", type=float, default=300)
    with tempfile.TemporaryDirectory(prefix="secondlook-bench-") as name:
        print(json.dumps(measure(Path(name), arguments.parse_args())), flush=True)


if __name__ == "__main__":
    main()
