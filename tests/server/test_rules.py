"""Feeds of YARA rules: taken whole, refused with the line that is wrong, kept, and taken back (10 s)."""

import asyncio

import pytest
from pydantic import ValidationError

from proxykit.samples import tarred, zipped
from secondlook.config import FeedSettings, Settings
from secondlook.ground.clock import SystemClock
from secondlook.ground.errors import PatternError
from secondlook.run.assembly.scanning import rule_sources
from secondlook.server.feeds.fetch import read_state
from secondlook.server.feeds.keeper import FeedKeeper
from secondlook.server.feeds.rule_versions import (
    current_rules,
    files_in_force,
    roll_back,
    rules_folder,
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

    def take(self, content):
        fetched = self.feeds / "fetched"
        fetched.write_bytes(content if isinstance(content, bytes) else content.encode())
        return asyncio.run(take_rules("r", fetched, self.feeds, NOW))

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
    state = read_state(store.root / "feeds", "r")
    assert (state.entries, state.failures) == (2, 1)

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


def test_before_it_has_come_a_feed_is_waited_for(tmp_path):
    settings = Settings(
        state=tmp_path, feeds=(FeedSettings(name="r", format="yara", url="https://rules.test/x"),)
    )
    assert rule_sources(settings) == []
    assert settings.looking.yara.rules  # an answer is wanted: without rules nobody has looked


def test_rules_are_no_entries_of_a_list():
    with pytest.raises(ValidationError, match="bring rules, not entries"):
        FeedSettings(name="r", format="yara", url="https://rules.test/x", list="mw-8b")
