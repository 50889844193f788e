"""The overview over counts of ten million events: each range of time, of everybody and of one client.

Run: `PYTHONPATH=tests python bench/overview.py [--events 10000000]`; prints one JSON object a line. The
overview reads counts, and of events no more than it shows (`tests/review/test_statistics.py` holds it to
that). So the counts alone are written, in every stretch of time as many names as are admitted. `grown_mib` is
by how much the serving process was larger at most while it made pages, after it had made one.
"""

import argparse
import multiprocessing
import socket
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx
import sqlalchemy as sa

from e2e.processes import Memory
from review_page import cookie, serve, tell, timed
from secondlook.ledger.engine.tables import shares
from secondlook.ledger.ledger import Ledger, LedgerOptions
from secondlook.ledger.log.counting import HOUR_S, MOST_NAMES, SLOT_S, Admission, Counted, Look, add_counts

DAYS = 30
CLIENTS = 40
CLIENT = "10.0.0.7"


def fill(ledger: Ledger, events: int) -> None:
    """Write the counts of so many checks, hour by hour over 30 days; one in twenty was refused."""
    now = time.time()
    admission = Admission()
    hours = DAYS * 24
    each = events // hours // (20 * MOST_NAMES)
    for ago in range(hours, -1, -1):
        slot = int(now - ago * HOUR_S) // SLOT_S
        counts: Counter[Counted] = Counter()
        for number in range(MOST_NAMES):
            client = f"10.0.0.{number % CLIENTS}"
            bad = ("bad" + str(number) + ".example", "mw-8b", ("malware", "social_engineering")[number % 2])
            counts[Counted(slot, "blocked", "block", "pattern", client, "", "1", "", *bad)] += each or 1
            for stage, server, within in (("pattern", "", "1"), ("cache", "", "1"), ("query", "near", "20")):
                counts[Counted(slot, "check", "allow", stage, client, server, within)] += 19 * each // 3 or 1
        looks = Counter({Look(slot, name, True): 240 for name in ("embedded", "near", "far")})
        ledger.store.commit_now(
            lambda connection, counts=counts, looks=looks: add_counts(connection, counts, admission, looks)
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=10_000_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        place = str(folder / "ledger.sqlite3")
        ledger = Ledger.open(place, LedgerOptions(keeper=True, background=False))
        started = time.perf_counter()
        fill(ledger, asked.events)
        ledger.upkeep.checkpoint()
        query = sa.select(sa.func.count()).select_from(shares)
        rows = ledger.store.read(lambda connection: connection.execute(query).scalar())
        ledger.close()
        tell("fill", events=asked.events, took_s=round(time.perf_counter() - started, 1), rows=rows)
        with socket.create_server(("127.0.0.1", 0)) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server = multiprocessing.get_context("fork").Process(
                target=serve, args=(place, folder, sock), daemon=True
            )
            server.start()
            url = f"http://127.0.0.1:{sock.getsockname()[1]}"
            with httpx.Client(base_url=url, timeout=120) as client:
                client.cookies.set("second_look_session", cookie())
                client.get("/")
                memory = Memory(server.pid or 0)
                for whose in ("", f"&client={CLIENT}"):
                    for chosen in ("1h", "24h", "7d", "30d"):
                        path = f"/?range={chosen}{whose}"
                        tell(f"overview: {path}", **timed(client, server.pid or 0, path))
                tell("overview: memory", grown_mib=round(memory.grown() / (1 << 20), 1))
            server.terminate()
            server.join()


if __name__ == "__main__":
    main()
