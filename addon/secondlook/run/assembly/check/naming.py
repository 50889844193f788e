"""What people call what has a short name here: lists by whose they are, a policy by what it does."""

from collections.abc import Iterable, Sequence
from typing import Final

from secondlook.agent.pattern.files import load_pattern
from secondlook.config.agent import Settings
from secondlook.config.query import PolicySettings
from secondlook.config.service import FeedSettings
from secondlook.core.answer import Tier
from secondlook.core.lists.pattern import ListInfo, Pattern
from secondlook.ground.errors import PatternError
from secondlook.ground.json_text import read_json
from secondlook.review.words import plain
from secondlook.run.supervisor.runfile import SERVER_FOLDER


def feeds_that_came(settings: Settings) -> list[FeedSettings]:
    """Return the feeds of which the embedded server has something; one that never came fills no list."""
    if not settings.servers.embedded.enabled:
        return []
    folder = settings.state / SERVER_FOLDER / "feeds"
    found = []
    for feed in settings.feeds:
        try:
            came = read_json((folder / f"{feed.name}.json").read_bytes())["good_at"] > 0
        except (OSError, ValueError, LookupError, TypeError):
            continue
        if came:
            found.append(feed)
    return found


def feeds_of(info: ListInfo, feeds: Iterable[FeedSettings]) -> list[str]:
    """Name the feeds of the embedded server that a list is made from; those that are shipped are left out."""
    if info.tier is not Tier.LOCAL:
        return []
    return [
        feed.name
        for feed in feeds
        if feed.enabled
        and not feed.guard
        and feed.builtin is None
        and (feed.list == info.name if feed.list else (feed.threat, feed.risk) == (info.threat, info.risk))
    ]


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
    "embedded": "Second Look",  # of the lists that are shipped with it alone
}
"""What people call feeds and sources that the program knows."""


def title(info: ListInfo, feeds: Sequence[str]) -> str:
    """Return what people call a list: whose it is, and what stands in it."""
    whose = ", ".join(FEED_TITLES.get(name, name) for name in feeds or [info.source or info.server])
    what = "known good" if info.threat is None else plain(info.threat)
    return f"{whose} ({what}{' files' if info.kind == 'file' else ''})"


def titles_in_force(settings: Settings) -> dict[str, str]:
    """Return what people call the lists in force, by name; none where they are damaged."""
    try:
        return list_titles(load_pattern(settings.state), feeds_that_came(settings))
    except PatternError:
        return {}


def list_titles(pattern: Pattern, feeds: Sequence[FeedSettings]) -> dict[str, str]:
    """Return what people call the lists of a pattern, by name; one of several servers after them all."""
    found: dict[str, list[str]] = {}
    for info, _ in pattern.lists:
        found.setdefault(info.name, []).append(title(info, feeds_of(info, feeds)))
    return {name: ", ".join(dict.fromkeys(titles)) for name, titles in found.items()}
