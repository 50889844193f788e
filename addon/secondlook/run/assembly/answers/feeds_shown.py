"""The feeds of the embedded server as pages and programs see them, those that are off among them."""

from collections.abc import Iterator, Sequence

from secondlook.config import FeedSettings
from secondlook.config.service import RULES
from secondlook.ground.instant import rfc3339
from secondlook.review.program import Json
from secondlook.server.feeds.feed_state import FeedState, read_state
from secondlook.server.feeds.rule_versions import current_rules, rules_folder
from secondlook.server.publish.held_back import read_held_back
from secondlook.server.store.feed_alerts import not_published_yet, state_of_off
from secondlook.server.store.feeds_off import read_off
from secondlook.server.store.store import FEEDS_FOLDER, ServerStore


def feeds_shown(store: ServerStore, feeds: Sequence[FeedSettings]) -> list[Json]:
    """Describe the feeds that are on, then those that are off and of which something is kept."""
    return [*_on(store, feeds), *_off(store, feeds)]


def _on(store: ServerStore, feeds: Sequence[FeedSettings]) -> Iterator[Json]:
    folder = store.root / FEEDS_FOLDER
    held_back = {each.source: each.count for each in read_held_back(store.root) or ()}
    for feed in feeds:
        if feed.builtin is not None or not feed.enabled:
            continue
        state = read_state(folder, feed.name)
        rules = current_rules(rules_folder(folder, feed.name)) if feed.format == RULES else None
        good = "rolled back" if rules is not None and rules.given_up else "fresh"
        yield _shown(
            feed.name,
            state,
            licence=feed.licence,
            count=state.entries if rules is None else rules.count,
            shown=state.error or (good if state.good_at else "not fetched yet"),
            held_back=held_back.get(feed.name, 0),
        )


def _off(store: ServerStore, feeds: Sequence[FeedSettings]) -> Iterator[Json]:
    licences = {feed.name: feed.licence for feed in feeds}
    waiting = not_published_yet(store)
    for name, off in sorted(read_off(store.root).items()):
        state = read_state(store.root / FEEDS_FOLDER, name)
        if state.good_at:
            shown = state_of_off(name, off, waiting)
            yield _shown(name, state, licence=licences.get(name), count=state.entries, shown=shown, off=True)


def _shown(
    name: str,
    state: FeedState,
    *,
    licence: str | None,
    count: int,
    shown: str,
    held_back: int = 0,
    off: bool = False,
) -> Json:
    return {
        "name": name,
        "licence": licence,
        "count": count,
        "fetched_at": rfc3339(state.good_at or None),
        "state": shown,
        "held_back": held_back,
        "off": off,
    }
