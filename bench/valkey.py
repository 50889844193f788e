"""A generation in Valkey: memory per million entries, time to load, searches, and the next loaded beside it.

Run: `PYTHONPATH=tests python bench/valkey.py [--entries 1000000,5000000]`; prints one JSON object a line. A
real server (valkey-server or redis-server) of its own, on a free port of loopback, without persistence.
"""

import argparse
import asyncio
import json
import shutil
import tempfile
import time
from pathlib import Path
from random import Random

from secondlook.server.publish.generation import Generation
from secondlook.server.publish.publishing import publish
from secondlook.server.store.store import ServerStore
from secondlook.server.valkey.publisher import ValkeyPublisher
from secondlook.server.valkey.reader import ValkeyReader
from serverkit.valkey import Node, single
from synthetic import add_source, sampled

SEARCHES = 2_000
PREFIXES = 8


def cpu_s(node: Node) -> float:
    """Processor time that the Valkey server has used."""
    told = dict(line.split(":") for line in node.cli("info", "cpu").split() if ":" in line)
    return float(told["used_cpu_sys"]) + float(told["used_cpu_user"])


def memory_mb(node: Node, what: str = "used_memory") -> float:
    """Memory of the data, or its peak."""
    told = dict(line.strip().split(":", 1) for line in node.cli("info", "memory").splitlines() if ":" in line)
    return round(int(told[what]) / 1e6, 1)


async def push(url: str, node: Node, generation: Generation) -> dict[str, float]:
    """Load a generation."""
    publisher = ValkeyPublisher(url)
    began, own, theirs = time.perf_counter(), time.process_time(), cpu_s(node)
    await publisher.push(generation, now=time.time())
    figures = {
        "load_s": round(time.perf_counter() - began, 2),
        "loader_cpu_s": round(time.process_time() - own, 2),
        "valkey_cpu_s": round(cpu_s(node) - theirs, 2),
    }
    await publisher.aclose()
    return figures


async def search(url: str, node: Node, known: list[bytes]) -> dict[str, float]:
    """Search eight prefixes at a time, half of them listed."""
    reader = ValkeyReader(url)
    await reader.refresh()
    random = Random(1)
    own, theirs, found = time.process_time(), cpu_s(node), 0
    for _ in range(SEARCHES):
        listed = [random.choice(known)[:4] for _ in range(PREFIXES // 2)]
        _, hits = await reader.search([*listed, *(random.randbytes(4) for _ in listed)])
        found += hits >= len(set(listed))
    assert found == SEARCHES
    figures = {
        "searches_per_cpu_s": round(SEARCHES / (time.process_time() - own)),
        "searches_per_valkey_cpu_s": round(SEARCHES / max(cpu_s(node) - theirs, 0.01)),
    }
    await reader.aclose()
    return figures


def measure(folder: Path, count: int) -> dict[str, object]:
    """One size."""
    store = ServerStore(folder / "store")
    add_source(store, count, seed=1)
    first = Generation(store.generation_folder(publish(store, now=time.time()).generation))
    add_source(store, count // 100, seed=2, name="one percent")
    second = Generation(store.generation_folder(publish(store, now=time.time()).generation))
    with single(folder / "valkey") as (url, [node]):
        empty = memory_mb(node)
        figures: dict[str, object] = {"bench": "valkey", "entries": first.entries}
        figures |= asyncio.run(push(url, node, first))
        used = memory_mb(node) - empty
        figures |= {"memory_mb": used, "memory_mb_per_million": round(used / first.entries * 1e6, 1)}
        figures |= asyncio.run(search(url, node, sampled(1, 10_000)))
        figures["next"] = asyncio.run(push(url, node, second))
        figures["memory_mb_both"] = round(memory_mb(node, "used_memory_peak") - empty, 1)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", default="1000000,5000000")
    options = parser.parse_args()
    for count in map(int, options.entries.split(",")):
        folder = Path(tempfile.mkdtemp(prefix="secondlook-bench-"))
        try:
            print(json.dumps(measure(folder, count)), flush=True)
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
