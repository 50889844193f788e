"""What comes of a feed: entries, a guard, and when it is fetched as if it were new."""

import asyncio

import pytest

from secondlook.config.service import FeedSettings
from secondlook.server.feeds.feed_state import read_state
from secondlook.server.feeds.keeper import FeedKeeper
from secondlook.server.store.removal import remove
from serverkit.feeds import HOSTS, keeping, listed


def test_a_feed_whose_entries_were_taken_out_is_fetched_anew_when_it_is_on_again(tmp_path, suffixes):
    """Its server answers that nothing has changed; that is of no use where nothing is left."""

    async def scene():
        async with keeping(tmp_path) as (keeper, _publisher, _clock, store, _notices):
            [notice] = await keeper.fetch_due()
            [source] = [each for each in store.sources() if each.kind == "feed"]
            remove(store, source.name, suffixes=suffixes)
            assert read_state(store.root / "feeds", notice.feed).good_at == 0.0
            [again] = await keeper.fetch_due()
            assert (again.outcome, again.entries) == ("taken", 1200)

    asyncio.run(scene())


@pytest.mark.parametrize("changed", ["risk", "url"])
def test_a_feed_whose_settings_changed_is_fetched_whole_though_it_did_not(tmp_path, changed):
    async def scene():
        async with keeping(tmp_path) as (keeper, publisher, clock, store, _notices):
            await keeper.fetch_due()
            [feed] = keeper._feeds
            other = {"risk": "suspicious", "url": f"{feed.url}?other"}[changed]
            later = FeedKeeper(store, [feed.model_copy(update={changed: other})], clock)
            for outcome in ("taken", "unchanged"):
                clock.at += 700
                assert [each.outcome for each in await later.fetch_due()] == [outcome]
            assert "if-none-match" not in publisher.requests[1]
            [source] = [each for each in store.sources() if each.kind == "feed"]
            assert source.list == ("mw-s-8b" if changed == "risk" else "mw-8b")
            await later.aclose()

    asyncio.run(scene())


def test_a_list_in_parts_is_put_together_by_its_manifest(tmp_path):
    async def scene():
        async with keeping(tmp_path, manifest=True) as (keeper, publisher, clock, store, _):
            publisher.lines = ["list1.txt", "list1.txt", "list2.txt"]
            [notice] = await keeper.fetch_due()
            assert (notice.outcome, notice.entries) == ("taken", 1200)
            assert listed(
                store, "evil0.example/", "evil599.example/", "evil600.example/", "evil1199.example/"
            ) == [
                True,
                True,
                True,
                True,
            ]
            publisher.change(["../feed.txt"])
            clock.at += 700
            [notice] = await keeper.fetch_due()
            assert notice.outcome == "failed"
            assert "manifest" in notice.detail

    asyncio.run(scene())


THREATFOX = (
    '"2026-07-08 19:05:04", "1", "{host}", "domain", "botnet_cc", "x", "None", "Vidar", "None", '
    '"{confidence}", "0", "None", "t", "0", "r"'
)


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [({}, [50, 100]), ({"min_confidence": 0}, [0, 25, 50, 100]), ({"min_confidence": 75}, [100])],
)
def test_a_feed_s_least_confidence_is_honoured(tmp_path, wanted, taken):
    async def scene():
        async with keeping(tmp_path, **wanted) as (keeper, publisher, clock, store, _):
            clock.at = 1_783_600_000.0  # a day after the entries were seen
            levels = (0, 25, 50, 100)
            publisher.change(
                [THREATFOX.format(host=f"sure{level}.example", confidence=level) for level in levels]
            )
            [notice] = await keeper.fetch_due()
            assert (notice.outcome, notice.entries, notice.rejected) == ("taken", len(taken), 4 - len(taken))
            told = listed(store, *(f"sure{level}.example/" for level in levels))
            assert [level for level, is_listed in zip(levels, told, strict=True) if is_listed] == taken

    asyncio.run(scene())


def test_a_guard_keeps_other_feeds_from_blocking_its_hosts_and_says_who_tried(tmp_path):
    async def scene():
        async with keeping(tmp_path) as (plain, publisher, clock, store, notices):
            ranked = tmp_path / "top.csv"
            ranked.write_text("1,www.shop.example\n2,evil7.example\n3,evil8.example\n")
            guard = FeedSettings(name="popular", path=ranked, guard=True, rank=2, every=600)
            both = [*plain._feeds, guard]
            keeper = FeedKeeper(store, both, clock, on_notice=notices.append)
            await keeper.fetch_due()
            assert listed(store, "evil7.example/", "evil8.example/", "evil9.example/") == [False, True, True]
            assert [(each.feed, each.outcome, each.entries) for each in notices] == [
                ("feed", "taken", 1200),
                ("popular", "taken", 2),
                ("feed", "held back", 0),
            ]
            assert notices[-1].detail == (
                "feed lists 1 known-good sites or pages, which are held back: evil7.example/"
            )
            publisher.change([*HOSTS, "code.jquery.com"])
            clock.at += 700
            await keeper.fetch_due()
            clock.at += 700
            await keeper.fetch_due(everything=True)  # nothing new: nothing is told again
            told = [each.detail for each in notices if each.outcome == "held back"]
            assert told[1:] == [
                "feed lists 2 known-good sites or pages, which are held back: code.jquery.com/, evil7.example/"
            ]
            await keeper.aclose()
            keeper = FeedKeeper(store, both[:1], clock, on_notice=notices.append)
            await keeper.follow_settings()
            assert store.guard_files() == ()
            assert listed(store, "evil7.example/", "code.jquery.com/") == [True, False]
            ranked.write_text("")
            keeper = FeedKeeper(store, [guard], clock)
            [notice] = await keeper.fetch_due(everything=True)
            assert (notice.outcome, "empty" in notice.detail) == ("refused", True)

    asyncio.run(scene())
