"""A million requests and more of everything at once: memory, files and threads have to stay flat.

Run: `make soak`, or `PYTHONPATH=tests python bench/soak.py [--warm 450000] [--requests 1000000]`; prints one
JSON object for each process. Two workers, real lists where they are there, an intranet server beside the
embedded one, risky files held and looked at by YARA and by a clamd of its own, and a Squid that asks a gate
worker about URLs and bodies. Meanwhile:

* wrk sends the mixture of `longrun.py`: pages never seen, pages that come again, programs, listed pages;
* a page with thirty parts is loaded over intercepted HTTPS (HTTP/2, side by side) every few seconds;
* a program of 8 MB is downloaded whole, and a listed page is refused, by the proxy and through Squid;
* wrk sends the same mixture through Squid for a third of the time;
* the server publishes a new generation every minute, of which the proxy takes what changed;
* the server hangs, is slow, fails, answers garbage, drops its connections and comes back, in turn.

The cache of answers is small (10,000 prefixes in each process, by default 200,000), so that it is full when
what follows is compared with it: both workers' are after some 400,000 requests. For the same reason half of
what warms up goes through Squid: a gate worker remembers 20,000 addresses with their decisions and 50,000
visits, and has them after some 100,000 requests.

It ends with 1 when a figure at the end lies beyond its bound or an answer was none that may be. A figure is
the middle of the last five weighings: a single one may meet a page load that takes thirty connections.
"""

import argparse
import collections
import contextlib
import itertools
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Self

import psutil

from e2e.fronts import FAULTS, Front
from e2e.processes import Proxy, Server, server_import, server_publish, wait_for
from longrun import MIB, MIXED, drive
from peers import Peer, nginx, squid
from scankit.clamd import real_clamd
from serverkit.ports import free_port
from traffic import real_lists, tell

WEIGHINGS = 5
PARTS = 30
FILE_BYTES = 8 << 20
CLAMD_MIB = 64  # what it takes of a file: more than the largest here
SQUID_S, SQUID_PAUSE_S = 5.0, 10.0
CONFIG = """\
workers: {workers}
feeds: [{{name: test, builtin: test}}]
servers:
  intranet: [{{url: '{front}', name: near}}]
  circuit: {{backoff_min: 200ms, backoff_max: 2s}}
mitmproxy: {{ssl_insecure: true}}
cache: {{size: 10000}}
scan: {{clamd: {clamd}}}
gateway: {{enabled: true, socket: {folder}/gateway.sock, icap: "127.0.0.1:{icap}"}}
"""
GROWTH = {"mib": 1.05, "files": 1.1, "threads": 1.0}  # at the end, against what it was when caches were full
SPARE = {
    "mib": 4,
    "files": 16,
    "threads": 4,
}  # what small figures may differ by: a connection, a pool that fills


def weighed(proxy: Proxy) -> dict[str, dict[str, float]]:
    """Own memory, open files and threads, by role."""
    facts = proxy.fresh_facts()
    roles = {proxy.process.pid: "supervisor", facts["service"]: "service"}
    roles |= dict.fromkeys(facts["workers"], "workers")
    roles |= dict.fromkeys(facts["gates"], "gate workers")
    root = psutil.Process(proxy.process.pid)
    weights: dict[str, dict[str, float]] = {}
    for process in (root, *root.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # a look into an archive may just have ended
            found = {
                "mib": process.memory_full_info().uss / MIB,
                "files": process.num_fds(),
                "threads": process.num_threads(),
            }
            role = weights.setdefault(roles.get(process.pid, "others"), dict.fromkeys(GROWTH, 0.0))
            for name, value in found.items():
                role[name] += value
    return {role: {name: round(value, 1) for name, value in each.items()} for role, each in weights.items()}


def middle(weighings: Collection[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """The median of each figure; a role may be missing in some."""
    roles = {role: [each[role] for each in weighings if role in each] for each in weighings for role in each}
    return {
        role: {name: statistics.median(each[name] for each in found) for name in GROWTH}
        for role, found in roles.items()
    }


class Beside:
    """What goes on beside the mixture, each on a thread of its own, until the end."""

    def __init__(self) -> None:
        self._end = threading.Event()
        self._threads: list[threading.Thread] = []
        self.done: dict[str, int] = {}
        self.faults: list[str] = []
        self.requests = 0  # of mixtures, beside those of the main one

    def do(self, name: str, act: Callable[[int], str | None]) -> None:
        """Do something once; what it returns is what was wrong."""
        number = self.done.get(name, 0)
        try:
            fault = act(number)
        except Exception as error:  # noqa: BLE001 - the report names it
            fault = repr(error)
        self.done[name] = number + 1
        if fault:
            self.faults.append(f"{name} {number}: {fault}")
            print(time.strftime("%X"), self.faults[-1], file=sys.stderr)

    def every(self, seconds: float, name: str, act: Callable[[int], str | None]) -> None:
        """Do something again and again."""

        def run() -> None:
            while not self._end.wait(seconds):
                self.do(name, act)

        thread = threading.Thread(target=run, name=name)
        thread.start()
        self._threads.append(thread)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()


def page_load(proxy: Proxy, tls: int) -> Callable[[int], str | None]:
    """Load a page with its parts as a browser does: one connection of HTTP/2 through a tunnel."""

    def act(number: int) -> str | None:
        urls = [f"https://localhost:{tls}/load/{number}/{part}.html" for part in range(PARTS)]
        command = [
            "curl",
            "-sk",
            "--max-time",
            "60",
            "--parallel",
            "--http2",
            "-x",
            proxy.url,
            "-w",
            "%{http_code}\n",
        ]
        for url in urls:
            command += ["-o", "/dev/null", url]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        statuses = done.stdout.split()
        return None if statuses == ["200"] * PARTS else f"curl ended with {done.returncode}: {statuses}"

    return act


def download(address: str, origin: str) -> Callable[[int], str | None]:
    """Fetch a program whole, and be refused a listed page."""

    def act(number: int) -> str | None:
        whole = fetched(address, f"http://{origin}/large.exe?{address}{number}")
        listed = fetched(address, f"http://malware.secondlook.test/{number}")
        if whole != f"200 {FILE_BYTES}" or not listed.startswith("403 "):
            return f"program {whole}, listed page {listed} (status and bytes)"
        return None

    return act


def fetched(address: str, url: str) -> str:
    """Status and bytes of one answer."""
    command = ["curl", "-s", "-x", f"http://{address}", "--max-time", "60", "-o", "/dev/null", url]
    command += ["-w", "%{http_code} %{size_download}"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def mixture(
    beside: Beside, address: str, script: Path, origin: str, seconds: float
) -> Callable[[int], str | None]:
    """Send the mixture for a while."""

    def act(_: int) -> str | None:
        try:
            beside.requests += drive(address, script, origin, seconds)
        except SystemExit as errors:
            return str(errors)
        return None

    return act


def update(state: Path, folder: Path) -> Callable[[int], str | None]:
    """Publish a generation in which something changed."""

    def act(number: int) -> str | None:
        names = folder / "changing.txt"
        names.write_text("".join(f"n{number}-{each}.soak.example\n" for each in range(200)))
        server_import(state, "mw-8b", names)
        server_publish(state)
        return None

    return act


@contextlib.contextmanager
def everything(folder: Path, workers: int) -> Iterator[tuple[Proxy, Peer, Beside, str]]:
    """Run origin, servers, engines, Squid, the proxy and what goes on beside the mixture."""
    with contextlib.ExitStack() as stack:
        state = real_lists(folder)
        (folder / "own.txt").write_text("own.soak.example\n")
        server_import(folder / "server", "mw-8b", folder / "own.txt")
        server_publish(folder / "server")
        server = Server(folder / "server")
        stack.callback(server.stop)
        plain, tls = stack.enter_context(nginx(folder))
        origin = f"127.0.0.1:{plain}"
        (folder / "program.exe").write_bytes(b"MZ" + bytes(40_000))
        (folder / "large.exe").write_bytes(b"MZ" + bytes(FILE_BYTES - 2))
        front = stack.enter_context(Front(server.url.removeprefix("http://")))
        clamd = stack.enter_context(real_clamd(stream_max=CLAMD_MIB))
        config = folder / "proxy.yaml"
        config.write_text(
            CONFIG.format(
                workers=workers, front=front.url, clamd=clamd.address, folder=folder, icap=free_port()
            )
        )
        proxy = Proxy(state, config)
        stack.callback(proxy.stop)
        wait_for(lambda: proxy.json("pattern", "status") or None, "the lists", 120)
        gateway = stack.enter_context(squid(folder / "squid", proxy.command("setup", "squid").stdout))
        script = folder / "mixed.lua"
        script.write_text(MIXED)
        beside = stack.enter_context(Beside())
        beside.every(5, "page loads", page_load(proxy, tls))
        beside.every(3, "downloads", download(proxy.address, origin))
        beside.every(3, "downloads through Squid", download(gateway.address, origin))
        mixed = mixture(beside, gateway.address, script, origin, SQUID_S)
        beside.every(SQUID_PAUSE_S, "mixtures through Squid", mixed)
        beside.every(60, "updates", update(folder / "server", folder))
        manners = itertools.cycle(["relay", *FAULTS])
        beside.every(10, "turns of the server", lambda _: setattr(front, "manner", next(manners)))
        yield proxy, gateway, beside, origin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--warm", type=int, default=450_000)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--slice", type=float, default=20.0, help="seconds between two weighings")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="secondlook-soak-") as name:
        folder = Path(name)
        with everything(folder, given.workers) as (proxy, gateway, beside, origin):
            script = folder / "mixed.lua"
            filling = mixture(beside, gateway.address, script, origin, given.slice)
            warm: dict[str, dict[str, float]] | None = None
            last: collections.deque[dict[str, dict[str, float]]] = collections.deque(maxlen=WEIGHINGS)
            direct, seen, first, began = 0, 0, 0, time.monotonic()
            while warm is None or seen < first + given.requests:
                direct += drive(proxy.address, script, origin, given.slice)
                if warm is None:
                    beside.do("mixtures that warm the gate up", filling)
                seen = direct + beside.requests
                last.append(weighed(proxy))
                print(f"{seen:,} requests: {last[-1]}", file=sys.stderr)
                if warm is None and seen >= given.warm:
                    warm, first, began = middle(last), seen, time.monotonic()
            rate = round((seen - first) / (time.monotonic() - began))
        faults = report(warm, middle(last), requests=seen - first, per_s=rate)
    tell("soak, beside the requests", **beside.done, faults=len(beside.faults))
    faults += beside.faults
    if faults:
        raise SystemExit("\n".join(faults))


def report(warm: dict[str, dict[str, float]], end: dict[str, dict[str, float]], **facts: object) -> list[str]:
    """Print a row for each process; return what grew."""
    grew = []
    for role in (each for each in warm if each != "others"):
        row: dict[str, object] = {}
        for name, factor in GROWTH.items():
            before, after = warm[role][name], end[role][name]
            row |= {f"{name}_warm": before, f"{name}_end": after}
            if after > max(before * factor, before + SPARE[name]):
                grew.append(f"{role}: {name} grew from {before} to {after}")
        tell(f"soak, {role}", **facts, **row)
    return grew


if __name__ == "__main__":
    main()
