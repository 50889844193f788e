"""Lists and policies in people's words."""

import json

import pytest

from agentkit.hash_lists import build
from secondlook.config.query import PolicySettings, UnverifiableSettings
from secondlook.config.service import FeedSettings
from secondlook.config.source import load_settings
from secondlook.core.answer import Tier
from secondlook.core.lists.hashlist import HashList
from secondlook.core.lists.name import parse_list_name
from secondlook.core.lists.pattern import ListInfo, Pattern
from secondlook.run.assembly.check.naming import feeds_of, feeds_that_came, list_titles, policy_words, title


def info(name, tier=Tier.LOCAL, source="embedded"):
    meaning = parse_list_name(name)
    return ListInfo(
        name=name, width=meaning.width, role=meaning.role, kind=meaning.kind, threat=meaning.threat, risk=meaning.risk,
        tier=tier, server="embedded", source=source,
    )  # fmt: skip


FEEDS = [
    FeedSettings(name="test", builtin="test"),
    FeedSettings(name="urlhaus", url="https://feeds.example/a"),
    FeedSettings(name="own", url="https://feeds.example/b"),
    FeedSettings(name="off", url="https://feeds.example/c", enabled=False),
    FeedSettings(name="phishing-database", url="https://feeds.example/d", threat="social_engineering"),
    FeedSettings(name="named", url="https://feeds.example/e", list="mw-s-8b"),
]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mw-8b", "URLhaus, own (malware)"),
        ("se-8b", "Phishing.Database (phishing or deception)"),
        ("mw-s-8b", "named (malware)"),
        ("uws-8b", "Second Look (unwanted software)"),
        ("x-file-mw-8b", "URLhaus, own (malware files)"),
        ("gc-32b", "Second Look (known good)"),
    ],
)
def test_a_list_of_the_embedded_server_is_called_after_its_feeds(name, words):
    assert title(info(name), feeds_of(info(name), FEEDS)) == words


def test_no_list_is_called_after_a_feed_that_never_came(tmp_path):
    folder = tmp_path / "server" / "feeds"
    folder.mkdir(parents=True)
    for name, good_at in (("urlhaus", 0.0), ("own", 1.7e9)):
        (folder / f"{name}.json").write_text(json.dumps({"good_at": good_at}))
    (folder / "phishing-database.json").write_text("{")
    settings = load_settings(None, state=tmp_path).model_copy(update={"feeds": FEEDS})
    came = feeds_that_came(settings)
    assert [feed.name for feed in came] == ["own"]
    assert title(info("mw-8b"), feeds_of(info("mw-8b"), came)) == "own (malware)"
    assert title(info("se-8b"), feeds_of(info("se-8b"), came)) == "Second Look (phishing or deception)"


def test_a_list_of_another_server_is_called_after_whom_to_credit():
    google = info("mw-8b", Tier.NETWORK, "google")
    assert title(google, feeds_of(google, FEEDS)) == "Google Safe Browsing (malware)"


def test_titles_by_name_and_one_of_several_servers_after_them_all():
    google = info("mw-8b", Tier.NETWORK, "google")
    hashes = HashList.open(build([], 8))
    pattern = Pattern(
        [(info("mw-8b"), hashes), (google, hashes), (info("gc-32b"), HashList.open(build([], 32)))]
    )
    assert list_titles(pattern, FEEDS) == {
        "mw-8b": "URLhaus, own (malware), Google Safe Browsing (malware)",
        "gc-32b": "Second Look (known good)",
    }


def test_a_policy_is_told_by_what_it_does():
    usual = policy_words(PolicySettings())
    assert (usual["Level"], usual["What no list knows"]) == ("medium", "allowed")
    strict = PolicySettings(
        mode="assess", block_untested=True, unverifiable=UnverifiableSettings(page="block", download="block")
    )
    told = policy_words(strict)
    assert told["Mode"].startswith("assessment")
    assert told["What no list knows"] == "blocked"
    assert "page" in told["What could not be checked"]
    assert "download" in told["What could not be checked"]
