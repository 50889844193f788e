"""Squid that asks us against the same Squid alone, and beside what others ask, in one run (G1 to G6).

Run: `PYTHONPATH=tests python bench/gateway.py [--rows G1 G4] [--rounds 3] [--seconds 3] [--entries 1000000]`;
prints JSON objects, one a line. Origin: nginx, a 2.7 kB page; load: wrk, 32 keep-alive connections, and for
G3 curl, which speaks CONNECT, as many at once; nothing is cached. Peers alternate within each round. `cpu
us` is the processor time for one request of all that takes part: Squid, helper, gate worker, and the service
with the embedded server; c-icap, e2guardian and clamd beside them.

G1, G2, G3 are asked by the printed lines without those about responses, G4 and G5 by all of them, with other
peers beside (`bench/filters.py`), whose clamd has the five signatures of the tests. G6 is given as the
requests for a second of the gate worker's processor time: the client that asks is in Python too.
"""

import argparse
import contextlib
import os
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import psutil

import filters
from e2e.processes import Memory, Proxy, needs
from load import CONNECTIONS, FRESH, PLAIN, Load, wrk
from peers import Peer, nginx, squid
from scankit.clamd import MARK, real_clamd
from secondlook.server.publish.publishing import publish
from secondlook.server.store.store import ServerStore
from serverkit.ports import free_port
from synthetic import add_source
from traffic import tell

ICAP_SECONDS = 4.0
BUDGETS = {"G1": 0.9, "G2": 0.5, "G3": 0.9, "G4": 0.4, "G5": 0.7, "G6": 6_000}
GROWTH_BUDGET_MIB = 32
LARGE_BYTES = 300 << 20
AUTHORITY = "mitmproxy-ca.pem"  # of the state folder: certificate and key
AGENT = """\
mode: none
gateway: {{enabled: true, socket: {folder}/gateway.sock, icap: "127.0.0.1:{icap}"}}
"""


def compare(name: str, rounds: int, peers: dict[str, Peer], measure: Callable[[str], Load]) -> None:
    """Measure peers in turn; the ratio is that of the last to the first."""
    rates: dict[str, list[float]] = {peer: [] for peer in peers}
    cpu: dict[str, list[float]] = {peer: [] for peer in peers}
    for peer in peers.values():
        measure(peer.address)  # warm-up
    for _ in range(rounds):
        for key, peer in peers.items():
            before = peer.cpu_s()
            load = measure(peer.address)
            cpu[key].append((peer.cpu_s() - before) / load.count * 1e6)
            rates[key].append(load.rate)
    bare, *_, ours = rates
    pairs = zip(cpu[bare], cpu[ours], strict=True)
    tell(
        name,
        unit="requests/s",
        ratio=round(statistics.median(rates[ours]) / statistics.median(rates[bare]), 2),
        budget=BUDGETS[name[:2]],
        cpu_ratio=round(statistics.median(theirs / our for theirs, our in pairs), 2),
        rounds=rounds,
        **{
            key: {
                "median": round(statistics.median(rates[key])),
                "min": round(min(rates[key])),
                "max": round(max(rates[key])),
                "cpu us": round(statistics.median(cpu[key])),
            }
            for key in rates
        },
    )


def tunnelled(address: str, count: int, origin: str) -> Load:
    """Fetch pages over intercepted TLS with curl, over as many connections as wrk has."""
    own = ["--insecure", "--http1.1", "--proxy", f"http://{address}", "--no-progress-meter"]
    at_once = ["--parallel", "--parallel-immediate", "--parallel-max", str(CONNECTIONS)]
    shown = ["--write-out", "%{http_code}\n", "--output", os.devnull]
    started = time.monotonic()
    done = subprocess.run(
        [needs("curl"), *own, *at_once, *shown, f"https://{origin}/#[1-{count}]"],
        capture_output=True,
        text=True,
        check=True,
    )
    took_s = time.monotonic() - started
    statuses = done.stdout.split()
    assert statuses.count("200") == count, (len(statuses), done.stderr[:500])
    return Load(count / took_s, count)


def download_mib_s(address: str, url: str) -> float:
    """Fetch the large file; its speed in MiB/s."""
    asked = ["--no-progress-meter", "--proxy", f"http://{address}", "--output", os.devnull]
    done = subprocess.run(
        [needs("curl"), *asked, "--write-out", "%{size_download} %{speed_download}", url],
        capture_output=True,
        text=True,
        check=True,
    )
    size, speed = map(float, done.stdout.split())
    assert size == LARGE_BYTES, size
    return speed / (1 << 20)


def download(agent: Proxy, rounds: int, peers: dict[str, Peer], url: str) -> None:
    """G5: a large program; what the gate worker grows by is the kernel's own peak."""
    memory = Memory(agent.fresh_facts()["gates"][0])
    speeds: dict[str, list[float]] = {peer: [] for peer in peers}
    for _ in range(rounds):
        for key, peer in peers.items():
            speeds[key].append(download_mib_s(peer.address, url))
    _, echo, ours = speeds
    tell(
        "G5 300 MB program through Squid with helper and bodies",
        unit="MiB/s",
        ratio=round(statistics.median(speeds[ours]) / statistics.median(speeds[echo]), 2),
        budget=BUDGETS["G5"],
        rounds=rounds,
        growth_mib=round(memory.grown() / (1 << 20), 1),
        growth_budget_mib=GROWTH_BUDGET_MIB,
        **{
            key: {
                "median": round(statistics.median(each)),
                "min": round(min(each)),
                "max": round(max(each)),
            }
            for key, each in speeds.items()
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


class Stand:
    """An agent with a filled server, an origin, and what starts the Squids that ask."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack, entries: int, seconds: float) -> None:
        self.folder, self.stack, self.seconds = folder, stack, seconds
        self.state = folder / "state"
        (self.state / "server").mkdir(parents=True)
        store = ServerStore(self.state / "server")
        add_source(store, entries, seed=1)
        publish(store, now=time.time())
        config = folder / "proxy.yaml"
        config.write_text(AGENT.format(folder=folder, icap=free_port()))
        self.agent = Proxy(self.state, config)
        stack.callback(self.agent.stop)
        self.lines = self.agent.command("setup", "squid").stdout
        self.about_urls = "\n".join(
            line for line in self.lines.splitlines() if "secondlook_response" not in line
        )
        self.plain, self.tls = stack.enter_context(nginx(folder))
        for script, text in {"same": PLAIN, "fresh": FRESH}.items():
            (folder / script).write_text(text)
        self.bare = self.squid("bare", "")

    def squid(self, name: str, lines: str, *, opens: bool = False) -> Peer:
        """Start a Squid; the agent's processes take part where it asks."""
        asks = "secondlook_ok" in lines
        ours = (self.agent.facts["service"], *self.agent.fresh_facts()["gates"]) if asks else ()
        authority = self.state / "ca" / AUTHORITY if opens else None
        return self.stack.enter_context(squid(self.folder / name, lines, ours, authority=authority))

    def asking_c_icap(self, service: str, services: str, *others: int) -> Peer:
        """Start a Squid that asks a c-icap about each response."""
        port, serving = self.stack.enter_context(filters.c_icap(self.folder / f"c-icap-{service}", services))
        asking = self.squid(service, filters.ASKING.format(port=port, service=service))
        return Peer(asking.address, (*asking.pids, *serving, *others))

    def see_it_refused(self, mark: bytes, addresses: Iterable[str]) -> None:
        """Fetch a page that clamd knows through each peer: only those that really look are measured."""
        (self.folder / "marked.html").write_bytes(mark * 40)
        for address in addresses:
            asked = [needs("curl"), "-s", "--proxy", f"http://{address}"]
            url = f"http://127.0.0.1:{self.plain}/marked.html"
            answer = subprocess.run([*asked, url], capture_output=True, check=True).stdout
            assert answer, address
            assert mark not in answer, address

    def load(self, script: str) -> Callable[[str], Load]:
        """Give what loads a Squid by a script of wrk."""
        origin = f"127.0.0.1:{self.plain}"
        path = self.folder / script
        return lambda address: wrk(f"http://{address}/", self.seconds, path, ORIGIN=origin)


def about_urls(stand: Stand, rows: set[str], rounds: int) -> None:
    """G1, G2 and G3: the helper alone."""
    peers = {"squid": stand.bare, "asking": stand.squid("urls", stand.about_urls)}
    if "G1" in rows:
        compare("G1 Squid with helper, the same page", rounds, peers, stand.load("same"))
    if "G2" in rows:
        compare("G2 Squid with helper, every URL new, embedded server", rounds, peers, stand.load("fresh"))
    if "G3" in rows:
        peers = {
            "squid": stand.squid("opened", "", opens=True),
            "asking": stand.squid("opened-urls", stand.about_urls, opens=True),
        }
        fetch = partial(tunnelled, count=round(2000 * stand.seconds), origin=f"127.0.0.1:{stand.tls}")
        compare("G3 Squid that opens TLS, with helper, the same page", rounds, peers, fetch)


def antiviruses(stand: Stand) -> dict[str, Peer]:
    """Start those that have clamd look into each page, and see that they do."""
    clamd = stand.stack.enter_context(real_clamd())
    assert clamd.process is not None
    daemon = clamd.process.pid
    scanning = stand.asking_c_icap("avscan", filters.VIRUS_SCAN.format(clamd=clamd.address), daemon)
    guardian = stand.stack.enter_context(filters.e2guardian(stand.folder / "guardian", clamd.address))
    stand.see_it_refused(MARK, (scanning.address, guardian.address))
    return {
        "e2guardian with clamd": Peer(guardian.address, (*guardian.pids, daemon)),
        "with c-icap's virus_scan and clamd": scanning,
    }


def about_bodies(stand: Stand, rows: set[str], rounds: int) -> None:
    """G4 and G5: every response is looked at."""
    peers = {
        "squid": stand.bare,
        "with c-icap's echo": stand.asking_c_icap("echo", filters.ECHO),
        "asking": stand.squid("bodies", stand.lines),
    }
    if "G4" in rows:
        compare(
            "G4 Squid with helper and bodies, the same page",
            rounds,
            {"squid": peers["squid"], **antiviruses(stand), **peers},
            stand.load("same"),
        )
    if "G5" in rows:
        with (stand.folder / "large.exe").open("wb") as file:
            file.write(b"MZ")
            file.truncate(LARGE_BYTES)
        download(stand.agent, rounds, peers, f"http://127.0.0.1:{stand.plain}/large.exe")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", nargs="*", choices=[*BUDGETS], default=[*BUDGETS])
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--seconds", type=float, default=3.0)
    arguments.add_argument("--entries", type=int, default=1_000_000)
    given = arguments.parse_args()
    rows = set(given.rows)
    with tempfile.TemporaryDirectory(prefix="slb", dir="/tmp") as name, contextlib.ExitStack() as stack:
        stand = Stand(Path(name), stack, given.entries, given.seconds)
        if rows & {"G1", "G2", "G3"}:
            about_urls(stand, rows, given.rounds)
        if rows & {"G4", "G5"}:
            about_bodies(stand, rows, given.rounds)
        if "G6" in rows:
            icap_rate(stand.agent, given.rounds)


if __name__ == "__main__":
    main()
