"""The table of a run of the attacks: each row is one attack, beside the same attack of an earlier run where there is one."""

import json
import os
import platform
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

PAGE = """# Attacks

`make attack` starts the proxy (one worker, in the last part two) and does to it what hostile sites and clients do, all
on loopback, in a few minutes. What must hold is asserted: a listed thing never arrives whole, its origin is not asked, others
are served meanwhile, memory comes back. Times are shown, not asserted.

Beside each attack a process of its own asks for a small harmless page through the attacked proxy every 20 ms (one of
ten over a new connection), as another client: from another address than the attacker. What it waits bounds how late
the worker's event loop is from above, as a page over a new connection takes about ten turns of it. The same is
measured at the same moment through a second proxy that is not attacked: what a page waits there is the machine's share,
which also runs the site and the attacker. A page that would have been asked for while another was waited for counts.

{machine}. "Before" is the program as it was on 27 November 2026 (commit fd779ac), under the same attacks.

- **loop**: processor time of the worker's loop while a page waited, p99 / worst, in ms, of which a page takes about one:
  how late the loop is on a machine that does nothing else. *Lost*: pages that never came.
- **page**: what a page waits, p99 / worst, in ms. **idle**: the same through the other proxy.
- **memory**: of the worker, MiB: by how much it grew at most / what was left of that about half a second after.
- **processor**: seconds of the worker while the attack went on.
- **held**: whether what must hold did.
"""

HEADINGS = (
    "| attack and what must hold | held before | loop before | page before | memory before | held | loop | page | idle "
    "| memory | processor |"
)


@dataclass(slots=True)
class Row:
    """One attack: what is tried and must hold, whether it did, and what was measured."""

    layer: str
    name: str
    sentence: str
    held: bool
    reason: str
    page: dict[str, float]
    idle: dict[str, float]


@dataclass
class Table:
    """The rows of a run, with those of an earlier one."""

    rows: list[Row] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write the rows as JSON, one a line."""
        path.write_text("".join(json.dumps(_plain(row), separators=(",", ":")) + "\n" for row in self.rows))

    def text(self) -> str:
        """The rows for a terminal."""
        lines = [
            f"{'attack':<58} {'held':<5} {'loop p99/worst':>16} {'page':>14} {'idle':>12} {'memory':>12} {'cpu':>6}"
        ]
        lines += [
            f"{row.name[:58]:<58} {'yes' if row.held else 'NO':<5} {_work(row.page):>16} {_wait(row.page):>14} {_wait(row.idle):>12} "
            f"{_memory(row.page):>12} {row.page['processor']:>6.1f}"
            for row in self.rows
        ]
        return "\n".join(lines)

    def write(self, path: Path, earlier: Path | None) -> None:
        """Write the page."""
        before = dict(_read(earlier)) if earlier else {}
        parts = [PAGE.format(machine=_machine())]
        for layer in dict.fromkeys(row.layer for row in self.rows):
            parts += [
                f"\n## {layer}\n",
                HEADINGS,
                "|" + " --- |" * 11,
            ]
            for row in self.rows:
                if row.layer != layer:
                    continue
                old = before.get(row.name)
                was = ["–"] * 4 if old is None else _cells(old["held"], old["page"])
                held, loop, page, memory = _cells(row.held, row.page)
                now = [held, loop, page, _wait(row.idle), memory]
                cells = [f"**{row.name}.** {row.sentence}", *was, *now, f"{row.page['processor']:.1f}"]
                parts.append(f"| {' | '.join(cells)} |")
        path.write_text("\n".join(parts) + "\n")


def _plain(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in Row.__dataclass_fields__}


def _read(path: Path) -> list[tuple[str, dict[str, Any]]]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [(row["name"], row) for row in rows]


def _yes(held: bool) -> str:
    return "yes" if held else "**no**"


def _cells(held: bool, seen: dict[str, float]) -> list[str]:
    return [_yes(held), _work(seen), _wait(seen), _memory(seen)]


def _work(seen: dict[str, float]) -> str:
    lost = f", {seen['lost']} lost" if seen["lost"] else ""
    return f"{seen['work_p99']:.0f} / {seen['work_worst']:.0f}{lost}"


def _wait(seen: dict[str, float]) -> str:
    return f"{seen['p99']:.0f} / {seen['worst']:.0f}"


def _memory(seen: dict[str, float]) -> str:
    return f"+{max(0, seen['grown']):.0f} / +{max(0, seen['kept']):.0f}"


def _machine() -> str:
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {platform.system()}, Python {platform.python_version()}, "
        f"mitmproxy {version('mitmproxy')}, load of the machine at the end {os.getloadavg()[0]:.0f}"
    )
