"""What people read of feeds that are off."""

from dataclasses import replace

from secondlook.server.store.feed_alerts import feed_alerts, not_published_yet, state_of_off
from secondlook.server.store.feeds_off import Off, write_off
from secondlook.server.store.manual_entries import ManualEntry, write_manual
from serverkit import NOW, make_store, out, put


def make_feed(store, name):
    put(store, [f"{name}.example"], name=name)
    source = store.sources()[-1]
    store.change_source(replace(source, kind="feed"))


def test_until_it_is_published_a_switch_is_told_as_such(tmp_path):
    store = make_store(tmp_path)
    make_feed(store, "one")
    make_feed(store, "two")
    out(store)
    assert not_published_yet(store) == set()
    write_off(store.root, {"one": Off(NOW)})
    assert not_published_yet(store) == {"one"}
    assert state_of_off("one", Off(NOW), {"one"}).startswith(
        "switched off; in force until the next publication"
    )
    out(store)
    assert not_published_yet(store) == set()
    write_off(store.root, {})
    assert not_published_yet(store) == {"one"}


def test_other_entries_protect_though_every_feed_is_off(tmp_path):
    store = make_store(tmp_path)
    make_feed(store, "one")
    write_off(store.root, {"one": Off(NOW), "never-came": Off(NOW)})

    def told():
        return feed_alerts(store.root, named=True, others=False, now=NOW)

    assert told() == ["no list protects any more: one is switched off, and nothing else is in force"]
    put(store, ["good.example"], list_name="gc-32b", name="good.txt")
    assert len(told()) == 1  # known to be good: nothing is blocked by that
    facts = {"id": "own-1", "action": "list", "scope": "host", "text": "own.example/", "who": "me", "at": NOW}
    write_manual(store, [ManualEntry(**facts, list="mw-8b", expires_at=NOW)])
    assert len(told()) == 1
    write_manual(store, [ManualEntry(**facts, list="gc-32b")])
    assert len(told()) == 1
    write_manual(store, [ManualEntry(**facts, list="mw-8b", expires_at=NOW + 1)])
    assert told() == []
    for damaged in ("{", "7", "[7]", '[{"action": "list"}]'):
        (store.root / "own.json").write_text(damaged)
        assert len(told()) == 1
    put(store, ["imported.example"])
    assert told() == []
