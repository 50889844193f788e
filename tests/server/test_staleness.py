"""When a server's lists count as stale (0.1 s)."""

from secondlook.config.service import FeedSettings, PublishSettings, ServerSettings
from secondlook.server.feeds.feed_state import FeedState, write_state
from secondlook.server.replica.state import ReplicationState
from secondlook.server.staleness import stale_since
from secondlook.server.store.store import ServerStore

AFTER = PublishSettings(stale_after=500.0)


def test_a_feed_found_unchanged_keeps_what_is_published_fresh(tmp_path):
    store = ServerStore(tmp_path)
    settings = ServerSettings(publish=AFTER, feeds=(FeedSettings(name="one", path=tmp_path),))

    def since(created_at: float) -> float | None:
        return stale_since(settings, store, created_at, 1000.0)

    assert [since(0.0), since(400.0), since(500.0)] == [None, 400.0, None]
    write_state(store.root / "feeds", "dead", FeedState(good_at=300.0))
    assert since(400.0) == 400.0
    write_state(store.root / "feeds", "alive", FeedState(good_at=990.0))
    assert since(400.0) is None


def test_a_replica_is_stale_when_it_reaches_no_publisher_not_when_that_has_nothing_new(tmp_path):
    settings, store = ServerSettings(publish=AFTER), ServerStore(tmp_path)
    well = ReplicationState()
    failing = well.failed("no route", 400.0)
    found = [
        stale_since(settings, store, 1.0, now, state)
        for state, now in ((well, 1000.0), (failing, 900.0), (failing, 900.5), (failing.worked(), 1000.0))
    ]
    assert found == [None, None, 400.0, None]


def test_a_server_into_which_somebody_imports_is_never_stale(tmp_path):
    assert stale_since(ServerSettings(publish=AFTER), ServerStore(tmp_path), 1.0, 1000.0) is None
