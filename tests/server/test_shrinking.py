"""Lists that lose what a feed brought that was switched off, and lists that lose more than that."""

from dataclasses import replace

import pytest

from secondlook.config.service import PublishSettings
from secondlook.ground.errors import PatternError
from secondlook.server.administration import add_entry
from secondlook.server.publish.publishing import publish
from secondlook.server.publish.signing import known_public_key
from secondlook.server.store.feeds_off import Off, write_off
from secondlook.server.store.removal import remove
from secondlook.wire.signature import read_public_key, reduction_is_signed
from serverkit import NOW, current, make_store, out, put
from serverkit.feeds import HOSTS, listed

OTHERS = [f"other{number}.example" for number in range(2000)]


@pytest.fixture
def store(tmp_path):
    """Hold what a feed brought beside an import, published."""
    store = make_store(tmp_path)
    put(store, HOSTS, name="feed")
    [source] = [each for each in store.sources() if each.name == "feed"]
    store.change_source(replace(source, kind="feed"))
    put(store, OTHERS[:1000], name="list.txt")
    out(store)
    assert listed(store, "evil7.example/", "other7.example/") == [True, True]
    return store


def of_list(store):
    return current(store).lists["mw-8b"]


def test_what_a_feed_brought_that_is_off_is_not_missed_and_the_reduction_is_signed(store):
    before = of_list(store)
    assert before.reduction is None
    write_off(store.root, {"feed": Off(NOW)})
    assert out(store).changed
    assert listed(store, "evil7.example/", "other7.example/") == [False, True]
    after = of_list(store)
    assert (after.reduction.generation, after.reduction.count) == (store.current(), after.count)
    key = read_public_key(known_public_key(store.root, None))
    facts = ("mw-8b", after.reduction.generation, after.reduction.count)
    assert reduction_is_signed(key, *facts, after.reduction.signature)
    assert not reduction_is_signed(key, "mw-8b", facts[1], 5, after.reduction.signature)
    assert not reduction_is_signed(key, "mw-8b", facts[1], -1, after.reduction.signature)

    put(store, OTHERS, name="more.txt")
    out(store)
    assert of_list(store).reduction == after.reduction  # for who comes from before it
    assert of_list(store).count > after.count

    write_off(store.root, {})
    assert out(store).changed
    assert listed(store, "evil7.example/") == [True]


def test_what_is_lost_beside_it_still_stops_the_publication(store, suffixes):
    write_off(store.root, {"feed": Off(NOW)})
    put(store, OTHERS[:3], name="less.txt")
    remove(store, "list.txt", suffixes=suffixes)
    with pytest.raises(PatternError, match="mw-8b would shrink from 1001 entries to 4"):
        out(store)
    assert listed(store, "evil7.example/") == [True]


@pytest.mark.parametrize("how", ["replaced", "removed"])
def test_what_others_listed_too_is_missed_when_they_lose_it_in_the_same_moment(store, suffixes, how):
    put(store, HOSTS, name="same.txt")
    remove(store, "list.txt", suffixes=suffixes)
    out(store)
    write_off(store.root, {"feed": Off(NOW)})
    if how == "removed":
        remove(store, "same.txt", suffixes=suffixes)
    put(store, ["one.example"], name="one.txt", replace=how == "replaced")
    with pytest.raises(PatternError, match="mw-8b would shrink from 1200 entries to 2"):
        out(store)
    assert listed(store, "evil7.example/") == [True]


@pytest.mark.parametrize("why", ["excepted", "replaced"])
def test_what_another_source_has_and_does_not_list_is_not_missed(tmp_path, suffixes, why):
    store = make_store(tmp_path)
    names = [f"{number}.net.example" for number in range(1500)]
    put(store, names, name="wide.txt")
    if why == "excepted":
        add_entry(store, "net.example", target=None, suffixes=suffixes, who="me", now=NOW)
    put(store, ["one.example"], name="one.txt", replace=why == "replaced")
    put(store, HOSTS, name="feed")
    source = store.sources()[-1]
    store.change_source(replace(source, kind="feed"))
    out(store)
    write_off(store.root, {"feed": Off(NOW)})
    out(store)
    assert listed(store, "one.example/", "evil7.example/") == [True, False]


def test_a_feed_whose_list_is_another_now_does_not_stop_what_is_published(store):
    [feed] = [each for each in store.sources() if each.name == "feed"]
    store.forget_source(feed.id)
    put(store, HOSTS, name="feed", list_name="se-8b")
    store.change_source(replace(store.sources()[-1], kind="feed"))
    out(store)
    lists = current(store).lists
    assert (lists["mw-8b"].count, lists["se-8b"].count) == (1001, 1201)
    assert lists["mw-8b"].reduction.count == 1001


def test_a_feed_whose_entries_others_list_too_leaves_all_the_same(store):
    put(store, HOSTS, name="same.txt")
    out(store)
    write_off(store.root, {"feed": Off(NOW)})
    publish(store, now=NOW, settings=PublishSettings())
    manifest = current(store).manifest
    assert "feed" not in [source["name"] for source in manifest["sources"]]
    assert not out(store).changed
    assert of_list(store).reduction is None  # nothing was lost
