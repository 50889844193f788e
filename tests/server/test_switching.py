"""Feeds that are switched off and on: out of force and back, at once, without a fetch (10 s)."""

import asyncio

import pytest
from starlette.responses import Response

from secondlook.config.service import FeedSettings, PublishSettings
from secondlook.server.administration import add_entry, rollback
from secondlook.server.feeds.keeper import FIRST_RETRY_S, IDLE_S, FeedKeeper
from secondlook.server.feeds.rule_versions import RulesOfFeed, keep_rules, rules_folder
from secondlook.server.feeds.switching import follow
from secondlook.server.publish.publishing import publish
from secondlook.server.store.feed_alerts import feed_alerts, not_published_yet
from secondlook.server.store.feeds_off import KEPT_S, Off, read_off, read_turned, write_off
from secondlook.server.store.names import import_list
from secondlook.server.store.removal import remove
from serverkit import NOW, current, put
from serverkit.feeds import HOSTS, keeping, listed

TEST_LIST = FeedSettings(name="secondlook-test", builtin="test")


@pytest.fixture
def follows(tmp_path):
    """Run a scene: a feed that came, and a way to let its server start again with other settings."""

    def run(scene, **options):
        async def begin():
            async with keeping(tmp_path, **options) as (keeper, publisher, clock, store, notices):
                await keeper.fetch_due()
                notices.clear()

                async def restart(*feeds, **settings):
                    again = FeedKeeper(
                        store, feeds, clock, settings=PublishSettings(**settings), on_notice=notices.append
                    )
                    await again.follow_settings()
                    return again

                await scene(keeper._feeds[0], restart, publisher, clock, store, notices)

        asyncio.run(begin())

    return run


def off(feed):
    return feed.model_copy(update={"enabled": False})


def test_off_is_off_and_on_is_on_again_without_a_fetch(follows):
    async def scene(feed, restart, publisher, _clock, store, notices):
        await restart(off(feed), TEST_LIST)
        assert listed(store, "evil7.example/", "malware.secondlook.test/") == [False, True]
        assert [(each.feed, each.outcome, each.entries) for each in notices] == [
            ("feed", "switched off", 1200)
        ]
        assert notices[0].detail == (
            "what it brought (1,200) is out of force, and kept for when it is switched on again"
        )
        generation = store.current()
        await restart(off(feed), TEST_LIST)
        assert (store.current(), len(notices)) == (generation, 1)

        await restart(feed, TEST_LIST)
        assert listed(store, "evil7.example/") == [True]
        assert [each.detail for each in notices[1:]] == ["what it brought (1,200) is in force again"]
        assert len(publisher.requests) == 1
        assert read_off(store.root) == {}

    follows(scene)


def test_a_fetch_that_ends_after_the_switch_changes_nothing_that_is_in_force(follows):
    async def scene(feed, restart, publisher, clock, store, _notices):
        old = FeedKeeper(store, [feed], clock)
        await restart(off(feed), TEST_LIST)
        publisher.change([*HOSTS, "late.example"])
        assert [each.outcome for each in await old.fetch_due(everything=True)] == ["taken"]
        assert listed(store, "evil7.example/", "late.example/") == [False, False]
        await old.aclose()
        await restart(feed, TEST_LIST)
        assert listed(store, "evil7.example/", "late.example/") == [True, True]

    follows(scene)


def test_a_feed_that_left_the_settings_is_off_and_removed_in_its_time(follows):
    async def scene(feed, restart, _publisher, clock, store, notices):
        put(store, ["imported.example"])
        keeper = await restart(TEST_LIST)
        assert listed(store, "evil7.example/", "imported.example/") == [False, True]
        assert notices[0].detail == "what it brought (1,200) is out of force, and kept for 30 days"
        clock.ahead = KEPT_S + 1  # a clock that was set ends nothing
        await keeper.follow_settings()
        assert "feed" in {each.name for each in store.sources()}
        clock.ahead, clock.at = 0.0, clock.at + KEPT_S
        await keeper.follow_settings()
        assert {each.kind for each in store.sources()} == {"builtin", "import"}
        assert not (store.root / "feeds" / "feed.json").exists()
        assert read_off(store.root) == {}
        assert len(notices) == 1
        fetched = FeedKeeper(store, [feed], clock)
        assert [each.outcome for each in await fetched.fetch_due()] == ["taken"]
        await fetched.aclose()

    follows(scene)


def test_settings_that_name_no_feed_end_no_protection_and_are_told_of(follows):
    async def scene(_feed, restart, _publisher, clock, store, notices):
        await restart()
        assert listed(store, "evil7.example/") == [True]
        assert notices == []
        [told] = feed_alerts(store.root, named=False, others=True, now=clock.now())
        assert told.startswith("the settings name no feeds; what feed brought stays in force all the same")

    follows(scene)


def test_after_the_last_feed_it_is_shown_that_nothing_protects(follows, suffixes):
    async def scene(feed, restart, _publisher, clock, store, _notices):
        def alerts(others=False):
            return feed_alerts(store.root, named=True, others=others, now=clock.now())

        assert alerts() == []
        await restart(off(feed), TEST_LIST)
        assert alerts() == ["no list protects any more: feed is switched off, and nothing else is in force"]
        assert alerts(others=True) == []
        add_entry(
            store,
            "own.example",
            target=import_list("mw-8b"),
            suffixes=suffixes,
            who="me",
            now=NOW,
        )
        assert alerts() == []
        assert feed_alerts(store.root / "nowhere", named=False, others=False, now=NOW) == []

    follows(scene)


@pytest.mark.parametrize("why", ["rolled back", "published by hand"])
def test_what_the_operator_publishes_waits_for_the_operator(follows, why):
    async def scene(feed, restart, publisher, clock, store, notices):
        if why == "rolled back":
            publisher.change([*HOSTS, "new.example"])
            clock.at += 700
            await (await restart(feed)).fetch_due()
            rollback(store)
            notices.clear()
        settings = {"auto": False} if why == "published by hand" else {}
        await restart(off(feed), TEST_LIST, **settings)
        assert listed(store, "evil7.example/") == [True]
        assert not_published_yet(store) == {"feed"}
        assert notices[-1].detail.startswith("what it brought is out of force with the next publication")

    follows(scene)


def test_a_guard_that_is_off_is_kept_and_guards_again_without_a_fetch(follows):
    async def scene(feed, restart, publisher, _clock, store, notices):
        [file] = store.guard_files()
        await restart(off(feed), TEST_LIST)
        assert (store.guard_files(), store.kept_guard_files()) == ((), (file,))
        await restart(feed)
        assert store.guard_files() == (file,)
        assert [each.outcome for each in notices] == ["switched off", "switched on"]
        assert len(publisher.requests) == 1

    follows(scene, guard=True)


@pytest.mark.parametrize(("was", "becomes"), [({"guard": True}, {"guard": False}), ({}, {"guard": True})])
def test_a_feed_of_another_kind_leaves_nothing_of_the_earlier(follows, was, becomes):
    async def scene(feed, restart, _publisher, clock, store, _notices):
        other = await restart(feed.model_copy(update=becomes))
        clock.at += 700
        assert [each.outcome for each in await other.fetch_due()] == ["taken"]
        assert bool(store.kept_guard_files()) is bool(becomes["guard"])
        assert ("feed" in {each.kind for each in store.sources()}) is not becomes["guard"]

    follows(scene, **was)


@pytest.mark.parametrize("becomes", [{"guard": True}, {"format": "yara"}])
@pytest.mark.parametrize("auto", [True, False])
def test_a_list_that_became_another_kind_of_feed_stops_no_publication(follows, becomes, auto):
    async def scene(feed, restart, _publisher, _clock, store, _notices):
        generation = store.current()
        again = await restart(feed.model_copy(update=becomes), auto=auto)
        assert not again.alerts
        if not auto:
            assert listed(store, "evil7.example/") == [True]
            assert not_published_yet(store) == {"feed"}
            publish(store, now=NOW)
            await again.follow_settings()
        assert store.current() == generation + 1
        assert listed(store, "evil7.example/", "malware.secondlook.test/") == [False, True]
        assert "feed" not in {each.kind for each in store.sources()}
        rollback(store)
        assert listed(store, "evil7.example/") == [True]
        publish(store, now=NOW)
        assert listed(store, "evil7.example/") == [False]
        await restart(feed)
        assert read_turned(store.root) == set()

    follows(scene)


def test_a_list_is_one_again_before_the_change_was_published(follows):
    async def scene(feed, restart, _publisher, _clock, store, _notices):
        await restart(feed.model_copy(update={"guard": True}), auto=False)
        await restart(feed)
        assert listed(store, "evil7.example/") == [True]
        assert not_published_yet(store) == set()
        assert "feed" in {each.kind for each in store.sources()}

    follows(scene)


def test_what_still_waits_for_a_publication_is_not_removed_before_it(follows):
    async def scene(_feed, restart, _publisher, clock, store, _notices):
        keeper = await restart(TEST_LIST, auto=False)
        clock.at += KEPT_S
        await keeper.follow_settings()
        assert not_published_yet(store) == {"feed"}
        publish(store, now=clock.now())
        assert listed(store, "evil7.example/") == [False]
        await keeper.follow_settings()
        assert {each.kind for each in store.sources()} == {"builtin"}

    follows(scene)


def test_who_writes_meanwhile_delays_no_switch(follows, monkeypatch):
    async def scene(feed, _restart, _publisher, clock, store, _notices):
        monkeypatch.setattr("secondlook.server.store.store.WRITER_WAIT_S", 0.0)
        (store.root / "guard").mkdir()
        (store.root / "guard" / "left.txt").write_text("good.example\n")
        write_off(store.root, {"left": Off(NOW, NOW - KEPT_S)})  # to be removed, which waits for the writer
        with store.writing():
            follow(store, [off(feed)], clock.now())
        assert set(read_off(store.root)) == {"feed", "left"}

    follows(scene)


def test_rules_of_a_feed_that_left_are_removed_in_their_time(follows):
    async def scene(feed, restart, _publisher, clock, store, notices):
        folder = rules_folder(store.root / "feeds", "rules")
        unpacked = store.root / "unpacked"
        unpacked.mkdir()
        keep_rules(unpacked, folder, RulesOfFeed(0, "v1", 2, NOW))
        follow(store, [feed], clock.now())
        assert set(read_off(store.root)) == {"rules"}
        clock.at += KEPT_S
        await restart(feed)
        assert not folder.exists()
        assert notices == []

    follows(scene)


@pytest.mark.parametrize("name", ["switching", "publish"])
def test_the_keepers_own_failures_are_not_taken_for_those_of_a_feed_of_that_name(follows, name):
    async def scene(feed, restart, publisher, _clock, store, _notices):
        (store.root / "feeds-off.json").mkdir()
        keeper = await restart(off(feed), feed.model_copy(update={"name": name}))
        publisher.answer = Response(status_code=500)
        await keeper.fetch_due()
        assert len(keeper.alerts) == 2

    follows(scene)


def test_of_a_feed_that_never_came_nothing_is_kept_once_the_settings_name_it_no_more(follows):
    async def scene(feed, restart, publisher, _clock, store, _notices):
        publisher.answer = Response(status_code=404)
        never = feed.model_copy(update={"name": "never"})
        keeper = await restart(feed, never)
        assert [each.outcome for each in await keeper.fetch_due()] == ["failed"]
        state = store.root / "feeds" / "never.json"
        await restart(feed, off(never))
        await restart()
        assert state.exists()
        await restart(feed)
        assert not state.exists()
        assert (store.root / "feeds" / "feed.json").exists()

    follows(scene)


def test_what_cannot_be_written_is_told_and_the_feeds_are_fetched(follows):
    async def scene(feed, restart, _publisher, _clock, store, notices):
        (store.root / "feeds-off.json").mkdir()
        keeper = await restart(off(feed), replace_name(feed))
        assert notices[0].outcome == "failed"
        assert [each.feed for each in await keeper.fetch_due()] == ["other"]
        assert keeper.rest_s() == FIRST_RETRY_S
        (store.root / "feeds-off.json").rmdir()
        await keeper.follow_settings()
        assert (set(read_off(store.root)), not_published_yet(store)) == ({"feed"}, set())
        assert keeper.rest_s() > FIRST_RETRY_S

    def replace_name(feed):
        return feed.model_copy(update={"name": "other"})

    follows(scene)


def test_a_publication_that_was_refused_is_tried_again_after_a_start_and_within_the_hour(follows, suffixes):
    async def scene(feed, restart, _publisher, clock, store, notices):
        others = [f"other{number}.example" for number in range(1500)]
        put(store, others)
        publish(store, now=NOW)
        remove(store, "list.txt", suffixes=suffixes)
        keeper = await restart(off(feed), TEST_LIST)
        assert [each.outcome for each in notices] == ["refused", "switched off"]
        assert (not_published_yet(store), keeper.rest_s() <= IDLE_S) == ({"feed"}, True)
        await restart(off(feed), TEST_LIST)
        assert [each.outcome for each in notices[2:]] == ["refused"]

        put(store, others)
        clock.at += IDLE_S - 1
        await keeper.follow_settings()
        assert listed(store, "evil7.example/") == [True]
        clock.at += 1
        await keeper.follow_settings()
        assert listed(store, "evil7.example/", "other7.example/") == [False, True]

    follows(scene)


def test_a_switch_is_told_of_though_what_is_old_cannot_be_removed(follows, monkeypatch):
    async def scene(feed, restart, _publisher, _clock, store, notices):
        def fails(*_):
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr("secondlook.server.feeds.keeper.tidy", fails)
        await restart(off(feed), TEST_LIST)
        assert [each.outcome for each in notices] == ["failed", "switched off"]

    follows(scene)


def test_a_feed_that_brought_nothing_into_any_list_is_off_with_the_next_publication(follows, suffixes):
    async def scene(feed, restart, publisher, clock, store, _notices):
        for host in ("a.example", "b.example"):
            add_entry(store, host, target=None, suffixes=suffixes, who="me", now=NOW)
        publisher.change(["a.example", "b.example"])
        other = feed.model_copy(update={"name": "other"})
        await (await restart(feed, other)).fetch_due()
        assert not_published_yet(store) == set()
        await restart(feed, off(other))
        assert not_published_yet(store) == set()
        generation = store.current()
        await restart(feed, off(other))
        assert store.current() == generation

    follows(scene)


def test_a_generation_of_a_feed_that_is_off_names_it_no_more(follows):
    async def scene(feed, restart, _publisher, _clock, store, _notices):
        await restart(off(feed), TEST_LIST)
        assert not_published_yet(store) == set()
        manifest = current(store).manifest
        assert [each["kind"] for each in manifest["sources"]] == ["builtin"] * len(manifest["sources"])

    follows(scene)
