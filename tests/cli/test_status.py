"""The status: failing feeds, and a process that hung."""

import json
import time
from dataclasses import replace

from e2e.processes import json_lines
from secondlook.cli.operation.status import DAY_S, _hung
from secondlook.server.feeds.feed_state import FeedState, write_state
from secondlook.server.store.feeds_off import Off, write_off
from serverkit import NOW, make_store, put


def test_status_names_feeds_that_fail_and_what_they_name_of_known_good_sites(tmp_path):
    feeds = tmp_path / "server" / "feeds"
    feeds.mkdir(parents=True)
    (tmp_path / "ca").mkdir()
    (feeds / "good.json").write_text('{"error": null}')
    (feeds / "failing.json").write_text('{"error": "shrunk: 3 entries, the last good one had 2000"}')
    (feeds / "damaged.json").write_text('{"err')
    held = {"source": "failing", "count": 1, "texts": ["google.com/"], "new": ["google.com/"]}
    held_back = [held | {"new_at": time.time()}, held | {"source": "long ago", "new_at": 1.0}]
    (tmp_path / "server" / "held-back").write_text(json.dumps(held_back))
    (status,) = json_lines("status", "--state", tmp_path)
    assert status["alerts"] == [
        "feed failing: shrunk: 3 entries, the last good one had 2000",
        "failing lists 1 known-good sites or pages, which are held back: google.com/",
    ]


def test_status_shows_that_the_last_feed_is_off_and_forgets_how_it_failed(tmp_path):
    (tmp_path / "ca").mkdir()
    store = make_store(tmp_path)
    put(store, ["evil.example"], name="urlhaus")
    [source] = store.sources()
    store.change_source(replace(source, kind="feed"))
    write_state(store.root / "feeds", "urlhaus", FeedState(good_at=NOW, error="no connection"))
    config = tmp_path / "proxy.yaml"

    def alerts(settings):
        config.write_text(settings)
        (status,) = json_lines("status", "--state", tmp_path, "-c", config)
        return status["alerts"]

    feed = "name: urlhaus, url: 'https://feed.example/'"
    assert alerts(f"feeds: [{{{feed}}}]\n") == ["feed urlhaus: no connection"]
    assert alerts("feeds: []\n")[1].startswith(
        "the settings name no feeds; what urlhaus brought stays in force"
    )
    assert alerts("servers: {embedded: {enabled: false}}\n") == []  # its folder is left as it was
    write_off(store.root, {"urlhaus": Off(NOW)})
    told = "no list protects any more: urlhaus is switched off, and nothing else is in force"
    assert alerts(f"feeds: [{{{feed}, enabled: false}}]\n") == [told]
    servers = "servers: {network: {url: 'https://ask.example'}}\n"
    assert alerts(f"feeds: [{{{feed}, enabled: false}}]\n{servers}") == []


def test_status_names_the_process_that_hung_last_for_a_day():
    def told(*, ago_s, **count):
        last = {"process": "gate worker 1", "at": 1_700_000_000.0}
        return _hung({"hung": {"count": count, "last": last}}, last["at"] + ago_s, utc=True)

    once = "gate worker 1 hung, was killed and started again at 2023-11-14T22:13:20.000Z"
    assert told(ago_s=60, gate=1) == once
    assert told(ago_s=DAY_S, gate=1, worker=2) == f"{once}; 3 did since the start"
    assert told(ago_s=DAY_S + 1, gate=1) is None
    assert _hung({"hung": {"count": {}, "last": None}}, 0.0, utc=True) is None
    assert _hung({}, 0.0, utc=True) is None  # of an older version
