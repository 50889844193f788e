"""What people call what has a short name here: lists by whose they are, a policy by what it does."""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from secondlook.agent.pattern.files import load_pattern
from secondlook.config.agent import Settings
from secondlook.config.query import PolicySettings
from secondlook.core.answer import Tier
from secondlook.core.lists.pattern import ListInfo, Pattern
from secondlook.ground.errors import PatternError, SecondLookError
from secondlook.review.words import plain
from secondlook.run.supervisor.runfile import SERVER_FOLDER
from secondlook.server.store.manual_entries import read_manual
from secondlook.server.store.store import ServerStore


def entries_by_list(settings: Settings) -> dict[str, list[str]]:
    """Name whose entries each list of the embedded server holds, what is shipped last.

    Nobody is named where that server is off, or its folder cannot be read.
    """
    root, now = settings.state / SERVER_FOLDER, time.time()
    if not settings.servers.embedded.enabled or not root.is_dir():
        return {}
    try:
        store = ServerStore(root)
        sources = sorted(store.sources_in_force(now), key=lambda source: source.kind == "builtin")
        manual = [entry for entry in read_manual(store) if entry.is_in_force(now)]
        own = [entry.list for entry in manual if entry.action == "list" and entry.list]
    except (SecondLookError, OSError):
        return {}
    found: dict[str, dict[str, None]] = {}
    for name in own:
        found.setdefault(name, {})["own entries"] = None
    for source in sources:
        for name, count in source.counts.items():
            if count and name not in source.dropped:
                found.setdefault(name, {})[source.name] = None
    return {name: list(whose) for name, whose in found.items()}


def policy_words(policy: PolicySettings) -> dict[str, str]:
    """Return what a policy does, for people."""
    undecided = policy.unverifiable.model_dump()
    blocked = [plain(name) for name, action in undecided.items() if action == "block"]
    flagged = [plain(name) for name, action in undecided.items() if action != "block"]
    return {
        "Level": str(policy.level),
        "Mode": "assessment: nothing is blocked" if policy.mode == "assess" else "enforced",
        "What could not be checked": "; ".join(
            f"{done}: {', '.join(names)}"
            for done, names in (("let through and flagged", flagged), ("blocked", blocked))
            if names
        ),
        "What no list knows": "blocked" if policy.block_untested else "allowed",
        "Exceptions of its own": "may be made" if policy.override.enabled else "may not be made",
    }


FEED_TITLES: Final = {
    "urlhaus": "URLhaus",
    "phishing-database": "Phishing.Database",
    "google": "Google Safe Browsing",
    "embedded": "Second Look",
    "secondlook-captive-portals": "Second Look",
    **dict.fromkeys(("secondlook-test-malware", "secondlook-test-phishing"), "Second Look test"),
}
"""What people call feeds and sources that the program knows."""


def title(info: ListInfo, entries: Mapping[str, Sequence[str]]) -> str:
    """Return what people call a list: whose it is (`entries_by_list`), and what stands in it."""
    own = entries.get(info.name) if info.tier is Tier.LOCAL else None
    whose = ", ".join(FEED_TITLES.get(name, name) for name in own or [info.source or info.server])
    what = "known good" if info.threat is None else plain(info.threat)
    return f"{whose} ({what}{' files' if info.kind == 'file' else ''})"


def titles_in_force(settings: Settings) -> dict[str, str]:
    """Return what people call the lists in force, by name; none where they are damaged."""
    try:
        return list_titles(load_pattern(settings.state), entries_by_list(settings))
    except PatternError:
        return {}


def list_titles(pattern: Pattern, entries: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return what people call the lists of a pattern, by name; one of several servers after them all."""
    found: dict[str, list[str]] = {}
    for info, _ in pattern.lists:
        found.setdefault(info.name, []).append(title(info, entries))
    return {name: ", ".join(dict.fromkeys(titles)) for name, titles in found.items()}
