"""Take the screenshots of the docs: the review page over an invented day, and a real block page.

Run: `.venv/bin/python scripts/screenshots.py` with Chromium installed; writes `docs/images/*.png`.
"""

import asyncio
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import uvicorn

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from e2e.browser import chromium  # noqa: E402 (the path comes first)
from e2e.processes import Proxy  # noqa: E402
from review.stage import FakeProgram, keep, make_event, make_flag  # noqa: E402
from secondlook.core.event import EventKind  # noqa: E402
from secondlook.core.rules.rule import Rule, Scope  # noqa: E402
from secondlook.ground.clock import SystemClock  # noqa: E402
from secondlook.ledger.ledger import Ledger, LedgerOptions  # noqa: E402
from secondlook.ledger.log.counting import SLOT_S, Admission, Look, add_counts  # noqa: E402
from secondlook.review.app import create_app, host_names  # noqa: E402
from secondlook.review.operations.acknowledged import Acknowledged  # noqa: E402
from secondlook.review.operations.operations import Operations  # noqa: E402
from secondlook.review.session import Doorkeeper  # noqa: E402

IMAGES = ROOT / "docs" / "images"
# a temporary folder means nothing to a reader
RENAME = """([from, to]) => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(from, to);
}"""
HOSTS = (
    "www.python.org",
    "example.com",
    "cdn.example.net",
    "news.example.org",
    "paypa1-login.example",
    "free-codecs.example",
)
UNKNOWN = {"verdict": "unknown", "risk": "untested", "threat": None, "list": None}
WAYS = (
    lambda: {"stage": "pattern", "elapsed_ms": random.lognormvariate(-1.5, 1)},
    lambda: {"stage": "cache", "elapsed_ms": random.lognormvariate(-0.5, 1)},
    lambda: {"stage": "query", "server": "sps1", "elapsed_ms": random.lognormvariate(3, 1.2)},
)
STEPS = [
    {"stage": "rules", "outcome": "miss", "elapsed_ms": 0.004},
    {"stage": "confirmed", "outcome": "miss", "elapsed_ms": 0.001},
    {"stage": "pattern", "outcome": "hit", "detail": "mw-8b of embedded, 41 s old", "elapsed_ms": 0.021},
]


def invent(ledger: Ledger) -> str:
    """Fill a ledger with one day; gives the id of an event worth showing."""
    random.seed(4)
    now = time.time()
    events = []
    for number in range(1500):
        at = now - 600 - random.random() ** 1.4 * 85_000
        kind = random.choices([EventKind.CHECK, EventKind.BLOCKED, EventKind.FLAGGED], [90, 6, 4])[0]
        host = random.choice(HOSTS[:4] if kind is EventKind.CHECK else HOSTS[4:])
        extra = {
            EventKind.CHECK: {**UNKNOWN, "decision": "allow", **random.choice(WAYS)()},
            EventKind.BLOCKED: {"threat": random.choice(["malware", "social_engineering"])},
            EventKind.FLAGGED: {
                **UNKNOWN,
                "stage": "unverifiable",
                "detail": "no server answered within 1.5 s",
            },
        }[kind]
        events.append(make_event(kind, time=at, host=host, url=f"https://{host}/page/{number}", **extra))
    shown = make_event(url="http://malware.example/setup.exe", host="malware.example", extra={"steps": STEPS})
    identity = bytes([99]) * 32
    late = {"url": "http://late.example/invoice.html", "host": "late.example", "identity": identity}
    events += [
        shown,
        make_event(EventKind.FLAGGED, time=now - 3600, **{**UNKNOWN, "stage": "unverifiable", **late}),
        make_event(EventKind.CONFIRMED, time=now - 60, threat="social_engineering", **late),
    ]
    keep(ledger, *sorted(events, key=lambda event: event.time))
    watch_servers(ledger, now)
    for number in range(3):
        host = f"unknown{number}.example"
        event = make_event(
            EventKind.FLAGGED,
            url=f"http://{host}/tool-{number}.exe",
            host=host,
            **{**UNKNOWN, "stage": "unverifiable"},
        )
        mark = bytes([number]) * 32
        asyncio.run(ledger.flags.flag(event, replace(make_flag(event), identity=mark, hashes=(mark,))))
    rules = [
        ("allow", Scope.DOMAIN, "intranet.example", None, None),
        ("block", Scope.HOST, "ads.example", "10.0.0.7", now + 500),
    ]
    for action, scope, subject, client, expires in rules:
        ledger.rules.add(
            Rule(
                id="",
                action=action,
                scope=scope,
                subject=subject,
                client=client,
                reason=None,
                created=now,
                expires=expires,
            )
        )
    return shown.id


def watch_servers(ledger: Ledger, now: float) -> None:
    """Look at three servers all day: one that always answers, one that was away for a while, one of late."""
    looks: Counter[Look] = Counter()
    for slot in range(int(now - 85_000) // SLOT_S, int(now) // SLOT_S):
        looks[Look(slot, "embedded", True)] += 20
        looks[Look(slot, "sps1", slot % 250 not in range(90, 109))] += 20
        if slot > now // SLOT_S - 150:
            looks[Look(slot, "sps2", slot % 40 > 0)] += 20
    ledger.store.commit_now(lambda connection: add_counts(connection, Counter(), Admission(), looks))


def review_shots(folder: Path) -> None:
    """Show the review page in both colour schemes and on a phone."""
    ledger = Ledger.open(folder / "ledger.sqlite3", LedgerOptions(keeper=True, background=False))
    event_id = invent(ledger)
    program, door = FakeProgram(folder / "ca.pem"), Doorkeeper(b"k" * 32)
    program.started_at = time.time() - 90_000
    operations = Operations(ledger, program, Acknowledged(folder / "seen.json"), SystemClock())
    with socket.create_server(("127.0.0.1", 0)) as sock, chromium() as browser:
        port = sock.getsockname()[1]
        app = create_app(operations, door, hosts=host_names("127.0.0.1", port), clock=SystemClock())
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True).start()
        base = f"http://127.0.0.1:{port}"
        context = browser.new_context()
        context.new_page().goto(f"{base}/?token={door.token}")
        state = context.storage_state()
        for name, path, scheme, width in (
            ("overview", "/", "light", 1280),
            ("log", "/log", "dark", 1280),
            ("entry", f"/log/{event_id}", "light", 1280),
            ("rules", "/rules?test=http://www.intranet.example/", "dark", 1280),
            ("phone", "/", "dark", 360),
        ):
            size = {"width": width, "height": 800}
            page = browser.new_context(viewport=size, color_scheme=scheme, storage_state=state).new_page()
            page.goto(base + path)
            page.screenshot(path=IMAGES / f"{name}.png")
        page = browser.new_context(viewport={"width": 1280, "height": 560}, storage_state=state).new_page()
        page.goto(f"{base}/settings")
        page.get_by_role("combobox", name="Level", exact=True).first.select_option("high")
        page.get_by_role("button", name="Show the difference").nth(1).click()
        page.evaluate(RENAME, [str(folder), "/home/you/second-look"])
        page.screenshot(path=IMAGES / "settings.png")
        server.should_exit = True
    ledger.close()


def block_shots(folder: Path) -> None:
    """Show a block page as a browser behind a running proxy gets it."""
    config = folder / "proxy.yaml"
    config.write_text("workers: 1\nfeeds: []\n")
    proxy = Proxy(folder / "state", config)
    try:
        with chromium(f"--proxy-server={proxy.url}") as browser:
            for scheme in ("light", "dark"):
                page = browser.new_context(
                    viewport={"width": 1000, "height": 640}, color_scheme=scheme
                ).new_page()
                page.goto("http://malware.secondlook.test/free-download")
                page.screenshot(path=IMAGES / f"block-{scheme}.png")
    finally:
        proxy.stop()


if __name__ == "__main__":
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        review_shots(Path(name))
        block_shots(Path(name))
