"""Feeds over real HTTP: fetched when they changed, refused when they are no feed, never for the worse."""

import asyncio
import gzip
import os
import time

import pytest
from pydantic import ValidationError
from starlette.responses import Response

from secondlook.config.service import FeedSettings
from secondlook.server.feeds.feed_state import read_state
from serverkit.feeds import HOSTS, TEXT, keeping, listed, packed


def test_a_feed_is_fetched_on_its_schedule_and_only_when_it_changed(tmp_path):
    async def scene():
        async with keeping(tmp_path) as (keeper, publisher, clock, store, notices):
            [notice] = await keeper.fetch_due()
            assert (notice.outcome, notice.entries, notice.rejected) == ("taken", 1200, 0)
            assert listed(store, "evil7.example/", "malware.secondlook.test/", "good.example/") == [
                True,
                True,
                False,
            ]
            assert publisher.requests[0]["auth-key"] == "k3y"
            assert publisher.requests[0]["user-agent"].startswith("secondlook/")
            assert await keeper.fetch_due() == []
            clock.at += 700
            [notice] = await keeper.fetch_due()
            assert notice.outcome == "unchanged"
            assert publisher.requests[1]["if-none-match"] == '"1"'
            assert store.generations() == [1]
            publisher.change([*HOSTS[1:], "new.example"])
            clock.at += 700
            [notice] = await keeper.fetch_due()
            assert notice.outcome == "taken"
            assert listed(store, "evil0.example/", "evil1.example/", "new.example/") == [False, True, True]
            assert [each.outcome for each in notices] == ["taken", "taken"]

    asyncio.run(scene())


@pytest.mark.parametrize("etag", [b'"caf\xe9"', '"\u20ac"'.encode(), b'"' + b"x" * 60_000 + b'"'])
def test_a_validator_that_cannot_be_sent_back_makes_no_condition(tmp_path, etag):
    async def scene():
        async with keeping(tmp_path) as (keeper, publisher, clock, _, _):
            answer = Response(TEXT)
            answer.raw_headers += [(b"etag", etag), (b"last-modified", b"hier \xff")]
            publisher.answer = lambda: answer
            for _ in range(2):
                [notice] = await keeper.fetch_due()
                assert notice.outcome == "taken", notice.detail
                clock.at += 700
            assert not {"if-none-match", "if-modified-since"} & publisher.requests[1].keys()

    asyncio.run(scene())


def test_licence_and_terms_are_told_once_when_a_feed_is_enabled(tmp_path, caplog):
    async def scene():
        async with keeping(tmp_path, licence="CC0-1.0", terms="https://terms.example/") as (keeper, *_):
            await keeper.fetch_due()
            await keeper.fetch_due(everything=True)

    asyncio.run(scene())
    [told] = [record.getMessage() for record in caplog.records if "enabled" in record.getMessage()]
    assert "licence: CC0-1.0; terms: https://terms.example/" in told


def test_a_packed_answer_is_unpacked(tmp_path):
    async def scene():
        async with keeping(tmp_path) as (keeper, publisher, *_):
            publisher.answer = lambda: packed(gzip.compress(TEXT))
            [notice] = await keeper.fetch_due()
            assert (notice.outcome, notice.entries) == ("taken", 1200)
            assert publisher.requests[0]["accept-encoding"] == "gzip, br, zstd"

    asyncio.run(scene())


def test_a_server_that_asks_for_patience_gets_it(tmp_path):
    async def scene():
        async with keeping(tmp_path) as (keeper, publisher, clock, _, _):
            publisher.answer = lambda: Response(status_code=429, headers={"retry-after": "5000"})
            [notice] = await keeper.fetch_due()
            assert "429" in notice.detail
            clock.at += 4900
            assert await keeper.fetch_due() == []
            clock.at += 200
            publisher.answer = None
            assert [each.outcome for each in await keeper.fetch_due()] == ["taken"]

    asyncio.run(scene())


def test_no_connection_is_said_and_the_rest_goes_on(tmp_path):
    async def scene():
        async with keeping(tmp_path, url="http://127.0.0.1:9/feed.txt") as (keeper, _, _, store, notices):
            [notice] = await keeper.fetch_due()
            assert notice.detail == "no connection"
            assert read_state(store.root / "feeds", "feed").failures == 1
            assert notices == [notice]

    asyncio.run(scene())


def test_entries_that_left_the_feed_stay_for_their_time(tmp_path):
    async def scene():
        async with keeping(tmp_path, expires=3 * 86_400) as (keeper, publisher, clock, store, _):
            await keeper.fetch_due()
            publisher.change([*HOSTS[1:], "new.example"])
            clock.at += 86_400
            await keeper.fetch_due()
            assert listed(store, "evil0.example/", "evil1.example/", "new.example/") == [True, True, True]
            publisher.change([*HOSTS[2:], "new.example"])
            clock.at += 4 * 86_400
            await keeper.fetch_due()
            assert listed(store, "evil0.example/", "evil1.example/", "evil2.example/", "new.example/") == [
                False,
                False,
                True,
                True,
            ]

    asyncio.run(scene())


def test_a_clock_that_jumps_ends_no_entry_and_holds_no_feed_back(tmp_path):
    async def scene():
        async with keeping(tmp_path, expires=3 * 86_400) as (keeper, publisher, clock, store, _):
            await keeper.fetch_due()
            publisher.change(HOSTS[1:])
            clock.ahead = 60 * 86_400.0
            await keeper.fetch_due()
            assert listed(store, "evil0.example/", "evil1.example/") == [True, True]
            clock.ahead = 0.0
            publisher.change([*HOSTS[1:], "new.example"])
            await keeper.fetch_due()
            assert listed(store, "evil0.example/", "new.example/") == [True, True]

    asyncio.run(scene())


def test_a_giant_site_in_a_feed_is_never_blocked(tmp_path):
    async def scene():
        async with keeping(tmp_path) as (keeper, publisher, _, store, _):
            publisher.change([*HOSTS, "google.com", "https://drive.google.com/file/d/evil"])
            await keeper.fetch_due()
            assert listed(store, "google.com/", "drive.google.com/", "drive.google.com/file/d/evil") == [
                False,
                False,
                True,
            ]

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"guard": True, "list": "mw-8b"}, "expected no list"),
        ({"guard": True, "format": "hosts"}, "a format of auto, toplist, warninglist"),
        ({"rank": 5}, "expected guard: true"),
    ],
)
def test_a_guard_is_no_block_list(options, told):
    with pytest.raises(ValidationError, match=told):
        FeedSettings(name="popular", path="top.csv", **options)


def test_a_file_of_this_machine_is_due_when_it_has_changed(tmp_path):
    (file := tmp_path / "list.txt").write_text("one.example\n")

    async def scene():
        async with keeping(tmp_path / "served", url=None, path=file, every=86_400) as (
            keeper,
            _,
            clock,
            store,
            _,
        ):
            clock.at = time.time() - 100
            assert [notice.outcome for notice in await keeper.fetch_due()] == ["taken"]
            assert await keeper.fetch_due() == []  # by this clock it comes from the future
            file.write_text("one.example\ntwo.example\n")
            os.utime(file, (0, 0))  # as a copy that keeps its time has it
            clock.at = time.time() + 5
            assert [notice.outcome for notice in await keeper.fetch_due()] == ["taken"]
            assert listed(store, "two.example/") == [True]
            assert await keeper.fetch_due() == []

    asyncio.run(scene())
