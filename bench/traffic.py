"""Traffic through the proxy beside stock mitmdump and Squid, in one run (P1, P2, P3, P6, P12, P15).

Run: `PYTHONPATH=tests python bench/traffic.py [--rows P1 P3] [--rounds 5] [--seconds 4] [--entries 10000000]
[--against CHECKOUT]`; prints one JSON object a line. Origin: nginx, one worker, a 2.7 kB page, and for P6 a
sparse file. Load: wrk for plain HTTP, hey for what is intercepted (it speaks CONNECT), both with 32
connections; h2load for HTTP/2, in reverse mode, as it does not, and Squid does not speak HTTP/2; curl for P6.
The ratio is ours to mitmdump.

Squid, Debian's, with one process, checks nothing, keeps nothing and opens TLS by `ssl_bump`: what a proxy
in C++ that only passes on gets through here. Its rate is bounded by the load generator.

Peers alternate within each round. Beside the rate stands the processor time of the proxy process for one
request (`cpu us`; for P6 for a MiB), and its ratio, the median over rounds: it tells the cost of a request
where other work shares the machine.

With `--against` the peer is the proxy of another checkout, such as a git worktree of an earlier commit: the
ratio is now to before, and no budget holds. See `CONTRIBUTING.md`.
"""

import argparse
import contextlib
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from e2e.processes import Proxy, Server
from load import FRESH, MIB, PLAIN, Load, download, h2load, hey, wrk
from peers import Peer, checkout_program, make_authority, mitmdump, nginx, secondlook, squid
from secondlook.server.publish.publishing import publish
from secondlook.server.store.store import ServerStore
from synthetic import add_source

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[1] / "shared" / "data" / "malicious"
REAL = ("phishdb_urls.txt.xz", "phishdb_domains.txt.xz", "urlhaus_hist_ipv4.txt.xz")
ROWS = ("P1", "P2", "P3", "P6", "P12", "P15")
WARM_S = 1.0
LARGE_MIB = 512
UNSERVED = "speaks no HTTP/2"
FIELD = ("mitmdump", "squid", "secondlook")

type Measure = Callable[[Peer, float], Load]


def tell(name: str, **figures: object) -> None:
    print(json.dumps({"bench": name, **figures}), flush=True)


def compare(
    name: str, budget: float | None, rounds: int, seconds: float, peers: dict[str, Peer], measure: Measure
) -> None:
    """Measure peers in turn, round by round; the ratio is the last's median to the first's."""
    rates: dict[str, list[float]] = {peer: [] for peer in peers}
    cpu: dict[str, list[float]] = {peer: [] for peer in peers}
    for peer in peers.values():
        measure(peer, WARM_S)
    for number in range(rounds):
        for key, peer in list(peers.items())[:: -1 if number % 2 else 1]:  # none is always the first
            before = peer.cpu_s()
            load = measure(peer, seconds)
            assert load.count, f"{name}: nothing came through {key}; take more seconds"
            cpu[key].append((peer.cpu_s() - before) / load.count * 1e6)
            rates[key].append(load.rate)
    first, *_, last = peers
    medians = {key: statistics.median(values) for key, values in rates.items()}
    pairs = zip(cpu[first], cpu[last], strict=True)
    tell(
        name,
        unit="MiB/s" if name.startswith("P6") else "requests/s",
        ratio=round(medians[last] / medians[first], 2 if budget else 3),
        **({"budget": budget} if budget else {}),
        cpu_ratio=round(statistics.median(theirs / ours for theirs, ours in pairs), 2 if budget else 3),
        rounds=rounds,
        **{
            key: {
                "median": round(medians[key]),
                "min": round(min(rates[key])),
                "max": round(max(rates[key])),
                "cpu us": round(statistics.median(cpu[key])),
            }
            if key in peers
            else UNSERVED
            for key in (FIELD if first == FIELD[0] else peers)
        },
    )


def real_lists(folder: Path, checkout: Path = HERE.parent) -> Path:
    """A proxy's state with more than a million real entries published in its embedded server.

    `checkout` is whose commands write it: an earlier one cannot read what a later one wrote.
    """
    program, env = checkout_program(checkout)

    def run(*arguments: str | Path) -> None:
        subprocess.run(
            [*program, "server", *map(str, arguments), "--state", str(server)],
            env=env,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    state = folder / "listed"
    server = state / "server"
    server.mkdir(parents=True)
    if DATA.is_dir():
        for name, target in zip(REAL, ("se-8b", "se-8b", "mw-8b"), strict=True):
            unpacked = folder / name.removesuffix(".xz")
            with unpacked.open("wb") as out:
                subprocess.run(["xz", "-dc", str(DATA / name)], stdout=out, check=True)
            run("import", unpacked, "--list", target)
            unpacked.unlink()
        run("publish")
    else:
        store = ServerStore(server)
        add_source(store, 1_000_000, seed=1)
        publish(store, now=time.time())
    return state


@dataclass(frozen=True)
class Stand:
    """An origin, and what starts the peers in front of it."""

    folder: Path
    plain: int
    tls: int
    against: Path | None
    rounds: int
    seconds: float

    def url(self, scheme: str, path: str = "") -> str:
        """A URL on the origin."""
        return f"{scheme}://127.0.0.1:{self.tls if scheme == 'https' else self.plain}/{path}"

    @contextlib.contextmanager
    def peers(self, name: str, config: str = "", *, mode: str = "") -> Iterator[dict[str, Peer]]:
        """Run the peers; all but the first and the last are left out where they cannot do it (`mode`)."""
        folder = self.folder / name
        folder.mkdir()
        states = [folder / "before", folder / "now"]
        for state in states:
            shutil.copytree(self.folder / "listed", state)
        config += f"mode: {mode}\n" if mode else ""
        with contextlib.ExitStack() as stack:
            peers = {}
            if self.against is not None:
                peers["before"] = stack.enter_context(
                    secondlook(folder, states[0], config, checkout=self.against)
                )
            else:
                given = ["--mode", mode] if mode else []
                streamed = ["--set", "stream_large_bodies=1m"]
                peers[FIELD[0]] = stack.enter_context(mitmdump(folder, *streamed, *given))
                if not mode:
                    authority = make_authority(folder)
                    peers[FIELD[1]] = stack.enter_context(squid(folder / "squid", authority=authority))
            ours = stack.enter_context(secondlook(folder, states[1], config))
            yield peers | {FIELD[2] if self.against is None else "now": ours}

    def compare(self, name: str, budget: float, peers: dict[str, Peer], measure: Measure) -> None:
        """Measure one row."""
        held = budget if self.against is None else None
        compare(name, held, self.rounds, self.seconds, peers, measure)

    def script(self, text: str) -> Measure:
        """Give what loads a peer by a script of wrk."""
        path = self.folder / f"{len(text)}.lua"
        path.write_text(text)
        origin = f"127.0.0.1:{self.plain}"
        return lambda peer, seconds: wrk(f"http://{peer.address}/", seconds, path, ORIGIN=origin)


def forward(stand: Stand, rows: set[str]) -> None:
    """P1, P2 with HTTP/1.1, P3, P6, and P15 with the embedded server."""
    url = stand.url("https")
    large = stand.folder / "film.mp4"
    with large.open("wb") as out:
        out.truncate(LARGE_MIB * MIB)

    def kept(peer: Peer, seconds: float) -> Load:
        return hey(peer.address, url, seconds)

    def new(peer: Peer, seconds: float) -> Load:
        return hey(peer.address, url, seconds, close=True)

    def film(peer: Peer, _: float) -> Load:
        return download(peer.address, stand.url("http", large.name), LARGE_MIB * MIB)

    with stand.peers("forward") as peers:
        if "P1" in rows:
            stand.compare("P1 plain HTTP keep-alive", 3.0, peers, stand.script(PLAIN))
        if "P2" in rows:
            stand.compare("P2 intercepted HTTPS keep-alive, HTTP/1.1", 2.8, peers, kept)
        if "P3" in rows:
            stand.compare("P3 intercepted HTTPS, new connection each", 2.0, peers, new)
        if "P6" in rows:
            stand.compare("P6 harmless download, plain HTTP, SHA-256", 0.75, peers, film)
        if "P15" in rows:
            stand.compare("P15 every URL new, embedded server", 2.2, peers, stand.script(FRESH))


def http2(stand: Stand) -> None:
    """P2 with HTTP/2."""
    with stand.peers("http2", mode=f"reverse:https://127.0.0.1:{stand.tls}") as peers:
        name = "P2 intercepted HTTPS keep-alive, HTTP/2"
        stand.compare(name, 2.5, peers, lambda peer, seconds: h2load(f"https://{peer.address}/", seconds))


def remote(stand: Stand) -> None:
    """P15 with a remote server."""
    limits = [f"limits.{name}=1000000" for name in ("requests", "burst")]
    server = Server(
        stand.folder / "listed" / "server", *(word for each in limits for word in ("--set", each))
    )
    try:
        config = f"servers:\n  embedded: false\n  intranet: [{{url: '{server.url}'}}]\n"
        with stand.peers("remote", config) as peers:
            name = "P15 every URL new, remote server on loopback"
            stand.compare(name, 1.6, peers, stand.script(FRESH))
    finally:
        server.stop()


def throughput(folder: Path, rows: set[str], rounds: int, seconds: float, against: Path | None) -> None:
    """P1, P2, P3, P6 and P15."""
    real_lists(folder, against or HERE.parent)
    with nginx(folder) as (plain, tls):
        stand = Stand(folder, plain, tls, against, rounds, seconds)
        forward(stand, rows)
        if "P2" in rows:
            http2(stand)
        if "P15" in rows:
            remote(stand)


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
    arguments.add_argument("--rows", nargs="*", choices=ROWS, default=list(ROWS))
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=float, default=4.0)
    arguments.add_argument("--entries", type=int, default=10_000_000, help="of P12")
    arguments.add_argument("--against", type=Path, metavar="CHECKOUT", help="compare with another checkout")
    given = arguments.parse_args()
    rows = set(given.rows)
    against = given.against.resolve() if given.against is not None else None
    if rows - {"P12"}:
        with tempfile.TemporaryDirectory(prefix="slb", dir="/tmp") as name:
            Path(name).chmod(0o755)  # Squid reads it as another user
            throughput(Path(name), rows, given.rounds, given.seconds, against)
    if "P12" in rows and against is None:
        with tempfile.TemporaryDirectory(prefix="slb", dir="/tmp") as name:
            start_up(Path(name), given.rounds, given.entries)


if __name__ == "__main__":
    main()
