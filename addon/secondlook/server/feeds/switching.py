"""Feeds that were switched on or off: a server's folder follows its settings, before anything is fetched.

Who publishes then, the server itself or a command, leaves out what feeds brought that are off
(`store/feeds_off.py`).
"""

import shutil
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from secondlook.config.service import RULES, FeedSettings
from secondlook.server.feeds.feed_state import read_state
from secondlook.server.feeds.rule_versions import FOLDER, rules_folder
from secondlook.server.store.feed_alerts import not_published_yet
from secondlook.server.store.feeds_off import (
    off_now,
    outlived,
    read_off,
    read_turned,
    write_off,
    write_turned,
)
from secondlook.server.store.store import FEEDS_FOLDER, OWED, ServerStore


@dataclass(frozen=True, slots=True)
class Switched:
    """A feed of which something is kept and that was switched on or off; `named`: by the settings."""

    name: str
    on: bool
    entries: int
    named: bool = True


def follow(store: ServerStore, feeds: Sequence[FeedSettings], now: float) -> list[Switched]:
    """Note what of the feeds is out of force; what changed is owed a publication.

    Blocks, but waits for no writer. Raises OSError.
    """
    named = {feed.name: feed.enabled for feed in feeds if feed.builtin is None} if feeds else None
    before, came = read_off(store.root), _came(store)
    off = off_now(before, came, named, now)
    turned_before = read_turned(store.root)
    turned = _turned(store, feeds, turned_before) if feeds else turned_before
    changed = sorted((off.keys() ^ before.keys()) & came)
    given_up = [
        path for feed in feeds if feed.enabled and not feed.guard for path in _guard_of(store, feed.name)
    ]
    if changed or turned != turned_before or given_up:
        (store.root / OWED).touch()  # first: a stop in between is made good by a publication too many
    if off != before:
        write_off(store.root, off)
    if turned != turned_before:
        write_turned(store.root, turned)
    for path in given_up:  # of feeds that were guards
        path.unlink(missing_ok=True)
    return [
        Switched(name, name not in off, entries_of(store, name), named is not None and name in named)
        for name in changed
    ]


def tidy(store: ServerStore, feeds: Sequence[FeedSettings], now: float) -> None:
    """Remove what is kept no longer, unless the served generation still has it.

    Of feeds that never came, and that the settings name no more, nothing is.
    Blocks. Raises OSError, and PatternError while another writer holds the folder.
    """
    off, turned, waiting = read_off(store.root), read_turned(store.root), not_published_yet(store)
    known = {feed.name for feed in feeds} | off.keys() | _came(store)
    for path in (store.root / FEEDS_FOLDER).glob("*.json") if feeds else ():
        if path.stem not in known:
            path.unlink(missing_ok=True)
    ended = set(outlived(off, now)) - waiting
    lists = [
        source.id
        for source in store.sources()
        if source.kind == "feed" and source.name in turned - ended - waiting
    ]
    if not ended and not lists:
        return
    with store.writing():
        for source_id in lists:
            with suppress(FileNotFoundError):
                store.forget_source(source_id)
        for name in ended:
            forget_feed(store, name)
    write_off(store.root, {name: each for name, each in off.items() if name not in ended})


def entries_of(store: ServerStore, name: str) -> int:
    """Return how many entries, hosts or rules are kept of a feed."""
    return read_state(store.root / FEEDS_FOLDER, name).entries


def forget_feed(store: ServerStore, name: str) -> None:
    """Remove everything that a feed brought; the caller holds the writer's lock."""
    for source in store.sources():
        if source.kind == "feed" and source.name == name:
            store.forget_source(source.id)
    feeds = store.root / FEEDS_FOLDER
    for path in (feeds / f"{name}.json", *_guard_of(store, name)):
        path.unlink(missing_ok=True)
    shutil.rmtree(rules_folder(feeds, name), ignore_errors=True)


def _came(store: ServerStore) -> set[str]:
    """Return the feeds of which something is kept."""
    rules = store.root / FEEDS_FOLDER / FOLDER
    return {
        *(source.name for source in store.sources() if source.kind == "feed"),
        *(path.stem for path in store.kept_guard_files()),
        *(path.name for path in rules.glob("*") if path.is_dir()),
    }


def _guard_of(store: ServerStore, name: str) -> list[Path]:
    return [path for path in store.kept_guard_files() if path.stem == name]


def _turned(store: ServerStore, feeds: Sequence[FeedSettings], before: Collection[str]) -> set[str]:
    """Return the feeds that brought a list and are a guard, or bring rules, by the settings."""
    lists = {source.name for source in store.sources() if source.kind == "feed"}
    others = {feed.name for feed in feeds if feed.guard or feed.format == RULES}
    return others & {*lists, *before}
