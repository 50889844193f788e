"""Feeds of YARA rules: taken whole, refused with the line that is wrong, kept, and taken back (10 s)."""

import asyncio
import os

import pytest
from pydantic import ValidationError

from proxykit.samples import tarred, zipped
from secondlook.config.agent import Settings
from secondlook.config.service import FeedSettings, PublishSettings
from secondlook.ground.clock import SystemClock
from secondlook.ground.errors import PatternError
from secondlook.run.assembly.check.scanning import rule_sources
from secondlook.server.feeds.feed_state import read_state
from secondlook.server.feeds.keeper import FeedKeeper
from secondlook.server.feeds.rule_versions import (
    current_rules,
    files_in_force,
    roll_back,
    rollback_text,
    rules_folder,
    take_up_again,
)
from secondlook.server.feeds.rules import take_rules
from secondlook.server.store.store import ServerStore

GOOD = 'rule one { strings: $a = "planted" condition: $a }\nrule two { condition: false }\n'
NOW = 1_900_000_000.0
ARCHIVE = {
    "forge/README.md": b"no rules",
    "forge/core/all.yar": GOOD.encode(),
    "forge/../../etc/more.YARA": b"rule one { condition: false }",
    "__MACOSX/._all.yar": b"\0\1\2",
}


class Feed:
    """A feed of rules, and what is kept of it."""

    def __init__(self, tmp_path):
        self.feeds = tmp_path
        self.folder = rules_folder(tmp_path, "r")

    def take(self, content, **settings):
        fetched = self.feeds / "fetched"
        fetched.write_bytes(content if isinstance(content, bytes) else content.encode())
        return asyncio.run(take_rules("r", fetched, self.feeds, NOW, PublishSettings(**settings)))

    def texts(self):
        return [path.read_text() for path in sorted(files_in_force(self.folder).iterdir())]


@pytest.fixture
def feed(tmp_path):
    return Feed(tmp_path)


def test_good_rules_are_kept_and_wrong_ones_leave_the_last_good(feed):
    assert feed.take(GOOD).count == 2
    assert feed.texts() == [GOOD]
    for wrong, told in (
        (GOOD + "rule three { condition: nonsense }\n", r"r:3:25: unknown identifier `nonsense`"),
        ("rule every { condition: filesize > 0 }", "fits a file known to be good"),
        ("", "there are no rules in it"),
        ("<html>", "r:1:1"),
        (zipped({"a/b.yar": b"rule a {\n condition: nope }"}), r"r/a/b.yar:2:13: unknown identifier `nope`"),
        (zipped({"a": b"rule a { condition: false }"}), "no file in the archive ends in"),
        (zipped({"a.yar": GOOD.encode()})[:60], "truncated"),
    ):
        with pytest.raises(PatternError, match=told):
            feed.take(wrong)
    assert feed.texts() == [GOOD]
    assert {path.name for path in feed.feeds.iterdir()} == {"fetched", "rules"}


@pytest.mark.parametrize("packed", [zipped(ARCHIVE), tarred(ARCHIVE, "w:gz"), tarred(ARCHIVE, "w:xz")])
def test_the_rule_files_of_an_archive_are_taken_and_none_lies_elsewhere(feed, packed):
    assert feed.take(packed).count == 3  # two of them have one name, in files of their own
    assert feed.texts() == [GOOD, "rule one { condition: false }"]
    assert {path.name for path in files_in_force(feed.folder).iterdir()} == {
        "0000-forge_core_all.yar",
        "0001-forge_.._.._etc_more.YARA",
    }


def rules(count):
    return "".join(f"rule r{number} {{ condition: false }}\n" for number in range(count))


def test_a_feed_that_shrinks_at_its_bound_and_one_past_it(feed):
    feed.take(rules(100))
    assert feed.take(rules(50), shrink_from=100).count == 50
    feed.take(rules(99))
    assert feed.take(rules(1), shrink_from=100).count == 1  # of so few any may go
    feed.take(rules(100))
    with pytest.raises(PatternError, match=r"r: shrunk: 49 rules, the last good ones were 100; `.*--force`"):
        feed.take(rules(49), shrink_from=100)
    assert feed.texts() == [rules(100)]


def test_a_feed_does_not_empty_itself_and_what_is_left_of_it_is_taken_where_somebody_wants_that(feed):
    feed.take(rules(1000))
    for count in (1, 1, 2):
        with pytest.raises(PatternError, match=f"r: shrunk: {count} rules, the last good ones were 1000"):
            feed.take(rules(count))
        assert f"shrunk: {count} rules" in rollback_text("r", feed.folder)
    assert feed.texts() == [rules(1000)]
    assert take_up_again(feed.folder).count == 2
    assert (feed.texts(), rollback_text("r", feed.folder)) == ([rules(2)], None)
    assert take_up_again(feed.folder) is None
    assert feed.take(rules(2)).count == 2
    roll_back("r", feed.folder)
    assert feed.texts() == [rules(1000)]


@pytest.mark.parametrize("again", [1000, 999])
def test_what_shrank_is_forgotten_once_the_feed_is_good_again(feed, again):
    feed.take(rules(1000))
    with pytest.raises(PatternError, match="shrunk"):
        feed.take(rules(1))
    feed.take(rules(again))
    assert (rollback_text("r", feed.folder), take_up_again(feed.folder)) == (None, None)
    assert feed.texts() == [rules(again)]


def version(number):
    return GOOD + f"rule v{number} {{ condition: false }}\n"


def test_a_keeper_takes_them_as_no_list(tmp_path):
    given, told, published = tmp_path / "given.yar", [], []
    given.write_text(GOOD)
    feed = FeedSettings(name="r", format="yara", path=given)
    store = ServerStore(tmp_path / "server")
    folder = rules_folder(store.root / "feeds", "r")

    async def fetch():
        keeper = FeedKeeper(
            store, [feed], SystemClock(), on_notice=told.append, on_published=published.append
        )
        try:
            return await keeper.fetch_due(everything=True)
        finally:
            await keeper.aclose()

    asyncio.run(fetch())
    assert [(notice.outcome, notice.detail) for notice in told] == [("taken", "2 YARA rules")]
    assert published == []
    given.write_text("rule broken {")
    asyncio.run(fetch())
    assert told[-1].outcome == "refused"
    assert told[-1].detail.startswith("r:1:")
    given.write_text(version(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.executable", "/no/such/program")
        asyncio.run(fetch())
    assert told[-1].outcome == "failed"  # nothing is wrong with these: they are tried again soon
    state = read_state(store.root / "feeds", "r")
    assert (state.entries, state.failures) == (2, 2)

    settings = Settings(state=tmp_path, feeds=(feed,))
    assert [(source.name, source.path) for source in rule_sources(settings)] == [
        ("feed r", files_in_force(folder))
    ]
    assert settings.looking.yara.rules == (folder,)
    assert settings.scan.yara.rules == ()

    given.write_text(version(1))
    asyncio.run(fetch())
    roll_back("r", folder)
    given.touch()
    (notice,) = asyncio.run(fetch())
    assert (notice.outcome, notice.detail) == ("unchanged", "it still has the rules that were given up")


def test_a_feed_whose_rules_are_gone_is_fetched_though_it_did_not_change(tmp_path):
    given = tmp_path / "given.yar"
    given.write_text(GOOD)
    store = ServerStore(tmp_path / "server")
    folder = rules_folder(store.root / "feeds", "r")

    async def fetch():
        keeper = FeedKeeper(store, [FeedSettings(name="r", format="yara", path=given)], SystemClock())
        try:
            return [notice.outcome for notice in await keeper.fetch_due(everything=True)]
        finally:
            await keeper.aclose()

    assert asyncio.run(fetch()) == ["taken"]
    assert asyncio.run(fetch()) == ["unchanged"]
    (folder / "current.json").unlink()
    assert asyncio.run(fetch()) == ["taken"]
    assert current_rules(folder).count == 2


def test_a_keeper_refuses_what_shrank_for_as_long_as_it_is_so(tmp_path):
    given = tmp_path / "given.yar"
    store = ServerStore(tmp_path / "server")
    folder = rules_folder(store.root / "feeds", "r")

    async def fetch():
        keeper = FeedKeeper(
            store,
            [FeedSettings(name="r", format="yara", path=given)],
            SystemClock(),
            settings=PublishSettings(shrink_from=10),
        )
        try:
            return [notice.outcome for notice in await keeper.fetch_due(everything=True)]
        finally:
            await keeper.aclose()

    given.write_text(rules(10))
    then = given.stat().st_mtime_ns
    assert asyncio.run(fetch()) == ["taken"]
    given.write_text(rules(1))
    assert asyncio.run(fetch()) == ["refused"]
    given.write_text(rules(10))
    os.utime(given, ns=(then, then))
    assert asyncio.run(fetch()) == ["unchanged"]
    assert rollback_text("r", folder) is None  # it has again what is in force
    given.write_text(rules(1))
    assert [asyncio.run(fetch()), asyncio.run(fetch())] == [["refused"], ["refused"]]
    assert "shrunk: 1 rules" in read_state(store.root / "feeds", "r").error
    assert current_rules(folder).count == 10
    take_up_again(folder)
    assert asyncio.run(fetch()) == ["unchanged"]
    assert read_state(store.root / "feeds", "r").error is None
    assert current_rules(folder).count == 1


def test_before_it_has_come_a_feed_is_waited_for(tmp_path):
    settings = Settings(
        state=tmp_path, feeds=(FeedSettings(name="r", format="yara", url="https://rules.test/x"),)
    )
    assert rule_sources(settings) == []
    assert settings.looking.yara.rules  # an answer is wanted: without rules nobody has looked


def test_rules_are_no_entries_of_a_list():
    with pytest.raises(ValidationError, match="bring rules, not entries"):
        FeedSettings(name="r", format="yara", url="https://rules.test/x", list="mw-8b")
