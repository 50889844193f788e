"""P10: `hashes:search` with 8 prefixes against 10 million entries, one core.

Run: `python bench/server.py [--entries 10000000] [--runs 5] [--seconds 8]`; prints one JSON object a line.

The server has one core, the load generator another where there is one. Half of the prefixes are listed. The
most that it answers is found by wrk with 32 connections; then half of that rate is sent, whatever the answers
take (`pacing.py`), and the latency of its requests is told.
"""

import argparse
import base64
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from random import Random
from urllib.parse import quote

from pacing import paced, percentile
from secondlook.server.publish.publishing import publish
from secondlook.server.store.store import ServerStore
from synthetic import add_source, sampled

HERE = Path(__file__).resolve().parent

SERVER = """
import asyncio, sys
from pathlib import Path
from secondlook.config.service import LimitsSettings
from secondlook.server.http.app import AppSettings, ServerApp
from secondlook.server.reader import FileReader
from secondlook.ground.tcp import listen_on
from secondlook.server.http.serving import Serving
from secondlook.server.store.store import ServerStore
async def main():
    limits = LimitsSettings(requests=10_000_000, burst=10_000_000)
    app = ServerApp(FileReader(ServerStore(Path(sys.argv[1]))), AppSettings(limits=limits))
    serving = Serving(app, [listen_on("127.0.0.1", 0)])
    await serving.start()
    print(serving.port, flush=True)
    await serving.wait()
asyncio.run(main())
"""
PREFIXES = 8
TARGETS = 2000


def targets(form: str) -> list[str]:
    """Paths of searches with 8 random prefixes each, half of them listed."""
    random = Random(1)
    listed = sampled(1, 10_000)
    made = []
    for _ in range(TARGETS):
        prefixes = [
            random.choice(listed)[:4] if random.random() < 0.5 else random.randbytes(4)
            for _ in range(PREFIXES)
        ]
        if form == "req":  # as our own client asks
            packed = b"".join(b"\x0a\x04" + prefix for prefix in prefixes)
            made.append(f"/v5/hashes:search?$req={base64.urlsafe_b64encode(packed).decode()}&alt=proto")
        else:  # as Firefox asks
            fields = "&".join(
                f"hashPrefixes={quote(base64.b64encode(prefix).decode(), safe='')}" for prefix in prefixes
            )
            made.append(f"/v5/hashes:search?{fields}&key=K")
    return made


def wrk(port: int, script: Path, connections: int, seconds: int, core: str | None) -> tuple[float, float]:
    """Requests a second and p99 in milliseconds."""
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--latency",
        "-s",
        str(script),
        f"http://127.0.0.1:{port}",
    ]
    if core is not None:
        command = ["taskset", "-c", core, *command]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in told or "Socket errors" in told:
        raise SystemExit(told)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", told)
    late = re.search(r"99%\s+([\d.]+)(us|ms|s)", told)
    assert rate is not None
    assert late is not None
    return float(rate[1]), float(late[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[late[2]]


def cpu_s(pid: int) -> float:
    """Processor time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--entries", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--store", type=Path, help="a folder to keep the synthetic store in")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    folder = Path(tempfile.mkdtemp(prefix="secondlook-bench-"))
    root = options.store or folder / "store"
    try:
        store = ServerStore(root)
        if store.current() is None:
            add_source(store, options.entries, seed=1)
            publish(store, now=time.time())
        began = time.perf_counter()
        server = subprocess.Popen(
            ["taskset", "-c", str(cores[0]), sys.executable, "-c", SERVER, str(root)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(HERE.parent / "addon")},
        )
        assert server.stdout is not None
        port = int(server.stdout.readline())
        ready = time.perf_counter() - began
        other = str(cores[-1]) if len(cores) > 1 else None
        result: dict[str, object] = {
            "bench": "P10 hashes:search",
            "entries": options.entries,
            "ready_s": round(ready, 2),
        }
        for form in ("req", "named"):
            script = folder / f"{form}.lua"
            listed = ",\n".join(json.dumps(target) for target in targets(form))
            script.write_text(
                f"local t = {{{listed}}}\nlocal i = 0\n"
                "request = function() i = i % #t + 1; return wrk.format('GET', t[i]) end\n"
            )
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{targets(form)[0]}") as answer:
                answer.read()
            wrk(port, script, 32, 2, other)
            used = cpu_s(server.pid)
            full = [wrk(port, script, 32, options.seconds, other) for _ in range(options.runs)]
            used = cpu_s(server.pid) - used
            rates = [rate for rate, _ in full]
            paths = folder / f"{form}.txt"
            paths.write_text("\n".join(targets(form)))
            rate = statistics.median(rates) / 2
            host = f"127.0.0.1:{port}"
            half = [paced(host, paths, rate, options.seconds, other) for _ in range(options.runs)]
            result[form] = {
                "per_s": round(statistics.median(rates)),
                # What one core does when nothing else wants it, whatever ran beside this.
                "per_cpu_second": round(sum(rates) * options.seconds / used),
                "spread": [round(min(rates)), round(max(rates))],
                "p99_ms_full": round(statistics.median(late for _, late in full), 2),
                "half": {
                    "per_s": round(statistics.median(len(took) for took in half) / options.seconds),
                    "p50_ms": round(statistics.median(percentile(took, 50) for took in half), 2),
                    "p99_ms": round(statistics.median(percentile(took, 99) for took in half), 2),
                },
            }
        status = Path(f"/proc/{server.pid}/status").read_text()
        for name in ("VmRSS", "RssAnon", "RssFile"):
            result[name] = re.search(rf"{name}:\s+(\d+)", status)[1]  # type: ignore[index]
        server.terminate()
        server.wait(10)
        print(json.dumps(result))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
