"""The review page over a large log: first page, search, live follow, export.

Run: `python bench/review_page.py [--events 1000000]`; prints one JSON object a line. The page is served by
uvicorn in a process of its own and asked over loopback.
"""

import argparse
import asyncio
import json
import multiprocessing
import random
import resource
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx
import uvicorn

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from review.stage import FakeService, make_event
from secondlook.clock import SystemClock
from secondlook.core.event import EventKind
from secondlook.ledger.ledger import Ledger, LedgerOptions
from secondlook.ledger.ulid import make_id
from secondlook.review.app import create_app, host_names
from secondlook.review.desk import Desk
from secondlook.review.seen import Seen
from secondlook.review.session import Doorkeeper

ROUNDS = 7
LIVE_S = 20
LIVE_RATE = 500


def tell(name: str, **figures: object) -> None:
    print(json.dumps({"bench": name, **figures}), flush=True)


def fill(ledger: Ledger, count: int) -> None:
    random.seed(1)
    first = time.time() - count
    for number in range(count):
        host = f"host{random.randrange(5000)}.example"
        kind = random.choices([EventKind.CHECK, EventKind.BLOCKED, EventKind.FLAGGED], [94, 4, 2])[0]
        at = first + number
        ledger.record(
            make_event(
                kind,
                id=make_id(at),
                time=at,
                host=host,
                url=f"https://{host}/path/{number:08}?q={random.random()}",
            )
        )
        while ledger.writer.waiting > 15_000:
            time.sleep(0.01)
    while ledger.writer.waiting:
        time.sleep(0.01)


def serve(folder: Path, sock: socket.socket) -> None:
    ledger = Ledger.open(folder / "ledger.sqlite3", LedgerOptions(background=False))
    desk = Desk(ledger, FakeService(folder / "ca.pem"), Seen(folder / "seen.json"), SystemClock())
    app = create_app(
        desk, Doorkeeper(b"k" * 32), hosts=host_names("127.0.0.1", sock.getsockname()[1]), clock=SystemClock()
    )
    uvicorn.Server(uvicorn.Config(app, http="httptools", log_level="error", lifespan="off")).run(
        sockets=[sock]
    )


def timed(client: httpx.Client, path: str) -> tuple[float, float]:
    took = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        answer = client.get(path)
        took.append((time.perf_counter() - started) * 1000)
        assert answer.status_code == 200, answer.text
    return round(statistics.median(took), 1), round(max(took), 1)


def resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)


async def live(url: str, cookies: httpx.Cookies, ledger: Ledger) -> None:
    lags: list[float] = []
    sent = LIVE_S * LIVE_RATE

    async def write() -> None:
        started = time.monotonic()
        for number in range(sent):
            ledger.record(make_event(url=f"http://live.example/{time.time()}"))
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
        "live follow",
        events=len(lags),
        rate=LIVE_RATE,
        lag_p50_s=round(statistics.median(lags), 3),
        lag_max_s=round(max(lags), 3),
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=1_000_000)
    count = parser.parse_args().events
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ledger = Ledger.open(folder / "ledger.sqlite3", LedgerOptions(keeper=True, background=False))
        started = time.perf_counter()
        fill(ledger, count)
        tell("fill", events=count, took_s=round(time.perf_counter() - started, 1))
        ledger.close()  # SQLite does not survive a fork
        with socket.create_server(("127.0.0.1", 0)) as sock:
            server = multiprocessing.get_context("fork").Process(
                target=serve, args=(folder, sock), daemon=True
            )
            server.start()
            ledger = Ledger.open(folder / "ledger.sqlite3", LedgerOptions(background=False))
            url = f"http://127.0.0.1:{sock.getsockname()[1]}"
            with httpx.Client(base_url=url, timeout=120) as client:
                client.cookies.set("second_look_session", _cookie())
                while True:
                    try:
                        client.get("/healthz")
                        break
                    except httpx.ConnectError:
                        time.sleep(0.05)
                for what, path in {
                    "first page": "/log",
                    "filtered page": "/log?decision=block&since=7d",
                    "search, common word": "/log?search=path",
                    "search, one event": f"/log?search=path/{count // 3:08}",
                    "search, nothing": "/log?search=nowheretobefound",
                    "overview": "/",
                }.items():
                    median, worst = timed(client, path)
                    tell(what, median_ms=median, worst_ms=worst)
                before = resident_mib(server.pid or 0)
                started, size = time.perf_counter(), 0
                with client.stream("GET", "/log.jsonl") as answer:
                    for chunk in answer.iter_bytes():
                        size += len(chunk)
                tell(
                    "export",
                    mb=round(size / 1e6),
                    took_s=round(time.perf_counter() - started, 1),
                    resident_growth_mib=round(resident_mib(server.pid or 0) - before, 1),
                )
                asyncio.run(live(url, client.cookies, ledger))
            server.terminate()
            server.join()
        ledger.close()
    tell("memory", peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def _cookie() -> str:
    door = Doorkeeper(b"k" * 32)
    return door.redeem(door.token) or ""


if __name__ == "__main__":
    main()
