"""Downloads through the proxy against streamed stock mitmdump, in one run (P6).

Run: `PYTHONPATH=tests python bench/downloads.py [--rounds 5] [--mib 1024]`; prints one JSON object a line.
Origin: nginx with sparse files; client: curl to /dev/null. The peers take turns in each round: stock
mitmdump, our proxy with lists of SHA-256 alone, our proxy with lists that also hold MD5 and SHA-1, so that
all three are computed. Measured for a risky file (streamed, hashed, its tail withheld) and a harmless one:
speed and processor time a MiB, the highest resident memory of the worker, also while clients stand still, and
how long the first byte of the body takes.
"""

import argparse
import contextlib
import hashlib
import socket
import ssl
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from e2e.processes import Memory, Proxy, make_certificate, server_import, server_publish
from load import MIB, download
from peers import Peer, mitmdump
from proxykit.nginx import Nginx, nginx
from traffic import tell

GROWTH_BUDGET_MIB = 32
FIRST_BYTE_BUDGET_MS = 20
FIRST_BYTE_ROUNDS = 4  # for each round of whole downloads
STALL_S = 8
STOCK = "mitmdump"
BUDGETS = {"SHA-256 only": 0.75, "three digests": 0.35}
ROADS = {
    "plain HTTP/1.1": ("http", "plain", "--http1.1"),
    "intercepted HTTP/2": ("https", "http2", "--http2"),
}


def first_byte(proxy: str, port: int, path: str, *, tls: bool) -> float:
    """Ask for a file over a new connection; gives the milliseconds from the request to its first byte."""
    with socket.create_connection((proxy.rsplit(":", 1)[0], int(proxy.rsplit(":", 1)[1])), 30) as raw:
        sock, target, host = raw, path, f"localhost:{port}"
        if tls:
            raw.sendall(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert b" 200 " in raw.recv(1000)
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            sock = context.wrap_socket(raw, server_hostname="localhost")
        else:
            target = f"http://{host}{path}"
        started = time.perf_counter()
        sock.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        got = b""
        while not got.partition(b"\r\n\r\n")[2]:
            piece = sock.recv(65_536)
            assert piece, got
            got += piece
        return (time.perf_counter() - started) * 1000


@contextlib.contextmanager
def secondlook(folder: Path, name: str, kinds: tuple[str, ...]) -> Iterator[Proxy]:
    """Run our proxy with one worker and a list of files by these kinds of digest."""
    digests = folder / f"{name}.txt"
    digests.write_text(
        "".join(f"{hashlib.new(kind, str(n).encode()).hexdigest()}\n" for kind in kinds for n in range(1000))
    )
    server_import(folder / name / "server", "x-file-mw-8b", digests)
    server_publish(folder / name / "server")
    config = folder / f"{name}.yaml"
    config.write_text("workers: 1\nfeeds: []\nmitmproxy: {ssl_insecure: true}\n")
    proxy = Proxy(folder / name, config)
    try:
        yield proxy
    finally:
        proxy.stop()


def whole(peers: dict[str, Peer], ours: dict[str, Proxy], site: Nginx, rounds: int, size: int) -> None:
    """Speed and growth over whole downloads, by kind of file and road."""
    for road, (scheme, port, version) in ROADS.items():
        for kind, file in (("risky", "file.exe"), ("harmless", "film.mp4")):
            speeds: dict[str, list[float]] = {name: [] for name in peers}
            cpu_ms: dict[str, list[float]] = {name: [] for name in peers}
            memory = {peer: Memory(proxy.facts["workers"][0]) for peer, proxy in ours.items()}
            url = f"{scheme}://localhost:{getattr(site, port)}/{file}"
            for _ in range(rounds):
                for name, peer in peers.items():
                    before = peer.cpu_s()
                    speeds[name].append(download(peer.address, url, size, version).rate)
                    cpu_ms[name].append((peer.cpu_s() - before) * 1000 / (size / MIB))
            medians = {name: statistics.median(values) for name, values in speeds.items()}
            cpu = {name: statistics.median(values) for name, values in cpu_ms.items()}
            for name, budget in BUDGETS.items():
                tell(
                    f"P6 {kind} download, {road}, {name}",
                    unit="MiB/s",
                    ratio=round(medians[name] / medians[STOCK], 2),
                    budget=budget,
                    cpu_ratio=round(cpu[STOCK] / cpu[name], 2),
                    rounds=rounds,
                    mib=size // MIB,
                    growth_mib=round(memory[name].grown() / MIB, 1),
                    growth_budget_mib=GROWTH_BUDGET_MIB,
                    **{
                        who: {
                            "median": round(medians[who]),
                            "min": round(min(speeds[who])),
                            "max": round(max(speeds[who])),
                            "cpu_ms_a_mib": round(cpu[who], 2),
                        }
                        for who in (STOCK, name)
                    },
                )


def beginnings(peers: dict[str, Peer], site: Nginx, rounds: int) -> None:
    """How much later than with stock mitmdump the first byte of a large file comes."""
    for road, port, tls in (("plain", site.plain, False), ("intercepted", site.tls, True)):
        for kind, file in (("risky", "/file.exe"), ("harmless", "/film.mp4")):
            taken: dict[str, list[float]] = {name: [] for name in peers}
            for _ in range(rounds):
                for name, peer in peers.items():
                    taken[name].append(first_byte(peer.address, port, file, tls=tls))
            medians = {name: statistics.median(values) for name, values in taken.items()}
            later = max(medians[name] - medians[STOCK] for name in BUDGETS)
            tell(
                f"P6 first byte of a {kind} download, {road}",
                unit="ms",
                later_ms=round(later, 1),
                budget_ms=FIRST_BYTE_BUDGET_MS,
                rounds=rounds,
                **{name: round(value, 1) for name, value in medians.items()},
            )


def stalled(proxy: Proxy, site: Nginx) -> None:
    """Growth while a client reads next to nothing of a large file."""
    for road, (scheme, port, version) in ROADS.items():
        for kind, file in (("risky", "file.exe"), ("harmless", "film.mp4")):
            memory = Memory(proxy.facts["workers"][0])
            url = f"{scheme}://localhost:{getattr(site, port)}/{file}"
            slow = ["curl", "-sSk", version, "-x", proxy.url, "-o", "/dev/null", "--limit-rate", "10k", url]
            with subprocess.Popen(slow) as client:
                time.sleep(STALL_S)
                assert client.poll() is None
                client.kill()
            tell(
                f"P6 stalled client, {kind}, {road}",
                growth_mib=round(memory.grown() / MIB, 1),
                growth_budget_mib=GROWTH_BUDGET_MIB,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mib", type=int, default=1024)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="secondlook-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        certificate = make_certificate(folder, "localhost", "127.0.0.1")
        site = stack.enter_context(nginx(folder / "nginx", *certificate))
        size = given.mib * MIB
        for file in ("file.exe", "film.mp4"):
            with (site.root / file).open("wb") as out:
                out.write(b"MZ" if file.endswith("exe") else b"\0\0")
                out.truncate(size)
        stock = stack.enter_context(mitmdump(folder, "--set", "stream_large_bodies=1"))
        kinds = {"SHA-256 only": ("sha256",), "three digests": ("sha256", "sha1", "md5")}
        ours = {
            name: stack.enter_context(secondlook(folder, f"state{len(digests)}", digests))
            for name, digests in kinds.items()
        }
        peers = {
            STOCK: stock,
            **{name: Peer(proxy.address, (proxy.facts["workers"][0],)) for name, proxy in ours.items()},
        }
        stalled(ours["SHA-256 only"], site)  # first, while nothing that was used before hides growth
        beginnings(peers, site, given.rounds * FIRST_BYTE_ROUNDS)
        whole(peers, ours, site, given.rounds, size)


if __name__ == "__main__":
    main()
