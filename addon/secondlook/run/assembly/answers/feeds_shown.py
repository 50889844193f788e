"""The feeds of the embedded server as pages and programs see them, those that are off among them."""

from collections.abc import Iterable, Iterator, Sequence

from secondlook.config.service import RULES, FeedSettings
from secondlook.ground.instant import rfc3339
from secondlook.review.program import Json
from secondlook.server.feeds.feed_state import read_state
from secondlook.server.feeds.rule_versions import current_rules, rules_folder
from secondlook.server.publish.held_back import read_held_back
from secondlook.server.store.feed_alerts import not_published_yet, state_of_off
from secondlook.server.store.feeds_off import read_off
from secondlook.server.store.store import FEEDS_FOLDER, ServerStore

_WELL = ("fresh", "rolled back", "not fetched yet")


def feeds_shown(store: ServerStore, feeds: Sequence[FeedSettings]) -> list[Json]:
    """Describe the feeds that are on, then those that are off and of which something is kept."""
    return [*_on(store, feeds), *_off(store, feeds)]


def failing_text(shown: Iterable[Json]) -> str:
    """Return what the feeds that fail mean for what is in force, or nothing where none fails."""
    kept: list[str] = []
    missing: list[str] = []
    for feed in shown:
        if feed["state"] not in _WELL and not feed["off"]:
            (missing if feed["fetched_at"] is None else kept).append(feed["name"])
    texts = (("What came last from {} stays in force.", kept), ("Nothing ever came from {}.", missing))
    return " ".join(text.format(", ".join(names)) for text, names in texts if names)


def _on(store: ServerStore, feeds: Sequence[FeedSettings]) -> Iterator[Json]:
    folder = store.root / FEEDS_FOLDER
    held_back = {each.source: each.count for each in read_held_back(store.root) or ()}
    for feed in feeds:
        if feed.builtin is not None or not feed.enabled:
            continue
        state = read_state(folder, feed.name)
        rules = current_rules(rules_folder(folder, feed.name)) if feed.format == RULES else None
        good = "rolled back" if rules is not None and rules.given_up else "fresh"
        yield {
            "name": feed.name,
            "licence": feed.licence,
            "count": state.entries if rules is None else rules.count,
            "fetched_at": rfc3339(state.good_at or None),
            "state": state.error or (good if state.good_at else "not fetched yet"),
            "held_back": held_back.get(feed.name, 0),
            "off": False,
        }


def _off(store: ServerStore, feeds: Sequence[FeedSettings]) -> Iterator[Json]:
    licences = {feed.name: feed.licence for feed in feeds}
    waiting = not_published_yet(store)
    for name, off in sorted(read_off(store.root).items()):
        state = read_state(store.root / FEEDS_FOLDER, name)
        if state.good_at:
            yield {
                "name": name,
                "licence": licences.get(name),
                "count": state.entries,
                "fetched_at": rfc3339(state.good_at),
                "state": state_of_off(name, off, waiting),
                "held_back": 0,
                "off": True,
            }
