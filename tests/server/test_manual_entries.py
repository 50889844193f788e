"""What an operator types, as an entry of a list: its scope, its list, its hash."""

from dataclasses import replace

import pytest

from secondlook.core.digest import sha256
from secondlook.server.store.manual_entries import (
    ManualEntry,
    manual_hash,
    next_id,
    parse_subject,
    read_manual,
    target_list,
    write_manual,
)
from secondlook.server.store.names import import_list
from secondlook.server.store.store import ServerStore

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
ENTRY = ManualEntry(
    id="own-1", action="list", scope="host", text="evil.example/", list="mw-8b", who="ada", at=1.0
)


@pytest.mark.parametrize(
    ("typed", "scope", "text"),
    [
        ("evil.example", "host", "evil.example/"),
        (" http://EVIL.example/ ", "host", "evil.example/"),
        ("github.io", "exact", "github.io/"),  # below it are other people's sites
        ("evil.example/a/", "prefix", "evil.example/a/"),
        ("https://evil.example/a.exe?x=1", "exact", "evil.example/a.exe?x=1"),
        ("AB" * 32, "file", "ab" * 32),
        ("sha256:" + "ab" * 32, "file", "ab" * 32),
        ("ab" * 20, "file", "sha1:" + "ab" * 20),
        ("md5:" + "ab" * 16, "file", "md5:" + "ab" * 16),
    ],
)
def test_a_subject_is_read_by_its_form(suffixes, typed, scope, text):
    assert parse_subject(typed, suffixes) == (scope, text)


@pytest.mark.parametrize(
    "typed",
    [
        *("", "/regex/", "=evil.example", "*.evil.example", "com", "http://"),
        *("two words", "10.0.0.0/8", "ab" * 31, "sha256:" + "ab" * 33),
    ],
)
def test_what_no_list_can_hold_is_refused(suffixes, typed):
    with pytest.raises(ValueError, match=r"cannot hold|not a host|suffix of a registry"):
        parse_subject(typed, suffixes)


@pytest.mark.parametrize(
    ("list_name", "scope", "text", "chosen"),
    [
        ("mw-8b", "host", "evil.example/", "mw-8b"),
        ("mw-8b", "file", "ab" * 32, "x-file-mw-8b"),
        ("gc-32b", "file", "ab" * 32, "x-file-gc-32b"),
    ],
)
def test_an_entry_goes_to_the_list_of_its_kind(list_name, scope, text, chosen):
    assert target_list(import_list(list_name), scope, text).name == chosen


@pytest.mark.parametrize(("list_name", "text"), [("mw-8b", EMPTY), ("gc-32b", "md5:" + "ab" * 16)])
def test_the_empty_file_and_weak_proof_are_listed_nowhere(list_name, text):
    with pytest.raises(ValueError, match=r"digest|SHA-256"):
        target_list(import_list(list_name), "file", text)


def test_an_entry_hashes_as_its_feed_would():
    assert manual_hash("host", "evil.example/") == sha256(b"evil.example/")
    assert manual_hash("file", "ab" * 32) == bytes.fromhex("ab" * 32)
    assert manual_hash("file", "md5:" + "ab" * 16) == sha256(b"md5:" + b"ab" * 16)
    assert manual_hash("file", "sha1:" + "ab" * 20) == sha256(b"sha1:" + b"ab" * 20)


def test_entries_come_back_and_ids_are_not_used_twice(tmp_path):
    store = ServerStore(tmp_path)
    assert read_manual(store) == []
    assert next_id([]) == "own-1"
    kept = [replace(ENTRY, id="own-7", expires_at=9.0), replace(ENTRY, id="own-3", reason="why")]
    write_manual(store, kept)
    assert read_manual(store) == kept
    assert next_id(kept) == "own-8"


def test_only_an_entry_that_lists_can_be_an_agents():
    assert replace(ENTRY, who="agent office").by_agent
    assert not ENTRY.by_agent
    assert not replace(ENTRY, who="agent office", action="except").by_agent
