"""Lists and policies in people's words."""

import pytest

from agentkit.hash_lists import build
from secondlook.config.query import PolicySettings, UnverifiableSettings
from secondlook.config.source import load_settings
from secondlook.core.answer import Tier
from secondlook.core.lists.hashlist import HashList
from secondlook.core.lists.name import parse_list_name
from secondlook.core.lists.pattern import ListInfo, Pattern
from secondlook.run.assembly.check.naming import entries_by_list, list_titles, policy_words, title
from secondlook.server.store.builtin import add_builtin_lists
from secondlook.server.store.feeds_off import Off, write_off
from secondlook.server.store.importing import Origin, take_in
from secondlook.server.store.manual_entries import ManualEntry, write_manual
from secondlook.server.store.names import import_list
from secondlook.server.store.store import ServerStore


def info(name, tier=Tier.LOCAL, source="embedded"):
    meaning = parse_list_name(name)
    return ListInfo(
        name=name, width=meaning.width, role=meaning.role, kind=meaning.kind, threat=meaning.threat, risk=meaning.risk,
        tier=tier, server="embedded", source=source,
    )  # fmt: skip


NOW = 1_800_000_000.0
ENTRIES = {"mw-8b": ["urlhaus", "own", "secondlook-test-malware"], "gc-32b": ["embedded"]}


def imported(store, name, target, text, kind="import", **how):
    origin = Origin(
        name=name, kind=kind, target=import_list(target), who="test", now=NOW, format="plain", **how
    )
    take_in(store, [text.encode()], origin)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mw-8b", "own, Second Look test (malware)"),
        ("x-file-mw-8b", "Second Look test (malware files)"),  # no file's digest is in the person's list
        ("se-8b", "Phishing.Database, Second Look test (phishing or deception)"),
        ("mw-s-8b", "own entries, imported (malware)"),
        ("uws-8b", "Second Look (unwanted software)"),  # nothing but a canary stands in it
        ("gc-32b", "Second Look (known good)"),
    ],
)
def test_a_list_is_called_after_all_whose_entries_it_holds(tmp_path, name, words):
    store = ServerStore(tmp_path / "server")
    add_builtin_lists(store, now=NOW)
    imported(store, "own", "mw-8b", "http://bad.example/a\n", "feed")
    imported(store, "phishing-database", "se-8b", "bad.example\n", "feed")
    imported(store, "imported", "mw-s-8b", "odd.example\n")
    imported(store, "over", "uws-8b", "odd.example\n", expires_at=1.0)
    imported(store, "turned-off", "mw-8b", "worse.example\n", "feed")
    write_off(store.root, {"turned-off": Off(NOW)})
    entry = {"action": "list", "scope": "host", "text": "mine.example/", "list": "mw-s-8b", "who": "test"}
    over = entry | {"list": "se-8b", "expires_at": 1.0}
    write_manual(store, [ManualEntry(id="own-1", at=NOW, **entry), ManualEntry(id="own-2", at=0.0, **over)])
    assert title(info(name), entries_by_list(load_settings(None, state=tmp_path))) == words


def test_nobody_is_named_where_the_folder_of_the_embedded_server_cannot_tell(tmp_path):
    settings = load_settings(None, state=tmp_path)
    assert entries_by_list(settings) == {}
    assert not (tmp_path / "server").exists()  # a look makes no folder
    store = ServerStore(tmp_path / "server")
    add_builtin_lists(store, now=NOW)
    assert set(entries_by_list(settings)) == {"mw-8b", "x-file-mw-8b", "se-8b", "gc-32b"}
    next(store.sources_folder.glob("0001-*/source.json")).write_text("{")
    assert entries_by_list(settings) == {}


def test_a_list_of_another_server_is_called_after_whom_to_credit():
    google = info("mw-8b", Tier.NETWORK, "google")
    assert title(google, ENTRIES) == "Google Safe Browsing (malware)"


def test_titles_by_name_and_one_of_several_servers_after_them_all():
    google = info("mw-8b", Tier.NETWORK, "google")
    hashes = HashList.open(build([], 8))
    pattern = Pattern(
        [(info("mw-8b"), hashes), (google, hashes), (info("gc-32b"), HashList.open(build([], 32)))]
    )
    assert list_titles(pattern, ENTRIES) == {
        "mw-8b": "URLhaus, own, Second Look test (malware), Google Safe Browsing (malware)",
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
