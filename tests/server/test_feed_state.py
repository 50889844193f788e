"""What is known of a feed between fetches, however its file was damaged."""

import pytest

from secondlook.config.service import PublishSettings
from secondlook.server.feeds.feed_state import (
    LATELY_S,
    FeedState,
    accept_shrunk,
    read_state,
    too_few,
    write_state,
)


def test_what_was_written_is_read(tmp_path):
    state = FeedState(etag='"1"', checked_at=5.5, entries=7, may_shrink=True, error="no connection")
    write_state(tmp_path / "feeds", "one", state)
    assert read_state(tmp_path / "feeds", "one") == state
    assert read_state(tmp_path / "feeds", "another") == FeedState()


@pytest.mark.parametrize(
    "damaged",
    ["", "null", "[1]", '{"due_at": "5"}', '{"due_at": 1e999}', '{"entries": null}', '{"error": 3}',
     '{"may_shrink": 1}', '{"of_a_later_version": 1}', '{"etag": ["x"]}', "\xff"],
)  # fmt: skip
def test_a_damaged_file_is_a_feed_that_was_never_fetched(tmp_path, damaged):
    (tmp_path / "one.json").write_bytes(damaged.encode("latin-1"))
    assert read_state(tmp_path, "one") == FeedState()


def test_the_most_that_it_brought_counts_for_a_while():
    state = FeedState().brought(100, 0.0).brought(60, 5.0)
    assert (state.entries, state.most, state.most_at) == (60, 100, 0.0)
    assert (state.most_lately(LATELY_S), state.most_lately(LATELY_S + 1)) == (100, 0)
    assert state.brought(100, 9.0).most_at == 9.0
    assert state.brought(50, LATELY_S + 1).most == 50


def test_how_far_a_feed_may_shrink():
    settings = PublishSettings(shrink=0.5, shrink_from=1000)
    assert too_few(500, 1000, 1000, settings) is None
    assert too_few(499, 1000, 0, settings) == "the last good one had 1000"
    assert too_few(1, 999, 0, settings) is None, "of so few anything may be right"
    assert too_few(999, 1000, 2000, settings) == "within the last 7 days it had 2000"
    assert too_few(1000, 1000, 2000, settings) is None
    assert too_few(999, 1100, 4000, settings) is None, "that it has so few beside those was accepted"
    assert too_few(549, 1100, 4000, settings) == "the last good one had 1100"


def test_feeds_that_shrank_are_accepted_and_no_others(tmp_path):
    write_state(tmp_path, "shrank", FeedState(error="shrunk: 3 entries", due_at=9.0, most=5))
    write_state(tmp_path, "away", FeedState(error="no connection", due_at=9.0))
    assert accept_shrunk(tmp_path) == ["shrank"]
    shrank = read_state(tmp_path, "shrank")
    assert (shrank.may_shrink, shrank.due_at, shrank.most) == (True, 0.0, 5)
    assert not shrank.brought(3, 1.0).may_shrink
    assert read_state(tmp_path, "away") == FeedState(error="no connection", due_at=9.0)
    assert accept_shrunk(tmp_path / "none") == []
