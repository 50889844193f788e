"""What the ledger costs: flags (P13), events, pages and search among a million, closing 100,000 (P11).

Run: `python bench/ledger.py [--events 1000000] [--ledger URL]`; prints one JSON object a line.
"""

import argparse
import asyncio
import hashlib
import json
import random
import resource
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from secondlook.core.event import ConfirmedEntry, Event, EventKind, FlagEntry
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import SubjectClass
from secondlook.ground.ulid import make_id
from secondlook.ledger.ledger import EventFilter, Ledger, LedgerOptions


def tell(name: str, **figures: object) -> None:
    print(json.dumps({"bench": name, **figures}), flush=True)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def make_flag(number: int) -> tuple[Event, FlagEntry]:
    url = f"https://host{number % 997}.example/path/{number}?q={number}"
    host = f"host{number % 997}.example"
    identity = hashlib.sha256(url.encode()).digest()
    now = time.time()
    event = Event(
        id=make_id(now),
        kind=EventKind.FLAGGED,
        time=now,
        decision="flag",
        cls=SubjectClass.PAGE,
        subject=SubjectKind.URL,
        url=url,
        host=host,
        method="GET",
        client=f"10.0.0.{number % 200}",
        verdict="unknown",
        risk="untested",
        stage="unverifiable",
        elapsed_ms=0.4,
        identity=identity,
    )
    entry = FlagEntry(
        identity=identity,
        kind=SubjectKind.URL,
        cls=SubjectClass.PAGE,
        hashes=(identity, hashlib.sha256(host.encode()).digest()),
        url=url,
        host=host,
        client=event.client,
        time=now,
        reason="no server answered",
    )
    return event, entry


def commit_cost(folder: Path) -> None:
    """What the disk alone costs: a bare SQLite commit with synchronous=FULL."""
    raw = sqlite3.connect(folder / "bare.sqlite3", isolation_level=None)
    raw.execute("PRAGMA journal_mode=wal")
    raw.execute("PRAGMA synchronous=full")
    raw.execute("CREATE TABLE t(a)")
    spent = []
    for _ in range(400):
        begun = time.perf_counter()
        raw.execute("INSERT INTO t VALUES (1)")
        spent.append((time.perf_counter() - begun) * 1000)
        time.sleep(0.002)
    raw.close()
    tell("bare commit", p50_ms=round(statistics.median(spent), 2), p99_ms=round(percentile(spent, 0.99), 2))


async def flags_at_a_rate(ledger: Ledger, rate: int, seconds: float, *, beside: str) -> None:
    """Poisson arrivals at `rate` a second; what each waited for its commit."""
    draw = random.Random(7)
    waits: list[float] = []
    tasks: list[asyncio.Task[None]] = []

    async def one(number: int) -> None:
        begun = time.perf_counter()
        await ledger.flags.flag(*make_flag(number))
        waits.append((time.perf_counter() - begun) * 1000)

    end = time.perf_counter() + seconds
    due = time.perf_counter()
    number = 0
    while time.perf_counter() < end:
        due += draw.expovariate(rate)
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        tasks.append(asyncio.create_task(one(number)))
        number += 1
    await asyncio.gather(*tasks)
    tell(
        "P13 flag latency, Poisson arrivals",
        beside=beside,
        rate=rate,
        flags=number,
        p50_ms=round(statistics.median(waits), 2),
        p99_ms=round(percentile(waits, 0.99), 2),
        budget_ms=5,
        max_ms=round(max(waits), 2),
        journaled=ledger.flags.journaled,
    )


def make_events(count: int, begin: float) -> Iterator[Event]:
    draw = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(draw.choices(letters, k=draw.randint(3, 9))) for _ in range(5000)]
    for number in range(count):
        at = begin + number * 2
        host = f"{draw.choice(words)}{int(draw.paretovariate(1))}.{draw.choice(('com', 'org', 'net'))}"
        url = f"https://{host}/{draw.choice(words)}/{draw.choice(words)}?q={draw.randint(0, 10**9)}"
        blocked = number % 20 == 0
        yield Event(
            id=make_id(at),
            kind=EventKind.BLOCKED if blocked else EventKind.CHECK,
            time=at,
            decision="block" if blocked else "allow",
            cls=SubjectClass.PAGE,
            subject=SubjectKind.URL,
            url=url,
            host=host,
            method="GET",
            client=f"10.0.{number % 5}.{number % 251}",
            verdict="malicious" if blocked else "unknown",
            risk="dangerous" if blocked else "untested",
            threat=draw.choice(("malware", "social_engineering")) if blocked else None,
            stage="pattern" if blocked else "query",
            list="mw-8b" if blocked else None,
            elapsed_ms=0.3,
            attempts=1,
            identity=hashlib.sha256(url.encode()).digest(),
        )


def write_events(ledger: Ledger, count: int) -> None:
    spent = 0.0
    batch: list[Event] = []
    for event in make_events(count, time.time() - count * 2):
        batch.append(event)
        if len(batch) == 10_000:
            spent += write_batch(ledger, batch)
            batch = []
    spent += write_batch(ledger, batch)
    tell("events written", events=count, per_second=round(count / spent), dropped=ledger.recorder.dropped)


def write_batch(ledger: Ledger, batch: list[Event]) -> float:
    begun = time.perf_counter()
    for event in batch:
        ledger.recorder.record(event)
    while ledger.store.writer.waiting:
        time.sleep(0.005)
    ledger.store.commit_now(lambda _: None)
    return time.perf_counter() - begun


def read_pages(ledger: Ledger) -> None:
    now = time.time()
    rare = ledger.events.page(EventFilter(), limit=1).events[0]
    filters = {
        "first page": EventFilter(),
        "blocked": EventFilter(decision="block"),
        "one host": EventFilter(host=rare.host),
        "one client, blocked": EventFilter(client="10.0.2.7", decision="block"),
        "one client, blocked, by a stage that never does": EventFilter(
            client="10.0.2.7", decision="block", stage="rules"
        ),
        "allowed, in a stage that never did": EventFilter(decision="allow", stage="cache"),
        "an hour long ago": EventFilter(since=now - 500_000, until=now - 496_400),
        "search: common word": EventFilter(search="com"),
        "search: rare word": EventFilter(search=rare.url.rpartition("=")[2] if rare.url else "x"),
        "search: no such word": EventFilter(search="zzqqxxyy"),
        "search: two letters, none": EventFilter(search="~~"),
        "search: common word, blocked malware of one client": EventFilter(
            search="com", threat="malware", client="10.0.3.9"
        ),
    }
    for name, wanted in filters.items():
        spent = []
        for _ in range(5):
            begun = time.perf_counter()
            page = ledger.events.page(wanted, limit=50)
            spent.append((time.perf_counter() - begun) * 1000)
        tell(
            "page",
            what=name,
            found=len(page.events),
            more=page.more,
            first_ms=round(spent[0], 1),
            median_ms=round(statistics.median(spent), 1),
        )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    count = sum(1 for _ in ledger.events.export(EventFilter()))
    tell(
        "export",
        events=count,
        per_second=round(count / (time.perf_counter() - begun)),
        peak_grew_kib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before,
    )


async def close_many(ledger: Ledger, count: int) -> None:
    """Queue `count` subjects, then take, close or confirm all of them as the rechecker does."""
    begun = time.perf_counter()
    for at in range(0, count, 2000):
        await asyncio.gather(*[ledger.flags.flag(*make_flag(at + k)) for k in range(min(2000, count - at))])
    tell("flags in bulk", flags=count, per_second=round(count / (time.perf_counter() - begun)))
    await ledger.run(ledger.flags.replay)
    queued = ledger.queue.count()[0]
    begun = time.perf_counter()
    done = 0
    while entries := await ledger.queue.take_due(time.time(), limit=1000, lease_s=60, everything=True):
        now = time.time()
        cleared = [
            (
                entry,
                Event(
                    id=make_id(now), kind=EventKind.CLEARED, time=now, identity=entry.identity, url=entry.url
                ),
            )
            for entry in entries[10:]
        ]
        confirmed = [
            (
                ConfirmedEntry(
                    identity=entry.identity,
                    hit=entry.identity,
                    kind=entry.kind,
                    verdict="malicious",
                    risk="dangerous",
                    threat="malware",
                    list="mw-8b",
                    server="s",
                    source="s",
                    confirmed_at=now,
                    expires_at=None,
                ),
                Event(id=make_id(now), kind=EventKind.CONFIRMED, time=now, identity=entry.identity),
                entry.id,
            )
            for entry in entries[:10]
        ]
        await ledger.queue.close(cleared)
        await ledger.confirmed.add_many(confirmed)
        done += len(entries)
    spent = time.perf_counter() - begun
    tell(
        "queue drained", entries=done, queued=queued, seconds=round(spent, 2), per_second=round(done / spent)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--ledger", help="postgresql://… instead of a SQLite file in a temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="slbench") as folder:
        place = arguments.ledger or str(Path(folder) / "ledger.sqlite3")
        ledger = Ledger.open(
            place, LedgerOptions(keeper=True), journal=Path(folder) / "flags.journal", report=print
        )
        commit_cost(Path(folder))
        asyncio.run(flags_at_a_rate(ledger, 400, arguments.seconds, beside="nothing"))
        asyncio.run(close_many(ledger, arguments.entries))
        write_events(ledger, arguments.events)
        read_pages(ledger)
        asyncio.run(flags_at_a_rate(ledger, 400, arguments.seconds, beside="indexing of those events"))
        if not arguments.ledger:
            size = (Path(folder) / "ledger.sqlite3").stat().st_size
            tell("size", bytes_per_event=round(size / arguments.events))
        ledger.close()


if __name__ == "__main__":
    main()
