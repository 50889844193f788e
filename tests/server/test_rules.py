"""Feeds of YARA rules: taken whole, refused with the line that is wrong, the last good ones kept. 5 s."""

import asyncio

import pytest
from pydantic import ValidationError

from secondlook.config import FeedSettings, Settings
from secondlook.ground.clock import SystemClock
from secondlook.ground.errors import PatternError
from secondlook.run.assembly.scanning import rule_sources
from secondlook.server.feeds.fetch import read_state
from secondlook.server.feeds.keeper import FeedKeeper
from secondlook.server.feeds.rules import rules_file, take_rules
from secondlook.server.store.store import ServerStore

GOOD = 'rule one { strings: $a = "planted" condition: $a }\nrule two { condition: false }\n'


def test_good_rules_are_kept_and_wrong_ones_leave_the_last_good(tmp_path):
    fetched = tmp_path / "fetched"
    fetched.write_text(GOOD)
    assert asyncio.run(take_rules("r", fetched, tmp_path)) == 2
    kept = rules_file(tmp_path, "r")
    assert kept.read_text() == GOOD
    fetched.write_text(GOOD + "rule three { condition: nonsense }\n")
    with pytest.raises(PatternError, match=r"r:3:25: unknown identifier `nonsense`"):
        asyncio.run(take_rules("r", fetched, tmp_path))
    fetched.write_text("rule every { condition: filesize > 0 }")
    with pytest.raises(PatternError, match="fits a file known to be good"):
        asyncio.run(take_rules("r", fetched, tmp_path))
    assert kept.read_text() == GOOD
    assert {path.name for path in tmp_path.iterdir()} == {"fetched", "rules"}


def test_a_keeper_takes_them_as_no_list(tmp_path):
    given, told, published = tmp_path / "given.yar", [], []
    given.write_text(GOOD)
    feed = FeedSettings(name="r", format="yara", path=given)
    store = ServerStore(tmp_path / "server")

    async def fetch():
        keeper = FeedKeeper(
            store, [feed], SystemClock(), on_notice=told.append, on_published=published.append
        )
        try:
            await keeper.fetch_due(everything=True)
        finally:
            await keeper.aclose()

    asyncio.run(fetch())
    assert [(notice.outcome, notice.detail) for notice in told] == [("taken", "2 YARA rules")]
    assert published == []
    given.write_text("rule broken {")
    asyncio.run(fetch())
    assert told[-1].outcome == "refused"
    assert told[-1].detail.startswith("r:1:")
    state = read_state(store.root / "feeds", "r")
    assert (state.entries, state.failures) == (2, 1)

    settings = Settings(state=tmp_path, feeds=(feed,))
    assert [(source.name, source.path) for source in rule_sources(settings)] == [
        ("feed r", rules_file(store.root / "feeds", "r"))
    ]
    assert settings.looking.yara.rules == (rules_file(store.root / "feeds", "r"),)
    assert settings.scan.yara.rules == ()


def test_before_it_has_come_a_feed_is_waited_for(tmp_path):
    settings = Settings(
        state=tmp_path, feeds=(FeedSettings(name="r", format="yara", url="https://rules.test/x"),)
    )
    assert rule_sources(settings) == []
    assert settings.looking.yara.rules  # an answer is wanted: without rules nobody has looked


def test_rules_are_no_entries_of_a_list():
    with pytest.raises(ValidationError, match="bring rules, not entries"):
        FeedSettings(name="r", format="yara", url="https://rules.test/x", list="mw-8b")
