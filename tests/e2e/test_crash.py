"""kill -9 of worker, service and supervisor at random moments, under load, while servers come and go.

What must hold: whatever a client got through the proxy although no server can have said anything about it
is in the queue or has its closing event. Which that is, the test knows by itself: its clients write down
every page that came, and the fronts of its servers write down every prefix that they may have answered.
"""

import contextlib
import math
import os
import random
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.fronts import FAULTS, Front
from e2e.processes import Proxy, Server, server_import, server_publish, wait_for
from e2e.traffic import Traffic, Visit
from secondlook.core.url.canonical import url_subject

VICTIMS = ("worker", "service", "supervisor")


@contextlib.contextmanager
def flapping(fronts: list[Front], draw: random.Random) -> Iterator[None]:
    """Let servers come and go: good and bad for up to a second each, by chance."""
    stop = threading.Event()

    def flap() -> None:
        while not stop.is_set():
            for front in fronts:
                front.manner = draw.choice(FAULTS) if draw.random() < 0.6 else "relay"
            stop.wait(draw.uniform(0.1, 1.0))

    thread = threading.Thread(target=flap, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        for front in fronts:
            front.manner = "relay"


def pids(proxy: Proxy) -> list[int]:
    """Give the service and the workers as they are now."""
    facts = proxy.fresh_facts()
    return [pid for pid in (facts["service"], *facts["workers"]) if pid is not None]


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("rounds", [4, pytest.param(50, marks=pytest.mark.soak)])
def test_nothing_let_through_is_lost_when_processes_are_killed(
    start_proxy, start_server, memory_path: Path, suffixes, rounds
):
    seed = int(os.environ.get("SECONDLOOK_SEED") or random.SystemRandom().randrange(1 << 32))
    sys.stdout.write(f"SECONDLOOK_SEED={seed}\n")
    draw = random.Random(seed)
    harmless = memory_path / "harmless.txt"
    harmless.write_text("harmless.example\n")
    server_import(memory_path / "first", "mw-8b", harmless)
    server_publish(memory_path / "first")
    server: Server = start_server(memory_path / "first")
    behind = server.url.removeprefix("http://")
    with Front(behind, "127.0.0.2") as first, Front(behind, "127.0.0.3") as second:
        config = (
            "workers: 2\n"
            "servers:\n"
            "  embedded: false\n"
            "  circuit: {backoff_min: 100ms, backoff_max: 500ms}\n"
            "  intranet:\n"
            f"  - {{url: '{first.url}', name: first}}\n"
            f"  - {{url: '{second.url}', name: second}}\n"
            "recheck: {first: 1s, longest: 5s, lease: 5s}\n"
        )
        running: list[Proxy] = [start_proxy(config, folder=memory_path)]
        with Traffic(lambda: running[-1].address, pause_s=0.03) as traffic:
            with flapping([first, second], draw):
                victims = [*VICTIMS, *draw.choices(VICTIMS, k=rounds)][:rounds]
                for victim in victims:
                    seen = traffic.mark()
                    wait_for(
                        lambda seen=seen: (
                            sum(visit.let_through for visit in traffic.since(seen)) > 40 or None
                        ),
                        "traffic",
                    )
                    threading.Event().wait(draw.uniform(0.0, 1.0))  # a random moment
                    if victim == "supervisor":
                        running[-1].kill_family()
                        running.append(start_proxy(config, folder=memory_path))
                        continue
                    facts = running[-1].fresh_facts()
                    pid = facts["service"] if victim == "service" else draw.choice(facts["workers"])
                    os.kill(pid, signal.SIGKILL)
                    wait_for(
                        lambda pid=pid: (len(now := pids(running[-1])) == 3 and pid not in now) or None,
                        f"another {victim}",
                    )
            proxy = running[-1]

            def drained() -> bool | None:
                return proxy.metrics()["secondlook_queue_entries"] == 0 or None

        wait_for(drained, "the second look at everything", 120)

    def answered(visit: Visit) -> bool:
        prefix = url_subject(visit.url, suffixes).identity[:4]
        return any(
            front.answered.get(prefix, math.inf) <= visit.started + visit.took_s for front in (first, second)
        )

    unverified = {visit.url for visit in traffic.visits if visit.let_through and not answered(visit)}
    assert unverified, "the servers never failed"
    unverified |= {event["url"] for event in proxy.json("log", "--kind", "flagged")}
    proxy.json_when(
        lambda events: unverified <= {event["url"] for event in events}, "log", "--kind", "cleared,confirmed"
    )
    sys.stdout.write(f"{len(traffic.visits)} requests, {len(unverified)} let through unverified or flagged\n")
