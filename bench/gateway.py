"""Squid that asks us against the same Squid alone, in one run (G1, G2, G4, G6).

Run: `PYTHONPATH=tests python bench/gateway.py [--rounds 5] [--seconds 4] [--entries 1000000]`; prints JSON
objects, one a line. Origin: nginx, a 2.7 kB page; load: wrk, 32 keep-alive connections; nothing is cached.
Peers alternate within each round. `cpu us` is the processor time for one request of all that takes part:
Squid, its helper, the gate worker, and the service with the embedded server.

`helper`: the printed lines without those about responses; `helper and bodies`: all of them. G6 is told as
requests for a second of the gate worker's processor time: the client that asks is in Python too.
"""

import argparse
import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from e2e.processes import Proxy, wait_for
from secondlook.server.publish.publishing import publish
from secondlook.server.store.store import ServerStore
from serverkit.ports import free_port
from synthetic import add_source
from traffic import CONNECTIONS, FRESH, PLAIN, Load, is_open, nginx, tell, wrk

ICAP_SECONDS = 4.0
BUDGETS = {"G1": 0.9, "G2": 0.5, "G4": 0.4, "G6": 6_000}
SQUID = """\
http_port 127.0.0.1:{port}
pid_filename {folder}/squid.pid
cache_log {folder}/cache.log
coredump_dir {folder}
access_log none
cache deny all
shutdown_lifetime 1 seconds
pinger_enable off
{lines}
http_access allow all
"""
AGENT = """\
mode: none
gateway: {{enabled: true, socket: {folder}/gateway.sock, icap: "127.0.0.1:{icap}"}}
"""


@dataclass(frozen=True)
class Peer:
    """A Squid, and the processes that take part in its answers."""

    address: str
    processes: tuple[psutil.Process, ...]

    def cpu_s(self) -> float:
        """Processor time taken so far."""
        times = [each.cpu_times() for each in self.processes]
        return float(sum(each.user + each.system for each in times))


@contextlib.contextmanager
def squid(folder: Path, lines: str, others: list[int]) -> Iterator[Peer]:
    """Run a Squid with these lines in its configuration."""
    folder.mkdir()
    port = free_port()
    (folder / "squid.conf").write_text(SQUID.format(port=port, folder=folder, lines=lines))
    as_other = ["unshare", "--user", "--map-user=65534", "--map-group=65534"] if os.getuid() == 0 else []
    program = shutil.which("squid") or "/usr/sbin/squid"
    command = [*as_other, program, "-N", "-n", f"slb{port}", "-f", str(folder / "squid.conf")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: is_open(port), "Squid")
        own = psutil.Process(process.pid)
        family = (own, *own.children(recursive=True), *map(psutil.Process, others))
        yield Peer(f"127.0.0.1:{port}", family)
    finally:
        process.terminate()
        process.wait()


def compare(
    name: str, budget: float, rounds: int, peers: dict[str, Peer], measure: Callable[[str], Load]
) -> None:
    """Measure two peers in turn; the ratio is that of the second to the first."""
    rates: dict[str, list[float]] = {peer: [] for peer in peers}
    cpu: dict[str, list[float]] = {peer: [] for peer in peers}
    for peer in peers.values():
        measure(peer.address)  # warm-up
    for _ in range(rounds):
        for key, peer in peers.items():
            before = peer.cpu_s()
            load = measure(peer.address)
            cpu[key].append((peer.cpu_s() - before) / load.requests * 1e6)
            rates[key].append(load.rate)
    bare, ours = rates
    pairs = zip(cpu[bare], cpu[ours], strict=True)
    tell(
        name,
        unit="requests/s",
        ratio=round(statistics.median(rates[ours]) / statistics.median(rates[bare]), 2),
        budget=budget,
        cpu_ratio=round(statistics.median(theirs / our for theirs, our in pairs), 2),
        rounds=rounds,
        **{
            label: {
                "median": round(statistics.median(rates[key])),
                "min": round(min(rates[key])),
                "max": round(max(rates[key])),
                "cpu us": round(statistics.median(cpu[key])),
            }
            for label, key in (("squid", bare), ("asking", ours))
        },
    )


def ask_icap(address: tuple[str, int], until: float, counts: list[int]) -> None:
    """Send the same REQMOD again and again over one connection, each after the answer to the last."""
    http = b"GET http://example.org/page HTTP/1.1\r\nHost: example.org\r\nAccept: text/html\r\n\r\n"
    icap = (
        f"REQMOD icap://{address[0]}:{address[1]}/reqmod ICAP/1.0\r\nHost: {address[0]}:{address[1]}\r\n"
        f"X-Client-IP: 192.0.2.7\r\nAllow: 204\r\nEncapsulated: req-hdr=0, null-body={len(http)}\r\n\r\n"
    ).encode() + http
    count = 0
    with socket.create_connection(address) as sock:
        while time.monotonic() < until:
            sock.sendall(icap)
            answer = sock.recv(4096)
            assert answer.startswith(b"ICAP/1.0 204"), answer
            count += 1
    counts.append(count)


def icap_rate(agent: Proxy, rounds: int) -> None:
    """G6: REQMOD without a body, of a URL seen before."""
    host, _, port = agent.facts["icap"].rpartition(":")
    gate = psutil.Process(agent.fresh_facts()["gates"][0])
    for_a_second, rates = [], []
    for _ in range(rounds):
        counts: list[int] = []
        until = time.monotonic() + ICAP_SECONDS
        asking = [
            threading.Thread(target=ask_icap, args=((host, int(port)), until, counts))
            for _ in range(CONNECTIONS // 4)
        ]
        before = gate.cpu_times()
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        after = gate.cpu_times()
        used_s = after.user + after.system - before.user - before.system
        for_a_second.append(sum(counts) / used_s)
        rates.append(sum(counts) / ICAP_SECONDS)
    tell(
        "G6 ICAP REQMOD, no body, URL seen before",
        unit="requests for a second of the gate worker",
        median=round(statistics.median(for_a_second)),
        min=round(min(for_a_second)),
        max=round(max(for_a_second)),
        budget=BUDGETS["G6"],
        by_the_clock=round(statistics.median(rates)),
        rounds=rounds,
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=float, default=4.0)
    arguments.add_argument("--entries", type=int, default=1_000_000)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="slb", dir="/tmp") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        state = folder / "state"
        (state / "server").mkdir(parents=True)
        store = ServerStore(state / "server")
        add_source(store, given.entries, seed=1)
        publish(store, now=time.time())
        config = folder / "proxy.yaml"
        config.write_text(AGENT.format(folder=folder, icap=free_port()))
        agent = Proxy(state, config)
        stack.callback(agent.stop)
        lines = agent.command("setup", "squid").stdout
        about_urls = "\n".join(line for line in lines.splitlines() if "secondlook_response" not in line)
        plain, _ = stack.enter_context(nginx(folder))
        ours = [agent.facts["service"], *agent.fresh_facts()["gates"]]
        bare = stack.enter_context(squid(folder / "bare", "", []))
        urls = stack.enter_context(squid(folder / "urls", about_urls, ours))
        bodies = stack.enter_context(squid(folder / "bodies", lines, ours))
        scripts = {"same": PLAIN, "fresh": FRESH}
        for script, text in scripts.items():
            (folder / script).write_text(text)

        def load(script: str) -> Callable[[str], Load]:
            return lambda address: wrk(
                f"http://{address}/", given.seconds, folder / script, ORIGIN=f"127.0.0.1:{plain}"
            )

        rounds = given.rounds
        same, fresh = load("same"), load("fresh")
        two = {"bare": bare, "urls": urls}
        compare("G1 Squid with helper, the same page", BUDGETS["G1"], rounds, two, same)
        compare("G2 Squid with helper, every URL new, embedded server", BUDGETS["G2"], rounds, two, fresh)
        all_of_it = {"bare": bare, "bodies": bodies}
        compare("G4 Squid with helper and bodies, the same page", BUDGETS["G4"], rounds, all_of_it, same)
        icap_rate(agent, rounds)


if __name__ == "__main__":
    main()
