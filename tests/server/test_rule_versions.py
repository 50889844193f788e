"""Versions of the rules of a feed: kept, in force, given up and taken up again."""

from dataclasses import replace

import pytest

from secondlook.ground.errors import PatternError
from secondlook.server.feeds.rule_versions import (
    KEEP,
    RulesOfFeed,
    current_rules,
    files_in_force,
    keep_rules,
    roll_back,
    rollback_text,
    take_up_again,
)

RULES = RulesOfFeed(0, "", 2, 1_900_000_000.0)


class Feed:
    """A feed of rules, and what is kept of it."""

    def __init__(self, tmp_path):
        self.place = tmp_path
        self.folder = tmp_path / "rules" / "r"

    def take(self, number):
        unpacked = self.place / "unpacked"
        unpacked.mkdir()
        (unpacked / "0000-r.yar").write_text(version(number))
        return keep_rules(unpacked, self.folder, replace(RULES, version=f"v{number}"))

    def texts(self):
        return [path.read_text() for path in sorted(files_in_force(self.folder).iterdir())]


@pytest.fixture
def feed(tmp_path):
    return Feed(tmp_path)


def version(number):
    return f"rule v{number} {{ condition: false }}"


@pytest.mark.parametrize("damage", [b"", b"\xff", b"null", b"[1]", b'{"number": 1}'])
def test_a_damaged_note_withdraws_no_rules(feed, damage):
    for number in (1, 2):
        feed.take(number)
    (feed.folder / "current.json").write_bytes(damage)
    assert feed.texts() == [version(2)]
    assert current_rules(feed.folder).version == "v2"
    assert current_rules(feed.place / "rules" / "another") is None


def test_a_rollback_stays_until_something_else_comes(feed):
    with pytest.raises(PatternError, match="no earlier rules of r"):
        roll_back("r", feed.folder)
    for number in (1, 2, 3):
        feed.take(number)
    assert rollback_text("r", feed.folder) is None
    roll_back("r", feed.folder)
    assert feed.texts() == [version(2)]
    assert "secondlook pattern update --force`" in rollback_text("r", feed.folder)
    roll_back("r", feed.folder)
    assert feed.texts() == [version(1)]
    with pytest.raises(PatternError, match="no earlier rules of r"):
        roll_back("r", feed.folder)
    assert current_rules(feed.folder).given_up == ("v3", "v2")
    feed.take(4)
    assert (feed.texts(), rollback_text("r", feed.folder)) == ([version(4)], None)


def test_what_was_given_up_is_taken_up_again(feed):
    assert take_up_again(feed.folder) is None
    for number in (1, 2):
        feed.take(number)
    assert take_up_again(feed.folder) is None
    roll_back("r", feed.folder)
    assert take_up_again(feed.folder).number == 2
    assert (feed.texts(), rollback_text("r", feed.folder)) == ([version(2)], None)


def test_only_the_last_versions_stay(feed):
    for number in range(KEEP + 2):
        feed.take(number)
    numbers = range(3, KEEP + 3)
    left = {path.name for path in feed.folder.iterdir()}
    assert left == {"current.json", *(f"{n:06d}" for n in numbers), *(f"{n:06d}.json" for n in numbers)}
    for _ in range(KEEP - 1):
        roll_back("r", feed.folder)
    assert feed.texts() == [version(2)]
