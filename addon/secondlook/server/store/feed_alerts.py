"""What people read of feeds that are off, wherever they look: pages, `status`, `doctor`, `server status`."""

import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from secondlook.core.lists.name import Role
from secondlook.ground.errors import SecondLookError
from secondlook.ground.json_text import read_json
from secondlook.ground.program_name import typed
from secondlook.server.store.feeds_off import KEPT_S, Off, lists_off, read_off
from secondlook.server.store.manual_entries import read_manual
from secondlook.server.store.names import import_list
from secondlook.server.store.store import ServerStore

NOTHING_PROTECTS = "no list protects any more"
_DAMAGE = (SecondLookError, OSError, ValueError, LookupError, TypeError)  # which others report


def not_published_yet(store: ServerStore) -> set[str]:
    """Return the feeds that were switched, or are of another kind, since the served generation."""
    off = lists_off(store.root)
    try:
        if (number := store.current()) is None:
            return set()
        manifest: Any = read_json((store.generation_folder(number) / "manifest.json").read_bytes())
        served = {each["name"] for each in manifest["sources"] if each["kind"] == "feed"}
        kept = {source.name for source in store.sources() if source.kind == "feed"}
    except _DAMAGE:
        return set()
    return served & off | (kept - served - off)


def state_of_off(name: str, off: Off, waiting: Collection[str]) -> str:
    """Return in a few words what became of a feed that is off; `waiting` are those not published yet."""
    if name in waiting:
        return f"switched off; in force until the next publication (`{typed('server publish')}`)"
    if off.unnamed_at is None:
        return f"switched off since {_day(off.since)}; what it brought is kept, and not in force"
    until = _day(off.unnamed_at + KEPT_S)
    return f"no longer in the settings; what it brought is not in force, and kept until {until}"


def feed_alerts(folder: Path, *, named: bool, others: bool, now: float) -> list[str]:
    """Return what an operator should know of a server's feeds; nothing where a folder is none, or damaged.

    `named`: the settings name some feed. `others`: further servers are asked.
    """
    if not (folder / "sources").is_dir():
        return []
    try:
        return _alerts(ServerStore(folder), named=named, others=others, now=now)
    except _DAMAGE:
        return []


def _alerts(store: ServerStore, *, named: bool, others: bool, now: float) -> list[str]:
    in_force = [source for source in store.sources_in_force(now) if source.kind != "builtin"]
    feeds = sorted({source.name for source in in_force if source.kind == "feed"})
    if feeds and not named:
        unnamed = (
            f"the settings name no feeds; what {', '.join(feeds)} brought stays in force all the same: "
            f"name each with `enabled: false`, or take it out with `{typed('server remove')} {feeds[0]}`"
        )
        return [unnamed]
    off = read_off(store.root)
    lists = sorted({source.name for source in store.sources() if source.kind == "feed"} & off.keys())
    blocking = any(_blocks(source.list) for source in in_force)
    if lists and not blocking and not others and not _has_own(store, now):
        names = f"{', '.join(lists)} {'is' if len(lists) == 1 else 'are'} switched off"
        return [f"{NOTHING_PROTECTS}: {names}, and nothing else is in force"]
    return []


def _blocks(name: str | None) -> bool:
    return name is not None and import_list(name).role is Role.BLOCK


def _has_own(store: ServerStore, now: float) -> bool:
    """Return whether an own entry blocks something; a damaged file has none."""
    try:
        return any(
            each.action == "list" and _blocks(each.list) and each.is_in_force(now)
            for each in read_manual(store)
        )
    except (*_DAMAGE, AttributeError):
        return False


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at))
