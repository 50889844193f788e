"""Loading a page in Chromium: straight, through stock mitmdump, through Squid and through our proxy (P16).

Run: `PYTHONPATH=tests python bench/pages.py [--rounds 7] [--resources 150] [--workers 1]`; prints one JSON
object a line. Origin: nginx with HTTPS and HTTP/2, a page that names so many scripts and pictures of 1 to 30
kB. Each load is one of a new browser context, whose caches and connections are empty; peers alternate within
each round. The first load through each is not counted: certificates for sites are made then.

A second row shows where the time goes, by the browser's own clock (Resource Timing): until the page itself is
there (connecting, TLS, one request), for how long a part waits for its first byte (the median: most of that
is the queue before the proxy), how long all parts take, how many come in a second, and what processor time
the proxy takes for a load.
"""

import argparse
import contextlib
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from e2e.browser import chromium
from peers import Peer, make_authority, mitmdump, nginx, secondlook, squid
from traffic import tell

BUDGET = 0.6
TIMING = """() => {
  const page = performance.getEntriesByType("navigation")[0];
  const parts = performance.getEntriesByType("resource").filter(p => p.name.includes("/part"));
  return {load: page.loadEventEnd, page: page.responseEnd,
          parts: parts.map(p => [p.requestStart, p.responseStart, p.responseEnd])};
}"""


def write_page(folder: Path, resources: int) -> None:
    """Write a page and what it names."""
    names = [f"part{number}.{'js' if number % 3 == 0 else 'svg'}" for number in range(resources)]
    for number, name in enumerate(names):
        filling = "x" * (1000 + number * 7919 % 29_000)
        svg = f'<svg xmlns="http://www.w3.org/2000/svg"><!-- {filling} --></svg>'
        (folder / name).write_text(f"// {filling}\n" if name.endswith("js") else svg)
    tags = [
        f'<script src="{name}" defer></script>' if name.endswith("js") else f'<img src="{name}">'
        for name in names
    ]
    (folder / "page.html").write_text("<!doctype html><title>page</title>" + "\n".join(tags))


def load(browser: Browser, url: str, peer: Peer | None, resources: int) -> dict[str, Any]:
    """Load the page once in a context of its own; give the browser's timing."""
    proxy: Any = {"server": f"http://{peer.address}", "bypass": "<-loopback>"} if peer is not None else None
    before = peer.cpu_s() if peer is not None else 0.0
    context = browser.new_context(ignore_https_errors=True, proxy=proxy)
    try:
        page = context.new_page()
        page.goto(url, wait_until="load", timeout=120_000)
        timing: dict[str, Any] = page.evaluate(TIMING)
    finally:
        context.close()
    timing["cpu"] = (peer.cpu_s() - before) * 1000 if peer is not None else 0.0
    assert len(timing["parts"]) == resources, len(timing["parts"])
    return timing


def parts_of(timing: dict[str, Any]) -> dict[str, float]:
    """Take a load apart: milliseconds, and parts a second."""
    parts = timing["parts"]
    begun, ended = min(part[0] for part in parts), max(part[2] for part in parts)
    return {
        "page ms": timing["page"],
        "first byte ms": statistics.median(first - asked for asked, first, _ in parts),
        "parts ms": ended - begun,
        "proxy cpu ms": timing["cpu"],
        "parts a second": len(parts) / (ended - begun) * 1000,
    }


@contextlib.contextmanager
def field(folder: Path, workers: int) -> Iterator[dict[str, Peer | None]]:
    """Run the peers."""
    with contextlib.ExitStack() as stack:
        yield {
            "straight": None,
            "mitmdump": stack.enter_context(mitmdump(folder)),
            "squid": stack.enter_context(squid(folder / "squid", authority=make_authority(folder))),
            "secondlook": stack.enter_context(
                secondlook(folder, folder / "state", "feeds: []\n", workers=workers)
            ),
        }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--resources", type=int, default=150)
    arguments.add_argument("--workers", type=int, default=1)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="slb", dir="/tmp") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        _, tls = stack.enter_context(nginx(folder))
        write_page(folder, given.resources)
        peers = stack.enter_context(field(folder, given.workers))
        browser = stack.enter_context(chromium())
        url = f"https://localhost:{tls}/"
        for peer in peers.values():
            load(browser, url, peer, given.resources)
        timings: dict[str, list[dict[str, Any]]] = {key: [] for key in peers}
        for number in range(given.rounds):
            for key, peer in list(peers.items())[:: -1 if number % 2 else 1]:  # none is always the first
                timings[key].append(load(browser, url, peer, given.resources))
    loads = {key: [each["load"] for each in every] for key, every in timings.items()}
    medians = {key: statistics.median(every) for key, every in loads.items()}
    tell(
        f"P16 page of {given.resources} parts, HTTPS and HTTP/2",
        unit="ms",
        ratio=round(medians["secondlook"] / medians["mitmdump"], 2),
        budget=BUDGET,
        rounds=given.rounds,
        workers=given.workers,
        **{
            key: {"median": round(medians[key]), "min": round(min(every)), "max": round(max(every))}
            for key, every in loads.items()
        },
    )
    taken = {key: [parts_of(each) for each in every] for key, every in timings.items()}
    tell(
        "P16 where the time goes",
        **{
            key: {what: round(statistics.median(each[what] for each in every)) for what in every[0]}
            for key, every in taken.items()
        },
    )


if __name__ == "__main__":
    main()
