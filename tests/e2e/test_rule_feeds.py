"""Rules from a feed, as public collections have them: put in force and taken back under traffic (30 s)."""

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

from attackkit.stand import api
from attackkit.watch import Watch
from e2e.processes import Origin, Proxy, wait_for
from proxykit.samples import program, zipped
from scankit.rules import public_style

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

    def reload(self) -> None:
        """Have the rules looked at now: who does not, waits for half a minute."""
        self.proxy.command("reload")
        self.proxy.facts = self.proxy.fresh_facts()

    def fetch(self, name: str, body: bytes = PLANTED) -> int:
        self.origin.pages[name] = ("application/octet-stream", body)
        return self.proxy.curl(self.origin.url(name)).status

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


def test_thousands_of_rules_are_swapped_under_traffic_and_rolled_back(start_proxy, plain_origin):
    """Nobody notices: the loop's thread works no longer for a page than it does without any of it.

    Between a page's question and its answer the loop may have served others too, so a single page says less
    than a hundred.
    """
    forge = Forge(start_proxy, plain_origin)
    forge.wait_for_rules(2)
    assert forge.fetch("/before.exe") == 200
    with forge.traffic(), Watch(forge.proxy.address, forge.proxy.facts["workers"][0]) as watch:
        assert watch.served(60)
        begun = watch.begin()
        quiet = watch.between(begun, time.monotonic())
        while quiet.pages < PAGES:  # as it is without a swap
            time.sleep(0.1)
            quiet = watch.between(begun, time.monotonic())
        forge.brings(
            {"all/first.yar": FIRST.encode(), "all/more.yar": (public_style(MANY) + SECOND).encode()}
        )
        begun = time.monotonic()
        forge.api("POST", "/lists/update")
        forge.wait_for_rules(MANY + 3)
        assert forge.fetch("/after.exe") == 403
        assert watch.served(60)
        swapped = watch.between(begun, time.monotonic())
    assert swapped.lost == 0
    assert swapped.work_p99 < 2 * quiet.work_p99 + BUMP_MS, (quiet, swapped)
    assert swapped.work_worst < 2 * quiet.work_worst + 3 * BUMP_MS, (quiet, swapped)

    assert "rolled back to 1 rules" in forge.proxy.command("pattern", "rollback", "--rules", "forge").stdout
    forge.reload()
    forge.wait_for_rules(2)
    assert forge.fetch("/back.exe") == 200
    (feed,) = forge.api("GET", "/feeds")
    assert (feed["count"], feed["state"]) == (1, "rolled back")
    assert "were rolled back: 1 older ones" in forge.proxy.command("pattern", "status").stdout
    forge.api("POST", "/lists/update")
    assert forge.fetch("/still.exe") == 200
    forge.proxy.command("pattern", "update", "--force")
    forge.reload()
    forge.wait_for_rules(MANY + 3)
    assert forge.fetch("/again.exe") == 403
