"""Taking entries out: exactly what was named, and never what a feed would bring again."""

import pytest

from secondlook.server.administration import add_entry, check, entries
from secondlook.server.store.importing import Origin, file_chunks, take_in
from secondlook.server.store.names import import_list
from secondlook.server.store.records import open_run
from secondlook.server.store.removal import remove
from serverkit import NOW, full_hash, make_store, out, put

MINUTE_S = 60.0


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path, ["one.example", "two.example", "http://three.example/bad/a.exe"])


def told(store, subject, suffixes):
    return [each.list for each in check(store, subject, suffixes=suffixes)]


@pytest.mark.parametrize(
    "typed", ["two.example", "two.example/", "http://TWO.example", "https://two.example/"]
)
def test_an_imported_entry_goes_alone(store, suffixes, typed):
    assert remove(store, typed, suffixes=suffixes) == "one imported entry"
    assert [each.text for each in entries(store, search="two.example")] == []
    [source] = [each for each in store.sources() if each.name == "list.txt"]
    assert source.counts["mw-8b"] == 2
    assert len(open_run(store.source_folder(source.id) / "records")) == 2
    out(store)
    assert told(store, "two.example", suffixes) == []
    assert told(store, "one.example", suffixes) == ["mw-8b"]
    assert told(store, "http://three.example/bad/a.exe", suffixes) == ["mw-8b"]
    with pytest.raises(LookupError):
        remove(store, typed, suffixes=suffixes)


def test_the_last_entry_takes_its_source_with_it(tmp_path, suffixes):
    store = make_store(tmp_path, ["one.example"])
    remove(store, "one.example", suffixes=suffixes)
    assert [each for each in store.sources() if each.kind == "import"] == []


def test_only_the_named_list_loses_the_entry(store, suffixes):
    put(store, ["two.example"], list_name="se-8b", name="phishing.txt")
    remove(store, "two.example", suffixes=suffixes, list_name="mw-8b")
    assert [each.list for each in entries(store, search="two.example")] == ["se-8b"]
    with pytest.raises(ValueError, match="nonsense"):
        remove(store, "two.example", suffixes=suffixes, list_name="nonsense")


def test_a_digest_is_removed_by_its_text(store, suffixes):
    digests = [full_hash(each).hex() for each in ("one", "two")]
    put(store, digests, list_name="x-file-mw-8b", name="digests.txt")
    assert remove(store, digests[0].upper(), suffixes=suffixes) == "one imported entry"
    assert [each.text for each in entries(store, list_name="x-file-mw-8b")] == digests[1:]


def test_an_entry_of_a_feed_is_refused_with_the_feed_s_name(store, suffixes, tmp_path):
    path = tmp_path / "feed.txt"
    path.write_text("fed.example\none.example\n")
    origin = Origin(name="daily", kind="feed", target=import_list("mw-8b"), who="feed", now=NOW)
    with store.writing():
        take_in(store, file_chunks(path), origin)
    with pytest.raises(LookupError, match="daily"):
        remove(store, "fed.example", suffixes=suffixes)
    assert remove(store, "one.example", suffixes=suffixes) == "one imported entry (still in daily)"
    assert [each.source for each in entries(store, search="one.example")] == ["daily"]


def test_own_entries_and_exceptions_say_who_and_when_and_end_by_themselves(store, suffixes):
    own = {"suffixes": suffixes, "who": "ann", "now": NOW, "reason": "ticket 7", "expires_at": NOW + MINUTE_S}
    added = add_entry(store, "new.example", target=import_list("se-8b"), **own)
    excepted = add_entry(store, "http://three.example/bad/", target=None, **own)
    rows = {each.id: each for each in entries(store, own_only=True)}
    assert set(rows) == {added.id, excepted.id}
    assert {(each.who, each.added_at, each.reason, each.expires_at) for each in rows.values()} == {
        ("ann", NOW, "ticket 7", NOW + MINUTE_S)
    }
    out(store)
    assert told(store, "new.example", suffixes) == ["se-8b"]
    assert told(store, "http://three.example/bad/a.exe", suffixes) == []
    out(store, now=NOW + MINUTE_S)
    assert told(store, "new.example", suffixes) == []
    assert told(store, "http://three.example/bad/a.exe", suffixes) == ["mw-8b"]


def test_removing_an_exception_leaves_an_own_entry_of_the_same_text_to_its_list(store, suffixes):
    by = {"suffixes": suffixes, "who": "ann", "now": NOW}
    add_entry(store, "new.example", target=import_list("se-8b"), **by)
    excepted = add_entry(store, "new.example", target=None, **by)
    assert remove(store, excepted.id, suffixes=suffixes) == "one own entry"
    assert [each.list for each in entries(store, own_only=True)] == ["se-8b"]


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        ("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "empty file"),
        ("md5:D41D8CD98F00B204E9800998ECF8427E", "empty file"),
        ("da39a3ee5e6b4b0d3255bfef95601890afd80709", "empty file"),
        ("*.bad.example", "without a star"),
        ("http://*.bad.example/x", "without a star"),
    ],
)
def test_what_could_match_nothing_or_too_much_is_not_added(store, suffixes, subject, reason):
    with pytest.raises(ValueError, match=reason):
        add_entry(store, subject, target=import_list("mw-8b"), who="ann", now=NOW, suffixes=suffixes)
