"""Whether a feed shrank is seen by what its fetches bring, whatever is carried on from earlier ones."""

import asyncio
from dataclasses import replace

from secondlook.ground.program_name import typed
from secondlook.server.feeds.feed_state import LATELY_S, accept_shrunk
from secondlook.server.store.store import FEEDS_FOLDER
from serverkit.feeds import keeping, listed


def test_a_feed_of_the_newest_alone_may_bring_others_each_time_but_not_far_fewer(tmp_path):
    async def scene():
        window = [[f"{turn}-{at}.example" for at in range(1000)] for turn in range(4)]
        async with keeping(tmp_path, expires=7 * 86_400) as (keeper, publisher, clock, store, _):
            for hosts in window:
                publisher.change(hosts)
                clock.at += 700
                [notice] = await keeper.fetch_due()
                assert (notice.outcome, notice.entries) == ("taken", 1000)
            assert listed(store, "0-7.example/", "3-7.example/") == [True, True]
            publisher.change(window[3][:499])
            clock.at += 700
            [notice] = await keeper.fetch_due()
            assert notice.detail.startswith("shrunk: 499 entries, the last good one had 1000; ")
            publisher.change(window[3][:500])
            clock.at += 700
            [notice] = await keeper.fetch_due()
            assert (notice.outcome, notice.entries) == ("taken", 500)

    asyncio.run(scene())


def test_a_store_of_an_older_version_does_not_hold_what_a_feed_carries_on_against_it(tmp_path):
    async def scene():
        async with keeping(tmp_path, expires=7 * 86_400) as (keeper, publisher, clock, store, _):
            await keeper.fetch_due()
            publisher.change(["first.example"])
            clock.at += 86_400
            [notice] = await keeper.fetch_due()
            assert notice.detail.startswith("shrunk: 1 entry, the last good one had 1200; ")
            publisher.change([f"1-{at}.example" for at in range(1000)])
            clock.at += 86_400
            await keeper.fetch_due()
            [source] = [each for each in store.sources() if each.kind == "feed"]
            assert sum(source.counts.values()) == 2200
            store.change_source(replace(source, brought=None))
            publisher.change([f"2-{at}.example" for at in range(1000)])
            clock.at += 86_400
            [notice] = await keeper.fetch_due()
            assert notice.outcome == "taken"

    asyncio.run(scene())


def test_a_feed_does_not_shrink_away_step_by_step(tmp_path):
    """Each step alone is not too far; what it had within a week is what the next is held against."""

    async def scene():
        many = [f"{at}.example" for at in range(4000)]
        async with keeping(tmp_path) as (keeper, publisher, clock, store, _):

            async def fetched(count):
                publisher.change(many[:count])
                clock.at += 700
                [notice] = await keeper.fetch_due()
                return notice.outcome, notice.detail.partition(";")[0]

            for count in (4000, 2600, 2000):
                assert (await fetched(count))[0] == "taken"
            for count in (1999, 1000):
                assert await fetched(count) == (
                    "refused",
                    f"shrunk: {count} entries, within the last 7 days it had 4000",
                )
            assert listed(store, "1999.example/") == [True]
            clock.at += LATELY_S - 5 * 700
            assert (await fetched(1999))[0] == "refused"
            clock.at += 2000
            assert (await fetched(1000))[0] == "taken"
            assert (await fetched(499))[1] == "shrunk: 499 entries, the last good one had 1000"

    asyncio.run(scene())


def test_a_list_of_known_good_hosts_does_not_shrink_away_either(tmp_path):
    """Of a page to sign in that names one host, or a transfer that was cut, nothing is left that is guarded."""

    async def scene():
        async with keeping(tmp_path, guard=True) as (keeper, publisher, clock, store, _):
            await keeper.fetch_due()
            [path] = store.guard_files()
            publisher.change(["Sign in at", "login.portal.example"])
            clock.at += 700
            [notice] = await keeper.fetch_due()
            assert (notice.outcome, notice.detail.partition(";")[0]) == (
                "refused",
                "shrunk: 1 hosts, the last good one had 1200",
            )
            assert len(path.read_text().split()) == 1200
            assert accept_shrunk(store.root / FEEDS_FOLDER) == ["feed"]
            [notice] = await keeper.fetch_due()
            assert (notice.outcome, path.read_text()) == ("taken", "login.portal.example\n")

    asyncio.run(scene())


def test_fewer_known_good_hosts_are_taken_where_the_settings_ask_for_fewer(tmp_path):
    async def scene():
        async with keeping(tmp_path, guard=True) as (keeper, _, clock, *_):
            await keeper.fetch_due()
            keeper._feeds[0] = keeper._feeds[0].model_copy(update={"rank": 5})
            clock.at += 700
            [notice] = await keeper.fetch_due()
            assert (notice.outcome, notice.entries) == ("taken", 5)

    asyncio.run(scene())


def test_an_operator_who_accepts_that_feeds_shrank_has_them_taken_with_their_next_fetch(tmp_path):
    async def scene():
        async with keeping(tmp_path) as (keeper, publisher, clock, store, _):
            await keeper.fetch_due()
            assert accept_shrunk(store.root / FEEDS_FOLDER) == []
            publisher.change([f"evil{at}.example" for at in range(3)])
            clock.at += 700
            [notice] = await keeper.fetch_due()
            assert notice.detail == (
                "shrunk: 3 entries, the last good one had 1200; "
                f"`{typed('server publish --accept-shrink')}` takes it if that is right"
            )
            assert accept_shrunk(store.root / FEEDS_FOLDER) == ["feed"]
            [notice] = await keeper.fetch_due()
            assert (notice.outcome, notice.entries) == ("taken", 3)
            publisher.change([f"evil{at}.example" for at in range(2)])
            clock.at += 700
            [notice] = await keeper.fetch_due()
            assert (notice.outcome, notice.entries) == ("taken", 2)

    asyncio.run(scene())
