"""Load at a rate that does not wait for answers: h2load with a hundred clients, each on its own clock."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

CLIENTS = 100


def paced(base: str, uris: Path, rate: float, seconds: int, core: str | None = None) -> list[float]:
    """Ask for the URIs of a file in turn, `rate` of them a second; gives the answers' times, sorted, in ms.

    A client waits for its answer before it asks again: a pause longer than `CLIENTS / rate` hides requests.
    """
    log = uris.with_suffix(".log")
    log.unlink(missing_ok=True)
    command = [
        *("h2load", "--h1", "-t1", f"-c{CLIENTS}", f"-D{seconds}", f"--rps={max(0.1, rate / CLIENTS):.3g}"),
        *(f"--log-file={log}", f"--base-uri={base}", f"--input-file={uris}"),
    ]
    subprocess.run(
        command if core is None else ["taskset", "-c", core, *command], stdout=subprocess.DEVNULL, check=True
    )
    rows = [line.split("\t") for line in log.read_text().splitlines()]
    if any(status != "200" for _, status, *_ in rows):
        raise SystemExit(f"not every request was answered: {log}")
    return sorted(int(row[2]) / 1000 for row in rows)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Give the value below which `share` percent of sorted values lie."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share / 100))]
