"""Engines that look into files: what they add to downloads, and what they take (S1 to S5), in one run.

Run: `PYTHONPATH=tests python bench/scan.py [--rows S1 S2] [--rounds 5] [--files 30] [--mib 300]`, or
`make bench ARGS='S1 S2'`; prints one JSON object a line.

Origin: nginx; clamd is Debian's with a small database of our own; rules are of the style of public ones.
Peers are our own proxies, one worker each, that differ in their engines alone, and take turns. A file of S1
is fetched once by each, so that nothing is known of it; it is held against the same with our few own rules
alone, which always look.
"""

import argparse
import asyncio
import contextlib
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from e2e.processes import Proxy, make_certificate, wait_for
from load import PLAIN, download, wrk
from peers import Peer
from proxykit.gate import LIMITS
from proxykit.nginx import Nginx, nginx
from proxykit.samples import program
from scankit.clamd import real_clamd
from scankit.rules import public_style
from secondlook.config.scan import ScanSettings
from secondlook.config.traffic import ArchiveSettings
from secondlook.download.body.body_type import declared
from secondlook.download.examination.examination import Examiner
from secondlook.download.gate.gate import BodyGate
from secondlook.download.gate.spool import SpoolRoom
from traffic import tell

MIB = 1 << 20
ROWS = [f"S{number}" for number in range(1, 6)]
FEW, MANY = 500, 5000
COMPILED_S = 300.0
READER = "archive_child"


@contextlib.contextmanager
def secondlook(folder: Path, name: str, scan: str, rules: int = 0) -> Iterator[Proxy]:
    """Run our proxy with one worker and these engines; its rules are in force."""
    config = folder / f"{name}.yaml"
    config.write_text(f"workers: 1\nfeeds: []\nscan: {{{scan}}}\ndownloads: {{archives: {{time: 60s}}}}\n")
    proxy = Proxy(folder / name, config)
    try:
        if rules:
            told = f"{rules + 1} YARA rules in force"

            def in_force() -> bool:
                return told in {event["detail"] for event in proxy.json("log", "--kind", "update")}

            wait_for(lambda: in_force() or None, told, COMPILED_S)
        yield proxy
    finally:
        proxy.stop()


def rules_of(folder: Path, count: int) -> str:
    """Write rules; give the setting that has them look."""
    path = folder / f"{count}.yar"
    path.write_text(public_style(count))
    return f"yara: {{rules: [{path}], timeout: 60s}}"


def held(proxies: dict[str, Proxy], site: Nginx, files: int) -> None:
    """S1: a held file of 1 MiB that nobody has seen."""
    for number in range(files + 1):
        (site.root / f"{number}.exe").write_bytes(program(MIB, number))
    took: dict[str, list[float]] = {name: [] for name in proxies}
    for number in range(files + 1):
        for name, proxy in proxies.items():
            url = f"http://localhost:{site.plain}/{number}.exe"
            ask = ["curl", "-sS", "-m", "300", "-x", proxy.url, "-o", "/dev/null", url]
            done = subprocess.run(
                [*ask, "-w", "%{http_code} %{time_total}"], capture_output=True, text=True, check=True
            )
            status, total_s = done.stdout.split()
            assert status == "200", status
            if number:  # the first starts what looks
                took[name].append(float(total_s) * 1000)
    medians = {name: statistics.median(values) for name, values in took.items()}
    for name, budget_ms in (("YARA", 15), ("clamd", 25)):
        tell(
            f"S1 held 1 MiB, {name}",
            unit="ms",
            added=round(medians[name] - medians["without"], 1),
            budget=budget_ms,
            files=files,
            **{
                who: {
                    "median": round(medians[who], 1),
                    "min": round(min(took[who]), 1),
                    "max": round(max(took[who]), 1),
                }
                for who in ("without", name)
            },
        )


def streamed(proxies: dict[str, Proxy], site: Nginx, rounds: int, size: int) -> None:
    """S2: a large file that streams, through both engines against none; another file each round."""
    speeds: dict[str, list[float]] = {name: [] for name in proxies}
    path = site.root / "large.exe"
    with path.open("wb") as out:
        out.write(b"MZ")
        out.truncate(size)
    for number in range(rounds):
        with path.open("r+b") as out:
            out.seek(size // 2)
            out.write(program(5000, number))
        for name, proxy in proxies.items():
            url = f"http://localhost:{site.plain}/large.exe?{number}"
            speeds[name].append(download(proxy.address, url, size, "--http1.1").rate)
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    tell(
        f"S2 streamed {size // MIB} MiB, both engines",
        unit="MiB/s",
        ratio=round(medians["both"] / medians["without"], 2),
        budget=0.5,
        rounds=rounds,
        **{
            name: {"median": round(medians[name]), "min": round(min(values)), "max": round(max(values))}
            for name, values in speeds.items()
        },
    )


def seen_before(folder: Path, clamd: str) -> None:
    """S3: a file that both engines have looked into, before the same engines again."""
    body, count = program(500, 1), 5000

    async def ask() -> float:
        settings = ScanSettings.model_validate({"clamd": {"address": clamd, "timeout": 60}})
        examiner = Examiner(ArchiveSettings(time=60), settings, folder / "seen")
        gate = BodyGate(
            declared("application/octet-stream", "attachment; filename=x.exe", "/x"),
            len(body),
            None,
            LIMITS,
            SpoolRoom(folder / "spool", 1 << 30, 256),
            kinds=frozenset(),
            must_hold=False,
        )
        gate.feed(body)
        gate.end()
        scan = (await examiner.examine(gate, None)).scan
        assert scan is not None
        for look in scan.looks():
            await look
        began = time.perf_counter()
        for _ in range(count):
            assert scan.known() is not None
        took = time.perf_counter() - began
        gate.close()
        await examiner.aclose()
        return took

    tell("S3 a file seen before", unit="us", median=round(asyncio.run(ask()) / count * 1e6, 1), budget=50)


def pages(proxies: dict[str, Proxy], site: Nginx, rounds: int, seconds: float, folder: Path) -> None:
    """S4: pages, with nothing risky in them."""
    script = folder / "plain.lua"
    script.write_text(PLAIN)
    (site.root / "index.html").write_text("<html><body>" + "x" * 2680 + "</body></html>")
    peers = {name: Peer(proxy.address, (proxy.facts["workers"][0],)) for name, proxy in proxies.items()}
    rates: dict[str, list[float]] = {name: [] for name in peers}
    cpu: dict[str, list[float]] = {name: [] for name in peers}
    for number in range(rounds + 1):
        for name, peer in list(peers.items())[:: 1 if number % 2 else -1]:  # none is always the first
            before = peer.cpu_s()
            load = wrk(f"http://{peer.address}/", seconds, script, ORIGIN=f"127.0.0.1:{site.plain}")
            if number:
                rates[name].append(load.rate)
                cpu[name].append((peer.cpu_s() - before) / load.count * 1e6)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    pairs = zip(cpu["without"], cpu["both"], strict=True)
    tell(
        "S4 pages, both engines",
        unit="requests/s",
        ratio=round(medians["both"] / medians["without"], 3),
        budget=0.98,
        cpu_ratio=round(statistics.median(without / both for without, both in pairs), 3),
        rounds=rounds,
        **{
            name: {"median": round(medians[name]), "min": round(min(values)), "max": round(max(values))}
            for name, values in rates.items()
        },
    )


def memory(proxies: dict[str, Proxy], site: Nginx) -> None:
    """S5: what the worker and the process that looks hold, once they have looked into a file."""
    (site.root / "memory.exe").write_bytes(program(MIB, 77_777))
    workers, readers = {}, {}
    for name, proxy in proxies.items():
        download(proxy.address, f"http://localhost:{site.plain}/memory.exe", MIB, "--http1.1")
        worker = psutil.Process(proxy.facts["workers"][0])
        workers[name] = worker.memory_info().rss / MIB
        readers[name] = max(
            (
                child.memory_info().rss / MIB
                for child in worker.children()
                if READER in " ".join(child.cmdline())
            ),
            default=0.0,
        )
    tell(
        f"S5 memory with {MANY:,} rules",
        unit="MiB",
        worker_more=round(workers["many"] - workers["without"], 1),
        worker_budget=5,
        inspecting_child=round(readers["many"], 1),
        child_budget=250,
        child_without=round(readers["without"], 1),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", nargs="*", choices=ROWS, default=ROWS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--mib", type=int, default=300)
    given = parser.parse_args()
    rows = set(given.rows)
    with tempfile.TemporaryDirectory(prefix="secondlook-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        site = stack.enter_context(nginx(folder / "nginx", *make_certificate(folder, "localhost")))
        daemon = stack.enter_context(real_clamd(stream_max=given.mib + 1))
        clamd = f"clamd: {{address: {daemon.address}, timeout: 60s, max_bytes: {given.mib + 1} MiB}}"
        few = rules_of(folder, FEW)
        without = stack.enter_context(secondlook(folder, "without", ""))
        if "S1" in rows:
            with (
                secondlook(folder, "yara", few, FEW) as yara,
                secondlook(folder, "clamd", clamd) as with_clamd,
            ):
                held({"without": without, "YARA": yara, "clamd": with_clamd}, site, given.files)
        if {"S2", "S4"} & rows:
            large = few.replace("}", f", max_bytes: {given.mib + 1} MiB}}")
            with secondlook(folder, "both", f"{large}, {clamd}", FEW) as both:
                proxies = {"without": without, "both": both}
                if "S2" in rows:
                    streamed(proxies, site, given.rounds, given.mib * MIB)
                if "S4" in rows:
                    pages(proxies, site, given.rounds, given.seconds, folder)
        if "S3" in rows:
            seen_before(folder, daemon.address)
        if "S5" in rows:
            with secondlook(folder, "many", rules_of(folder, MANY), MANY) as many:
                memory({"without": without, "many": many}, site)


if __name__ == "__main__":
    main()
