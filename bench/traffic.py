"""Traffic through the proxy against stock mitmdump of the same version, in one run (P1, P2, P3, P12, P15).

Run: `PYTHONPATH=tests python bench/traffic.py [--rounds 5] [--seconds 5] [--entries 10000000] [--part NAME]`;
prints one JSON object a line. Origin: nginx, one worker, a 2.7 kB page. Load: wrk (plain and TLS, keep-alive)
and h2load (HTTP/2), 32 connections. Peers alternate within each round. Intercepted HTTPS is measured in
reverse mode, as neither wrk nor h2load speaks CONNECT: TLS to the client with a certificate made on the fly,
TLS to the origin, the same layers between. P3 asks the client to close after each answer.

Beside the rate stands the processor time of the proxy process for one request (`cpu us`), and its ratio, the
median over rounds: it tells the cost of a request where other work shares the machine.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from e2e.processes import (
    Proxy,
    Running,
    Server,
    make_certificate,
    server_import,
    server_publish,
    wait_for,
)
from secondlook.server.publish.publishing import publish
from secondlook.server.store.store import ServerStore
from serverkit.ports import free_port
from synthetic import add_source

HERE = Path(__file__).resolve().parent

DATA = HERE.parents[1] / "shared" / "data" / "malicious"
REAL = ("phishdb_urls.txt.xz", "phishdb_domains.txt.xz", "urlhaus_hist_ipv4.txt.xz")
CONNECTIONS = 32
BIN = Path(sys.executable).parent
PLAIN = """
local address = os.getenv("ORIGIN")
request = function() return wrk.format("GET", "http://" .. address .. "/", {["Host"] = address}) end
"""
FRESH = """
local address = os.getenv("ORIGIN")
local counter, thread = 0, 0
setup = function(t) thread = thread + 1; t:set("salt", os.time() .. "-" .. thread) end
request = function()
  counter = counter + 1
  local url = "http://" .. address .. "/p/" .. salt .. "/" .. counter .. ".html"
  return wrk.format("GET", url, {["Host"] = address})
end
"""


@dataclass(frozen=True)
class Peer:
    """A proxy that is measured."""

    address: str
    pid: int  # of the process that serves

    def cpu_s(self) -> float:
        """Processor time taken so far."""
        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)


@dataclass(frozen=True)
class Load:
    """What a load generator got through."""

    rate: float  # requests/s
    requests: int


def tell(name: str, **figures: object) -> None:
    print(json.dumps({"bench": name, **figures}), flush=True)


@contextlib.contextmanager
def nginx(folder: Path) -> Iterator[tuple[int, int]]:
    """Run an origin; gives its plain and its TLS port."""
    certificate, key = make_certificate(folder, "localhost", "127.0.0.1")
    plain, tls = free_port(), free_port()
    (folder / "page.html").write_text("<html><body>" + "x" * 2680 + "</body></html>")
    (folder / "nginx.conf").write_text(f"""
daemon off; {"user root;" if os.geteuid() == 0 else ""} pid {folder}/nginx.pid;
error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  default_type text/html;
  server {{ listen 127.0.0.1:{plain}; location / {{ root {folder}; try_files $uri /page.html =404; }} }}
  server {{ listen 127.0.0.1:{tls} ssl http2; ssl_certificate {certificate}; ssl_certificate_key {key};
           location / {{ root {folder}; try_files $uri /page.html =404; }} }}
}}
""")
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    server = subprocess.Popen(
        [program, "-c", str(folder / "nginx.conf"), "-p", str(folder)], stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: (folder / "nginx.pid").exists() or None, "nginx")
        time.sleep(0.3)
        yield plain, tls
    finally:
        server.terminate()
        server.wait()


@contextlib.contextmanager
def mitmdump(folder: Path, *arguments: str) -> Iterator[Peer]:
    """Run stock mitmdump."""
    port = free_port()
    options = ["--listen-host", "127.0.0.1", "-p", str(port), "--set", f"confdir={folder}/stock"]
    program = str(BIN / "mitmdump")
    running = Running([program, "-q", "--ssl-insecure", *options, *arguments], folder / "mitmdump.log")
    try:
        wait_for(lambda: is_open(port), "mitmdump")
        yield Peer(f"127.0.0.1:{port}", running.process.pid)
    finally:
        running.stop()


def is_open(port: int) -> bool | None:
    """Say that something listens there; None: not yet."""
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
    except OSError:
        return None
    return True


@contextlib.contextmanager
def secondlook(folder: Path, state: Path, config: str, *arguments: str) -> Iterator[Peer]:
    """Run our proxy with one worker."""
    path = folder / f"{state.name}.yaml"
    path.write_text(f"workers: 1\nmitmproxy: {{ssl_insecure: true}}\n{config}")
    proxy = Proxy(state, path, *arguments)
    try:
        yield Peer(proxy.address, proxy.facts["workers"][0])
    finally:
        proxy.stop()


def wrk(
    url: str, seconds: float, script: Path | None = None, *, close: bool = False, **environment: str
) -> Load:
    """Load an address with wrk; with `close` every request has a connection of its own."""
    command = [
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{seconds:g}s",
        *(["-s", str(script)] if script else []),
        *(["-H", "Connection: close"] if close else []),
        url,
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin", **environment}
    )
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)", done.stdout)
    assert failed is None, f"{url}: {failed and failed[0]}"
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)[1])
    return Load(rate, int(re.search(r"(\d+) requests in", done.stdout)[1]))


def h2load(url: str, seconds: float) -> Load:
    """Load an address with h2load over HTTP/2."""
    command = ["h2load", "-t1", "-c8", "-m4", f"-D{max(1, round(seconds))}", url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "application protocol: h2" in done.stdout.lower(), done.stdout
    assert re.search(r" 0 failed, 0 errored, 0 timeout", done.stdout), done.stdout
    rate = float(re.search(r"finished in .*?, ([\d.]+) req/s", done.stdout)[1])
    return Load(rate, int(re.search(r"(\d+) succeeded", done.stdout)[1]))


type Measure = Callable[[str], Load]


def compare(name: str, budget: float, rounds: int, peers: dict[str, Peer], measure: Measure) -> None:
    """Measure peers in turn, round by round; the ratio is of medians, the spread of all rounds."""
    rates: dict[str, list[float]] = {peer: [] for peer in peers}
    cpu: dict[str, list[float]] = {peer: [] for peer in peers}
    for peer in peers.values():
        measure(peer.address)  # warm-up
    for _ in range(rounds):
        for key, peer in peers.items():
            before = peer.cpu_s()
            load = measure(peer.address)
            assert load.requests, f"{name}: nothing came through {key}; take more seconds"
            cpu[key].append((peer.cpu_s() - before) / load.requests * 1e6)
            rates[key].append(load.rate)
    medians = {key: statistics.median(values) for key, values in rates.items()}
    pairs = zip(cpu["mitmdump"], cpu["secondlook"], strict=True)
    tell(
        name,
        unit="requests/s",
        ratio=round(medians["secondlook"] / medians["mitmdump"], 2),
        budget=budget,
        cpu_ratio=round(statistics.median(theirs / ours for theirs, ours in pairs), 2),
        rounds=rounds,
        **{
            key: {
                "median": round(medians[key]),
                "min": round(min(values)),
                "max": round(max(values)),
                "cpu us": round(statistics.median(cpu[key])),
            }
            for key, values in rates.items()
        },
    )


def real_lists(folder: Path) -> Path:
    """A proxy's state with more than a million real entries published in its embedded server."""
    state = folder / "listed"
    server = state / "server"
    server.mkdir(parents=True)
    if DATA.is_dir():
        for name, target in zip(REAL, ("se-8b", "se-8b", "mw-8b"), strict=True):
            unpacked = folder / name.removesuffix(".xz")
            with unpacked.open("wb") as out:
                subprocess.run(["xz", "-dc", str(DATA / name)], stdout=out, check=True)
            server_import(server, target, unpacked)
            unpacked.unlink()
        server_publish(server)
    else:
        store = ServerStore(server)
        add_source(store, 1_000_000, seed=1)
        publish(store, now=time.time())
    return state


def throughput(folder: Path, rounds: int, seconds: float) -> None:
    """P1, P2, P3 and P15."""
    state = real_lists(folder)
    plain_script, fresh_script = folder / "plain.lua", folder / "fresh.lua"
    plain_script.write_text(PLAIN)
    fresh_script.write_text(FRESH)
    with nginx(folder) as (plain, tls):
        origin = f"127.0.0.1:{plain}"

        def same(address: str) -> Load:
            return wrk(f"http://{address}/", seconds, plain_script, ORIGIN=origin)

        def fresh(address: str) -> Load:
            return wrk(f"http://{address}/", seconds, fresh_script, ORIGIN=origin)

        with mitmdump(folder) as stock, secondlook(folder, state, "") as ours:
            peers = {"mitmdump": stock, "secondlook": ours}
            compare("P1 plain HTTP keep-alive", 2.0, rounds, peers, same)
            compare("P15 every URL new, embedded server", 1.7, rounds, peers, fresh)
        mode = f"reverse:https://127.0.0.1:{tls}"
        with mitmdump(folder, "--mode", mode) as stock, secondlook(folder, state, f"mode: {mode}\n") as ours:
            peers = {"mitmdump": stock, "secondlook": ours}
            name = "P2 intercepted HTTPS keep-alive, HTTP/1.1"
            compare(name, 2.0, rounds, peers, lambda address: wrk(f"https://{address}/", seconds))
            name = "P2 intercepted HTTPS keep-alive, HTTP/2"
            compare(name, 2.0, rounds, peers, lambda address: h2load(f"https://{address}/", seconds))
            name = "P3 intercepted HTTPS, new connection each"
            compare(name, 1.2, rounds, peers, lambda address: wrk(f"https://{address}/", seconds, close=True))
        server = Server(state / "server", "--set", "limits.requests=1000000", "--set", "limits.burst=1000000")
        try:
            config = f"servers:\n  embedded: false\n  intranet: [{{url: '{server.url}'}}]\n"
            with mitmdump(folder) as stock, secondlook(folder, folder / "remote", config) as ours:
                peers = {"mitmdump": stock, "secondlook": ours}
                compare("P15 every URL new, remote server on loopback", 1.0, rounds, peers, fresh)
        finally:
            server.stop()


def start_up(folder: Path, rounds: int, entries: int) -> None:
    """P12: from the command to `run.json`, with the pattern in place."""
    state = folder / "large"
    server = state / "server"
    server.mkdir(parents=True)
    store = ServerStore(server)
    add_source(store, entries, seed=1)
    publish(store, now=time.time())
    config = folder / "large.yaml"
    config.write_text("workers: 2\n")
    Proxy(state, config).stop()  # takes the lists up
    taken = []
    for _ in range(rounds):
        started = time.monotonic()
        proxy = Proxy(state, config)
        taken.append(time.monotonic() - started)
        proxy.stop()
    tell(
        f"P12 ready to serve, {entries:,} entries",
        unit="s",
        median=round(statistics.median(taken), 2),
        min=round(min(taken), 2),
        max=round(max(taken), 2),
        budget=3.0,
        rounds=rounds,
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=float, default=5.0)
    arguments.add_argument("--entries", type=int, default=10_000_000)
    arguments.add_argument("--part", choices=("throughput", "start_up"))
    given = arguments.parse_args()
    for part in ("throughput", "start_up"):
        if given.part in {None, part}:
            with tempfile.TemporaryDirectory(prefix="secondlook-bench-") as name:
                if part == "throughput":
                    throughput(Path(name), given.rounds, given.seconds)
                else:
                    start_up(Path(name), given.rounds, given.entries)


if __name__ == "__main__":
    main()
