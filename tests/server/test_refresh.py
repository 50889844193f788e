"""Whether a feed shrank is seen by what its fetches bring, whatever is carried on from earlier ones."""

import asyncio
from dataclasses import replace

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
            assert notice.detail == "shrunk: 499 entries, the last good one had 1000"
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
            assert notice.detail == "shrunk: 1 entries, the last good one had 1200"
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
