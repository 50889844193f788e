"""Runs the benchmarks and writes docs/benchmarks.md: `python bench/run.py [NAME …]` (`make bench`).

A name is that of a driver, or a row of one that can measure its rows alone (`G1`, `P3`): the rows of it that
are not named stay, with the day on which they were measured.

`--against CHECKOUT` compares traffic with that through another checkout (old against new) and only prints.

Each driver beside this file prints one JSON object a line (`bench` names what was measured); their lines are
kept in bench/results/NAME.jsonl, so that a run of some drivers keeps the figures of the others, and
written as one page; the capacity of a proxy, in docs/fleet.md, is made of them too.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "benchmarks.md"
FLEET = HERE.parent / "docs" / "fleet.md"
DRIVERS = {
    "traffic": "Traffic through the proxy, beside stock mitmdump and Squid (P1, P2, P3, P6, P12, P15)",
    "workers": "Two workers against one (P4)",
    "core": "Local data: lists, checks, rules (P5, P7, P8)",
    "feeds": "Importing feeds (P9)",
    "publish": "The server's cost per million entries (P8, P9)",
    "swap": "New lists under traffic (P8)",
    "server": "Answering queries (P10)",
    "valkey": "A server's data in Valkey",
    "second_look": "The second look (P11)",
    "ledger": "The ledger (P11, P13)",
    "downloads": "Downloads (P6)",
    "pages": "Loading a page in Chromium (P16)",
    "scan": "Engines that look into files (S1 to S5)",
    "gateway": "A gateway that asks: Squid with helper and ICAP (G1 to G6)",
    "review_page": "The review page over a large log",
    "overview": "The overview over counts of ten million events",
    "commands": "Commands and starts (P18)",
    "install": "Installed from the wheel: time, size, memory at rest (P20)",
    "containers": "In containers: time and size",
    "longrun": "Memory over a million requests (P14)",
    "soak": "Everything at once over a million requests (P14)",
}
ON_REQUEST = {"install", "containers", "soak"}  # two fetch packages and want root, one takes an hour

ROWS = {  # and the driver that measures each
    **{f"G{number}": "gateway" for number in range(1, 7)},
    **{f"S{number}": "scan" for number in range(1, 6)},
    **{f"P{number}": "traffic" for number in (1, 2, 3, 6, 12, 15)},
}

CAPACITY = {  # what docs/fleet.md plans with: how it words a row of traffic
    "P1 plain HTTP keep-alive": "plain HTTP, kept connection",
    "P2 intercepted HTTPS keep-alive, HTTP/1.1": "intercepted HTTPS, kept connection, HTTP/1.1",
    "P2 intercepted HTTPS keep-alive, HTTP/2": "intercepted HTTPS, kept connection, HTTP/2",
    "P3 intercepted HTTPS, new connection each": "intercepted HTTPS, a new connection each",
    "P15 every URL new, embedded server": "every URL new, embedded server",
    "P15 every URL new, remote server on loopback": "every URL new, a server on the network",
}
CAPACITY_TABLE = re.compile(
    r"(?<=\| requests \| processor time \| a core, in a second \|\n\|---\|---\|---\|\n)(?:\|.*\n)*"
)


def machine() -> str:
    """Describe what the figures were taken on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}, mitmproxy {version('mitmproxy')}"
    )


def drive(name: str, arguments: list[str]) -> list[dict[str, object]]:
    """Run one driver; return its lines."""
    print(f"== {name}", file=sys.stderr)
    done = subprocess.run(
        [sys.executable, str(HERE / f"{name}.py"), *arguments],
        env={
            **os.environ,
            "PYTHONPATH": str(HERE.parent / "tests"),  # what they share with the tests
            "PYTHONDONTWRITEBYTECODE": "",  # else what changed since `make` is compiled at every start
        },
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def take(name: str, arguments: list[str]) -> None:
    """Run one driver and keep its lines; where it measured some rows alone, those of the others too."""
    rows = drive(name, arguments)
    path = RESULTS / f"{name}.jsonl"
    if "--rows" in arguments and path.exists():
        rows = beside(rows, *map(json.loads, path.read_text().splitlines()))
    facts = {"machine": machine(), "date": datetime.now(UTC).strftime("%Y-%m-%d"), "load": os.getloadavg()[0]}
    RESULTS.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(each) + "\n" for each in (facts, *rows)))


def beside(
    rows: list[dict[str, object]], facts: dict[str, object], *kept: dict[str, object]
) -> list[dict[str, object]]:
    """Put rows among those of an earlier run, which say when that was, in the order of their names."""
    anew = {row_of(row) for row in rows}
    earlier = [{**row, "measured": row.get("measured", facts["date"])} for row in kept]
    return sorted([*rows, *(row for row in earlier if row_of(row) not in anew)], key=row_of)


def row_of(row: dict[str, object]) -> str:
    """Name the row (`G1`) that a line belongs to."""
    return str(row["bench"]).split()[0]


def told(value: object) -> str:
    """Write a figure for people."""
    match value:
        case float():
            return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
        case int():
            return f"{value:,}"
        case {"median": median, "min": low, "max": high, **rest}:
            spread = f"{told(median)} ({told(low)} to {told(high)})"
            return ", ".join([spread, *(f"{label(name)} {told(inner)}" for name, inner in rest.items())])
        case dict():
            return ", ".join(f"{label(name)} {told(inner)}" for name, inner in value.items())
        case list():
            return ", ".join(map(told, value))
        case _:
            return str(value)


def label(key: str) -> str:
    """Name a column."""
    return key.replace("_", " ")


def table(rows: list[dict[str, object]]) -> list[str]:
    """Write rows with the same keys as one table."""
    heads = ["what", *(label(key) for key in rows[0] if key != "bench")]
    lines = ["", *("| " + " | ".join(each) + " |" for each in (heads, ["---"] * len(heads)))]
    return [*lines, *("| " + " | ".join(map(told, row.values())) + " |" for row in rows)]


def page() -> str:
    """Write the page from all kept lines."""
    notes = HERE / "notes.md"
    parts = ["# Benchmarks\n", notes.read_text() if notes.exists() else ""]
    for name, title in DRIVERS.items():
        path = RESULTS / f"{name}.jsonl"
        if not path.exists():
            continue
        facts, *rows = map(json.loads, path.read_text().splitlines())
        parts.append(f"\n## {title}\n")
        parts.append(
            f"{facts['machine']}; {facts['date']}; load of the machine at the end {facts['load']:.1f}"
        )
        parts += ["\n".join(table(list(alike))) for _, alike in groupby(rows, key=tuple)]
    return "\n".join(parts).rstrip() + "\n"


def fleet_page() -> str:
    """Write the page of a fleet with the processor time of a worker as it was measured last."""
    _, *rows = map(json.loads, (RESULTS / "traffic.jsonl").read_text().splitlines())
    times = {row["bench"]: row["secondlook"]["cpu us"] for row in rows if row["bench"] in CAPACITY}
    lines = (
        f"| {words} | {times[bench]:,} µs | {round(1e6 / times[bench]):,} |\n"
        for bench, words in CAPACITY.items()
    )
    return CAPACITY_TABLE.sub("".join(lines), FLEET.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *DRIVERS, *ROWS], help="which; default: all")
    parser.add_argument("--page", action="store_true", help="only write the pages anew from kept lines")
    parser.add_argument(
        "--with", dest="arguments", default="", help="arguments for the drivers, such as '--rounds 3'"
    )
    parser.add_argument(
        "--against", metavar="CHECKOUT", help="compare traffic (P1 …) with another checkout, keep nothing"
    )
    given = parser.parse_args()
    if given.against is not None:
        named = [name for name in given.names if ROWS.get(name) == "traffic"]
        chosen = ["--rows", *named] if named else []
        print(
            "\n".join(
                table(drive("traffic", ["--against", given.against, *given.arguments.split(), *chosen]))
            )
        )
        return
    if not given.page:
        for name in given.names or [name for name in DRIVERS if name not in ON_REQUEST]:
            if name in DRIVERS:
                take(name, given.arguments.split())
        for driver, rows in groupby(sorted(set(given.names) & ROWS.keys()), key=ROWS.__getitem__):
            take(driver, [*given.arguments.split(), "--rows", *rows])
    PAGE.write_text(page())
    FLEET.write_text(fleet_page())


if __name__ == "__main__":
    main()
