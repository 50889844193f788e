"""When a server's lists count as stale (0.1 s)."""

from secondlook.server.feeds.feed_state import FeedState, write_state
from secondlook.server.staleness import age_of
from secondlook.server.store.store import ServerStore


def test_a_feed_found_unchanged_keeps_what_is_published_fresh(tmp_path):
    store = ServerStore(tmp_path)
    assert age_of(store, 0.0, 1000.0) is None
    assert age_of(None, 400.0, 1000.0) == 600.0
    assert age_of(store, 400.0, 1000.0) == 600.0
    write_state(store.root / "feeds", "dead", FeedState(good_at=300.0))
    assert age_of(store, 400.0, 1000.0) == 600.0
    write_state(store.root / "feeds", "alive", FeedState(good_at=990.0))
    assert age_of(store, 400.0, 1000.0) == 10.0
