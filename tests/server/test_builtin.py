"""What every store holds from the start, brought up to date when it changes."""

from hashlib import sha256

import pytest

from secondlook.server.administration import check
from secondlook.server.store import builtin
from secondlook.server.store.builtin import BUILTIN_LISTS, EICAR_SHA256, add_builtin_lists
from secondlook.server.store.store import ServerStore
from secondlook.suffix import load_suffixes
from serverkit import NOW, out

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


@pytest.fixture
def store(tmp_path):
    return ServerStore(tmp_path)


def lists(store, subject):
    return {each.list for each in check(store, subject, suffixes=load_suffixes())}


def test_the_test_list_blocks_what_it_is_for_and_nothing_else(store):
    add_builtin_lists(store, now=NOW)
    out(store)
    assert lists(store, "http://malware.secondlook.test/") == {"mw-8b"}
    assert lists(store, "http://sub.malware.secondlook.test/x") == {"mw-8b"}
    assert lists(store, "http://phishing.secondlook.test/login") == {"se-8b"}
    assert lists(store, EICAR_SHA256) == {"x-file-mw-8b"}
    assert not lists(store, "http://phishing.secondlook.test/")
    assert not lists(store, "http://secondlook.test/")


def test_the_digest_is_that_of_the_test_file():
    assert sha256(EICAR).hexdigest() == EICAR_SHA256


def test_they_come_once(store):
    assert add_builtin_lists(store, now=NOW)
    before = {source.name: source for source in store.sources()}
    assert before.keys() == BUILTIN_LISTS.keys()
    assert {source.kind for source in before.values()} == {"builtin"}
    assert not add_builtin_lists(store, now=NOW + 1)
    assert {source.name: source for source in store.sources()} == before


def test_one_that_changed_takes_the_place_of_what_it_was(store, monkeypatch):
    add_builtin_lists(store, now=NOW)
    changed = {**BUILTIN_LISTS, "secondlook-test-phishing": ("se-8b", "http://other.secondlook.test/x\n")}
    monkeypatch.setattr(builtin, "BUILTIN_LISTS", changed)
    assert add_builtin_lists(store, now=NOW + 1)
    out(store)
    assert lists(store, "http://other.secondlook.test/x") == {"se-8b"}
    assert not lists(store, "http://phishing.secondlook.test/login")
    assert lists(store, "http://malware.secondlook.test/") == {"mw-8b"}
