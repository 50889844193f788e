"""P11: how long until 100,000 flagged subjects are looked at again, against one real server.

Real parts throughout: a Smart Protection Server in a process of its own, the lookup client, SQLite with
`synchronous=FULL`, and the rechecker. Beside the second look a check of a cached URL runs all the time in
the same process, to show what traffic feels.

Run: `python bench/second_look.py [--flags 100000] [--listed 1000]`; prints one JSON object a line.
"""

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from secondlook.agent.actions.enforcement import Enforcement
from secondlook.agent.check.checker import Checker
from secondlook.agent.check.groups import Policies
from secondlook.agent.check.view import LocalView
from secondlook.agent.recheck.batch_check import BatchCheck
from secondlook.agent.recheck.rechecker import Rechecker
from secondlook.agent.recheck.renewal import Renewal
from secondlook.config.query import RecheckSettings, ServersSettings
from secondlook.core.asking.cache import AnswerCache
from secondlook.core.event import Event, EventKind, FlagEntry
from secondlook.core.rules.policy import Policy
from secondlook.core.subject import RequestContext, SubjectKind
from secondlook.core.url.canonical import url_subject
from secondlook.core.verdict import SubjectClass
from secondlook.ground.clock import SystemClock
from secondlook.ground.ulid import make_id
from secondlook.ledger.ledger import Ledger, LedgerOptions
from secondlook.lookup.tiered import TieredLookup
from secondlook.suffix import load_suffixes

SERVER = """
import asyncio, sys
from pathlib import Path
from secondlook.ground.clock import SystemClock
from secondlook.core.verdict import Risk, Threat
from secondlook.server.embedded import EmbeddedServer
from secondlook.server.store.importing import import_files
from secondlook.server.publish.publishing import publish
from secondlook.server.store.store import ServerStore

async def main():
    root, listed = Path(sys.argv[1]), Path(sys.argv[2])
    import time
    import_files(ServerStore(root), [listed], who="bench", now=time.time())
    publish(ServerStore(root), now=time.time(), accept_shrink=True)
    server = EmbeddedServer(root, SystemClock())
    await server.start()
    print(server.url, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def tell(name: str, **figures: object) -> None:
    print(json.dumps({"bench": name, **figures}), flush=True)


def url_of(number: int) -> str:
    return f"https://host{number}.example/path/{number % 977}/page.html?q={number}"


async def flag(ledger: Ledger, count: int) -> None:
    suffixes, now = load_suffixes(), time.time() - 3600

    async def one(number: int) -> None:
        url = url_of(number)
        subject = url_subject(url, suffixes)
        event = Event(
            id=make_id(now),
            kind=EventKind.FLAGGED,
            time=now,
            cls=SubjectClass.PAGE,
            subject=SubjectKind.URL,
            url=url,
            host=subject.host,
            identity=subject.identity,
        )
        entry = FlagEntry(
            identity=subject.identity,
            kind=SubjectKind.URL,
            cls=SubjectClass.PAGE,
            hashes=subject.hashes,
            url=url,
            host=subject.host,
            client="127.0.0.1",
            time=now,
            reason="bench",
        )
        await ledger.flags.flag(event, entry)

    for start in range(0, count, 500):
        await asyncio.gather(*(one(number) for number in range(start, min(count, start + 500))))


async def traffic(checker: Checker, ended: asyncio.Event) -> list[float]:
    """Check a subject over and over, and note how late each turn on the loop comes."""
    subject, context = checker.subject("https://traffic.example/"), RequestContext(SubjectClass.PAGE)
    await checker.check(subject, context)
    late: list[float] = []
    while not ended.is_set():
        started = time.perf_counter()
        await asyncio.sleep(0.005)
        checker.check_now(subject, context)
        late.append(time.perf_counter() - started - 0.005)
    return late


async def measure(state: Path, url: str, flags: int) -> None:
    clock = SystemClock()
    ledger = Ledger.open(
        state / "ledger.sqlite3", LedgerOptions(keeper=True, deadline_s=60.0), journal=state / "flags.journal"
    )
    started = time.perf_counter()
    await flag(ledger, flags)
    tell("flagging", flags=flags, seconds=round(time.perf_counter() - started, 2))
    settings = ServersSettings.model_validate({"embedded": False, "intranet": [{"url": url}]})
    lookup = TieredLookup(settings, clock=clock)
    await lookup.start()
    view, cache = LocalView(Policies(Policy())), AnswerCache(200_000)
    checker = Checker(view, lookup, cache, load_suffixes(), clock)
    judge = BatchCheck(view, lookup, cache, clock)
    enforcement = Enforcement(
        view, ledger.confirmed, ledger.history, ledger.recorder, clock, url_subject=checker.subject
    )
    renewal = Renewal(judge, ledger.confirmed, clock)
    rechecker = Rechecker(
        judge, ledger.queue, enforcement, renewal, clock, RecheckSettings(), random=random.random
    )
    ended = asyncio.Event()
    beside = asyncio.create_task(traffic(checker, ended))
    started, cpu = time.perf_counter(), time.process_time()
    report = await rechecker.look()
    seconds = time.perf_counter() - started
    ended.set()
    late = sorted(await beside)
    tell(
        "P11 second look",
        flags=flags,
        seconds=round(seconds, 2),
        cpu_seconds=round(time.process_time() - cpu, 2),
        confirmed=report.confirmed,
        cleared=report.cleared,
        left=report.unverifiable,
        error=report.error,
        loop_late_ms_median=round(statistics.median(late) * 1000, 2),
        loop_late_ms_p99=round(late[int(len(late) * 0.99)] * 1000, 2),
    )
    await lookup.aclose()
    ledger.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--flags", type=int, default=100_000)
    parser.add_argument("--listed", type=int, default=1_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        state = Path(name)
        listed = state / "listed.txt"
        listed.write_text("".join(f"host{number * 7}.example\n" for number in range(given.listed)))
        with subprocess.Popen(
            [sys.executable, "-c", SERVER, str(state / "server"), str(listed)],
            stdout=subprocess.PIPE,
            text=True,
        ) as server:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            try:
                asyncio.run(measure(state, url, given.flags))
            finally:
                server.terminate()


if __name__ == "__main__":
    main()
