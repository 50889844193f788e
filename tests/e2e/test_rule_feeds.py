"""Rules from a feed, as public collections have them: put in force and taken back under traffic (30 s)."""

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from attackkit.loop_steps import LoopSteps
from attackkit.stand import api
from attackkit.watch import Watch
from e2e.origin import Origin
from e2e.prepared import REAL_STARTS
from e2e.processes import Proxy, wait_for
from proxykit.samples import program, zipped
from scankit.rules import public_style
from secondlook.scan.rule_keeper import ASKED
from secondlook.scan.rule_set import FOLDER

FIRST = 'rule First { meta: score = 80 strings: $a = "planted first" condition: $a }\n'
SECOND = FIRST.replace("First", "Second").replace("first", "second")
PLANTED = program(5000, 8) + b"planted second"
MANY = 2000
PAGES = 200
BUMP_MS = 10.0  # of processor time: what a busy machine keeps from the loop does not count


class Forge:
    """A proxy whose rules come from a feed."""

    def __init__(self, start_proxy, origin: Origin) -> None:
        self.origin = origin
        self.brings({"all/first.yar": FIRST.encode()})
        self.proxy: Proxy = start_proxy(
            "workers: 1\nlog: {all: true}\nfeeds:\n"
            f"  - {{name: forge, format: yara, url: '{origin.url('/rules.zip')}', every: 1d}}\n"
        )

    def brings(self, files: dict[str, bytes]) -> None:
        self.origin.pages["/rules.zip"] = ("application/zip", zipped(files))

    def api(self, method: str, path: str) -> Any:
        return api(self.proxy, method, path)

    def wait_for_rules(self, count: int) -> None:
        def in_force() -> bool:
            events = self.api("GET", "/events?kind=update&list=yara&limit=1")["events"]
            return bool(events) and events[0]["detail"] == f"{count} YARA rules in force"

        wait_for(lambda: in_force() or None, f"{count} rules in force")

    def asked_at(self) -> int:
        """Return when a command asked last for a look at the rules' files."""
        return (self.proxy.state / FOLDER / ASKED).stat().st_mtime_ns

    def fetch(self, name: str, body: bytes = PLANTED) -> int:
        self.origin.pages[name] = ("application/octet-stream", body)
        return self.proxy.curl(self.origin.url(name)).status

    def wait_for_status(self, name: str, status: int) -> None:
        """Fetch until the worker has loaded the rules in force: each time another URL, as refusals stay."""
        urls = (f"/{name}-{number}.exe" for number in itertools.count())
        wait_for(lambda: self.fetch(next(urls)) == status, f"{name}: {status}")

    @contextlib.contextmanager
    def traffic(self) -> Iterator[None]:
        """Fetch one program after the other."""
        ended = threading.Event()

        def download() -> None:
            for number in itertools.count():
                self.fetch(f"/{number}.exe", program(20_000, number))
                if ended.wait(0.1):
                    return

        thread = threading.Thread(target=download)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


@pytest.fixture
def steps(tmp_path, monkeypatch, real_starts):
    """What the loops of the processes do that this test starts."""
    return LoopSteps(tmp_path / "steps", monkeypatch)


def test_thousands_of_rules_are_swapped_under_traffic_and_rolled_back(
    steps, start_proxy, plain_origin, monkeypatch
):
    """Nobody notices: no step of the worker's loop is longer by `BUMP_MS` than it is without any of it."""
    forge = Forge(start_proxy, plain_origin)
    worker = forge.proxy.facts["workers"][0]
    forge.wait_for_rules(2)
    assert forge.fetch("/before.exe") == 200
    assert steps.longest(worker, 0.0, time.monotonic()).worked_ms  # that of its start, for one
    with forge.traffic(), Watch(forge.proxy.address, worker) as watch:
        assert watch.served(60)
        begun = watch.begin()
        while watch.between(begun, time.monotonic()).pages < PAGES:  # as it is without a swap
            time.sleep(0.1)
        quiet = steps.longest(worker, begun, time.monotonic())
        forge.brings(
            {"all/first.yar": FIRST.encode(), "all/more.yar": (public_style(MANY) + SECOND).encode()}
        )
        begun = time.monotonic()
        forge.api("POST", "/lists/update")
        forge.wait_for_rules(MANY + 3)
        forge.wait_for_status("after", 403)
        assert watch.served(60)
        ended = time.monotonic()
        assert watch.between(begun, ended).lost == 0
    swapped = steps.longest(worker, begun, ended)
    assert swapped.worked_ms < quiet.worked_ms + BUMP_MS, (quiet, swapped)

    monkeypatch.delenv(REAL_STARTS)  # the commands have no loop that is looked at
    assert "rolled back to 1 rules" in forge.proxy.command("pattern", "rollback", "--rules", "forge").stdout
    asked = forge.asked_at()  # else its files would be looked at half a minute later
    forge.wait_for_rules(2)
    forge.wait_for_status("back", 200)
    (feed,) = forge.api("GET", "/feeds")
    assert (feed["count"], feed["state"]) == (1, "rolled back")
    assert "were rolled back: 1 older ones" in forge.proxy.command("pattern", "status").stdout
    forge.api("POST", "/lists/update")
    assert forge.fetch("/still.exe") == 200
    forge.proxy.command("pattern", "update", "--force")
    assert forge.asked_at() > asked
    forge.wait_for_rules(MANY + 3)
    forge.wait_for_status("again", 403)
