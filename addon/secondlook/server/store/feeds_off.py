"""Feeds that are off: what they brought stays in a server's folder, and out of force.

| the settings | what a feed brought |
|---|---|
| name it, switched on | is in force |
| name it with `enabled: false` | is out of force and kept; in force again, without a fetch, once it is on |
| name other feeds | is out of force, and removed after `KEPT_S` |
| name no feed at all | stays as it was: an empty file, or a wrong one, ends no protection |
| name it as a feed of another kind (a guard, rules) | its list is out of force, removed once published |
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from secondlook.ground.files import write_whole
from secondlook.ground.json_text import read_json

FEEDS_OFF = "feeds-off.json"  # in the server's folder
FEEDS_TURNED = (
    "feeds-turned.json"  # beside it: names of feeds that brought a list, and now bring another kind
)
KEPT_S = 30 * 86_400.0
MOST_AT = 1e11  # Unix seconds: further than a date can be shown


@dataclass(frozen=True, slots=True)
class Off:
    """Since when a feed is off, and since when the settings name it no more (Unix seconds; None: they do)."""

    since: float
    unnamed_at: float | None = None


def read_off(folder: Path) -> dict[str, Off]:
    """Read which feeds are off; a damaged file takes nothing out of force, and is written anew."""
    try:
        raw: Any = read_json((folder / FEEDS_OFF).read_bytes())
        return {name: _off(**each) for name, each in raw.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _off(since: float, unnamed_at: float | None = None) -> Off:
    for at in (since, 0.0 if unnamed_at is None else unnamed_at):
        if not 0.0 <= at < MOST_AT:
            raise ValueError(f"no instant: {at}")
    return Off(since, unnamed_at)


def write_off(folder: Path, off: Mapping[str, Off]) -> None:
    """Write down which feeds are off."""
    plain = {name: asdict(each) for name, each in sorted(off.items())}
    write_whole(folder / FEEDS_OFF, json.dumps(plain, indent=1).encode() + b"\n")


def read_turned(folder: Path) -> set[str]:
    """Read of which feeds no list is in force, as they are of another kind now; a damaged file has none."""
    try:
        return set(map(str, read_json((folder / FEEDS_TURNED).read_bytes())))
    except (OSError, ValueError, TypeError):
        return set()


def write_turned(folder: Path, turned: Collection[str]) -> None:
    """Write down of which feeds no list is in force."""
    write_whole(folder / FEEDS_TURNED, json.dumps(sorted(turned)).encode() + b"\n")


def lists_off(folder: Path) -> set[str]:
    """Return the feeds whose lists are out of force: they are off, or of another kind now."""
    return {*read_off(folder), *read_turned(folder)}


def off_now(
    before: Mapping[str, Off], came: Collection[str], named: Mapping[str, bool] | None, now: float
) -> dict[str, Off]:
    """Return which feeds are off: `came` are those of which something is kept.

    `named` are those of the settings, each with whether it is on; None: the settings name no feed at all.
    """
    if named is None:
        return dict(before)
    off = {}
    for name in {*named, *came}:
        if named.get(name, False):
            continue
        was = before.get(name, Off(now))
        unnamed_at = was.unnamed_at or now
        off[name] = Off(was.since, None if name in named else unnamed_at)
    return off


def outlived(off: Mapping[str, Off], now: float) -> list[str]:
    """Return the feeds whose entries are kept no longer."""
    return [
        name for name, each in off.items() if each.unnamed_at is not None and now - each.unnamed_at >= KEPT_S
    ]
