"""The review page over a large log: first page, filters, search, deep pages, live follow, export.

Run: `PYTHONPATH=tests python bench/review_page.py [--events 1000000] [--engine sqlite|postgresql]`; prints
one JSON object a line. The page is served by uvicorn in a process of its own and asked over loopback;
`cpu_ms` is what that process spent (a database server's own work is not in it). Without `--engine` both are
measured, PostgreSQL where it is installed. A million events take about five minutes an engine on a busy
machine; ten million an hour, and 5 GB of disk.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import socket
import statistics
import tempfile
import time
from pathlib import Path

import httpx
import uvicorn

import biglog
from ledgerkit.postgres import PostgresServer, find_binaries
from review.stage import FakeProgram, make_event
from secondlook.ground.clock import SystemClock
from secondlook.ledger.ledger import Ledger, LedgerOptions
from secondlook.review.app import create_app, host_names
from secondlook.review.operations.acknowledged import Acknowledged
from secondlook.review.operations.operations import Operations
from secondlook.review.session import Doorkeeper

ROUNDS = 7
LIVE_S = 20
LIVE_RATE = 500


def tell(name: str, **figures: object) -> None:
    print(json.dumps({"bench": name, **figures}), flush=True)


def serve(place: str, folder: Path, sock: socket.socket) -> None:
    ledger = Ledger.open(place, LedgerOptions(background=False))
    operations = Operations(
        ledger, FakeProgram(folder / "ca.pem"), Acknowledged(folder / "seen.json"), SystemClock()
    )
    app = create_app(
        operations,
        Doorkeeper(b"k" * 32),
        hosts=host_names("127.0.0.1", sock.getsockname()[1]),
        clock=SystemClock(),
    )
    uvicorn.Server(uvicorn.Config(app, http="httptools", log_level="error", lifespan="off")).run(
        sockets=[sock]
    )


def timed(client: httpx.Client, pid: int, path: str) -> dict[str, float]:
    """Ask some times; wall-clock and CPU time of the serving process."""
    took, spent = [], cpu_ms(pid)
    for _ in range(ROUNDS):
        started = time.perf_counter()
        answer = client.get(path)
        took.append((time.perf_counter() - started) * 1000)
        assert answer.status_code == 200, answer.text
    return {
        "median_ms": round(statistics.median(took), 1),
        "worst_ms": round(max(took), 1),
        "cpu_ms": round((cpu_ms(pid) - spent) / ROUNDS, 1),
    }


def cpu_ms(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)


async def live(engine: str, url: str, cookies: httpx.Cookies, ledger: Ledger) -> None:
    lags: list[float] = []
    sent = LIVE_S * LIVE_RATE

    async def write() -> None:
        started = time.monotonic()
        for number in range(sent):
            ledger.recorder.record(make_event(url=f"http://live.example/{time.time()}"))
            if (ahead := started + number / LIVE_RATE - time.monotonic()) > 0:
                await asyncio.sleep(ahead)

    async with (
        httpx.AsyncClient(base_url=url, cookies=cookies, timeout=60) as client,
        client.stream("GET", "/log.live?search=live.example") as answer,
    ):
        writing = asyncio.create_task(write())
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                rows = json.loads(line[6:])
                stamp = rows[-1].partition("http://live.example/")[2].partition("<")[0]
                lags.extend([time.time() - float(stamp)] * len(rows))
                if len(lags) >= sent:
                    break
        await writing
    tell(
        f"{engine}: live follow",
        events=len(lags),
        rate=LIVE_RATE,
        lag_p50_s=round(statistics.median(lags), 3),
        lag_max_s=round(max(lags), 3),
    )


def pages(count: int) -> dict[str, str]:
    """What is looked at, by name."""
    middle, day = count // 2, count / 2 * biglog.GAP_S
    return {
        "first page": "/log",
        "page in the middle": f"/log?after=s{middle}",
        "last page": "/log?after=s101",
        "decision: block": "/log?decision=block",
        "decision: block, last page": "/log?decision=block&after=s5000",
        "kind: server (rare)": "/log?kind=server",
        "kind: error (none)": "/log?kind=error",
        "stage: query": "/log?stage=query",
        "threat: unwanted_software (rare)": "/log?threat=unwanted_software",
        "host (common)": "/log?host=host0.example",
        "host (rare)": f"/log?host={biglog.RARE_HOST}",
        "host with subdomains (none)": "/log?host=*.nowhere.example",
        "client (rare)": f"/log?client={biglog.RARE_CLIENT}",
        "client (none)": "/log?client=10.8.8.8",
        "a day in the middle": f"/log?since={day + 86_400:.0f}s&until={day:.0f}s",
        "everything but a host": "/log?not=host:host0.example",
        "oldest first": "/log?sort=oldest",
        "a row for each event": "/log?apart=1",
        "clients of 30 days": "/clients?range=30d",
        "page of a client, 30 days": "/clients/10.0.0.7?range=30d",
        "late verdicts": "/late",
        "flagged": "/flagged",
        "contradicting filters": "/log?stage=query&decision=block",
        "search: a word in all": "/log?search=path",
        "search: a few events": f"/log?search=path/{min(count, biglog.PART) // 3:08}",
        "search: nothing": "/log?search=nowheretobefound",
        "search: two letters, nothing": "/log?search=zz",
        "search and filter": f"/log?search=path&host={biglog.RARE_HOST}",
        "overview": "/",
    }


def measure(engine: str, place: str, folder: Path, count: int) -> None:
    """Fill a ledger and look at it."""
    ledger = Ledger.open(place, LedgerOptions(keeper=True, background=False))
    started = time.perf_counter()
    biglog.fill(ledger, count)
    tell(f"{engine}: fill", events=count, took_s=round(time.perf_counter() - started, 1))
    ledger.close()  # SQLite does not survive a fork
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as the program's own sockets have it
        server = multiprocessing.get_context("fork").Process(
            target=serve, args=(place, folder, sock), daemon=True
        )
        server.start()
        pid = server.pid or 0
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        with httpx.Client(base_url=url, timeout=120) as client:
            client.cookies.set("second_look_session", cookie())
            client.get("/healthz")  # the socket listens already: this waits for the server
            for what, path in pages(count).items():
                tell(f"{engine}: {what}", **timed(client, pid, path))
            before, spent = resident_mib(pid), cpu_ms(pid)
            started, size, most = time.perf_counter(), 0, 0.0
            with client.stream("GET", "/log.jsonl") as answer:
                for number, chunk in enumerate(answer.iter_bytes()):
                    size += len(chunk)
                    if number % 100 == 0:
                        most = max(most, resident_mib(pid))
            tell(
                f"{engine}: export of all",
                mb=round(size / 1e6),
                took_s=round(time.perf_counter() - started, 1),
                cpu_s=round((cpu_ms(pid) - spent) / 1000, 1),
                resident_growth_mib=round(most - before, 1),
            )
            ledger = Ledger.open(place, LedgerOptions(background=False))
            spent = cpu_ms(pid)
            asyncio.run(live(engine, url, client.cookies, ledger))
            tell(f"{engine}: live follow, the server's share of a core", share=share(cpu_ms(pid) - spent))
            ledger.close()
        server.terminate()
        server.join()


def share(spent_ms: float) -> float:
    return round(spent_ms / 1000 / LIVE_S, 2)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--engine", choices=["sqlite", "postgresql"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.engine != "postgresql":
            measure("sqlite", str(folder / "ledger.sqlite3"), folder, given.events)
        binaries = find_binaries()
        if given.engine != "sqlite" and binaries is not None:
            server = PostgresServer(binaries)
            try:
                server.start()
                measure("postgresql", server.database(), folder, given.events)
            finally:
                server.remove()
    tell("memory", peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def cookie() -> str:
    door = Doorkeeper(b"k" * 32)
    return door.redeem(door.token) or ""


if __name__ == "__main__":
    main()
