"""What befalls one feed, or the disk: the others go on, and nothing is due at once."""

import asyncio
import os
import threading
from pathlib import Path

import pytest
from starlette.responses import Response

from secondlook.config.service import FeedSettings
from secondlook.server.feeds import child
from secondlook.server.feeds.feed_state import FeedState, read_state, write_state
from secondlook.server.feeds.fetch import fetch
from secondlook.server.feeds.keeper import PUBLISHING, FeedKeeper
from secondlook.server.store.builtin import add_builtin_lists
from secondlook.server.store.store import ServerStore
from serverkit.feeds import Clock, keeping, listed


def due_in(store, clock, name="feed"):
    return read_state(store.root / "feeds", name).due_at - clock.now()


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [("²", 3600, 3600), ("soon", 3600, 3600), ("99999999999", 86_400, 86_400), ("9" * 400, 86_400, 86_400)],
)
def test_how_long_a_server_is_left_alone_is_bounded_and_in_plain_digits(tmp_path, asked, least, most):
    async def scene():
        async with keeping(tmp_path) as (keeper, publisher, clock, store, _):
            publisher.answer = lambda: Response(status_code=429, headers={"retry-after": asked})
            [notice] = await keeper.fetch_due()
            assert (notice.outcome, notice.detail) == ("failed", "status 429")
            assert least <= due_in(store, clock) <= most

    asyncio.run(scene())


def keeper_of_two(tmp_path):
    """Make a keeper of two feeds that are files, its clock and its store."""
    feeds = []
    for name in ("first", "second"):
        path = tmp_path / f"{name}.txt"
        path.write_text(f"{name}.example\n")
        feeds.append(FeedSettings.model_validate({"name": name, "path": path, "every": 600}))
    store, clock = ServerStore(tmp_path / "server"), Clock()
    add_builtin_lists(store, now=clock.now())
    return FeedKeeper(store, feeds, clock), clock, store


def test_a_disk_that_takes_nothing_ends_no_feed_and_makes_none_due_at_once(tmp_path):
    async def scene():
        keeper, clock, store = keeper_of_two(tmp_path)
        blocked = store.root / "feeds" / "first.json"
        blocked.mkdir(parents=True)
        notices = await keeper.fetch_due()
        assert [(each.feed, each.outcome) for each in notices] == [("first", "taken"), ("second", "taken")]
        assert await keeper.fetch_due() == []
        blocked.rmdir()
        clock.at += 700
        notices = await keeper.fetch_due()
        assert [each.outcome for each in notices] == ["unchanged"] * 2
        assert read_state(blocked.parent, "first").checked_at == clock.now()

    asyncio.run(scene())


def test_what_takes_too_long_with_one_feed_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(child, "LONGEST_S", 0.001)

    async def scene():
        keeper, clock, store = keeper_of_two(tmp_path)
        notices = await keeper.fetch_due()
        assert [(each.feed, each.outcome) for each in notices] == [("first", "failed"), ("second", "failed")]
        assert "took longer than" in notices[0].detail
        assert due_in(store, clock, "first") >= 60

    asyncio.run(scene())


def test_what_is_no_file_keeps_no_other_feed_waiting(tmp_path):
    async def scene():
        keeper, *_ = keeper_of_two(tmp_path)
        (path := tmp_path / "first.txt").unlink()
        os.mkfifo(path)
        notices = await keeper.fetch_due()
        assert [(each.feed, each.outcome) for each in notices] == [("first", "failed"), ("second", "taken")]
        assert notices[0].detail == f"{path} is not a file"

    asyncio.run(asyncio.wait_for(scene(), 60))


def test_a_drive_that_hangs_keeps_neither_the_loop_nor_another_feed_waiting(tmp_path, monkeypatch):
    back, look = threading.Event(), Path.stat

    def hangs(path, **options):
        if path.name == "first.txt":
            back.wait(60)
        return look(path, **options)

    async def scene():
        keeper, *_ = keeper_of_two(tmp_path)
        keeper._feeds = [
            feed.model_copy(update={"timeout": wait_s})
            for feed, wait_s in zip(keeper._feeds, (0.05, 5.0), strict=True)
        ]
        monkeypatch.setattr(Path, "stat", hangs)
        try:
            notices = await keeper.fetch_due()
            assert await keeper.fetch_due() == []
            for _ in range(20):  # each look would keep a thread, and there are not as many
                _, second = await keeper.fetch_due(everything=True)
                assert second.outcome == "unchanged"
        finally:
            back.set()
        assert [(each.feed, each.outcome) for each in notices] == [("first", "failed"), ("second", "taken")]
        assert notices[0].detail.startswith("nothing is known of ")

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (ZeroDivisionError(), "ZeroDivisionError"),
    ],
)
def test_a_feed_that_raises_waits_and_the_next_is_fetched(tmp_path, monkeypatch, caplog, fault, told):
    async def broken(client, feed, state, target):
        if feed.name == "first":
            raise fault
        return await fetch(client, feed, state, target)

    async def scene():
        keeper, clock, store = keeper_of_two(tmp_path)
        monkeypatch.setattr("secondlook.server.feeds.taking.fetch", broken)
        notices = await keeper.fetch_due()
        assert [(each.feed, each.outcome) for each in notices] == [("first", "failed"), ("second", "taken")]
        assert notices[0].detail == told
        assert 60 <= due_in(store, clock, "first") <= 70
        assert await keeper.fetch_due() == []
        assert listed(store, "second.example/") == [True]
        monkeypatch.undo()
        clock.at += 100
        assert [(each.feed, each.outcome) for each in await keeper.fetch_due()] == [("first", "taken")]

    asyncio.run(scene())
    assert ("Traceback" in caplog.text) is (told == "ZeroDivisionError")


def test_a_feed_that_failed_for_weeks_still_waits_no_longer_than_its_interval(tmp_path):
    async def scene():
        keeper, clock, store = keeper_of_two(tmp_path)
        (tmp_path / "first.txt").unlink()
        write_state(store.root / "feeds", "first", FeedState(failures=5000))
        notices = await keeper.fetch_due()
        assert [(each.feed, each.outcome) for each in notices] == [("first", "failed"), ("second", "taken")]
        assert 600 <= due_in(store, clock, "first") <= 660

    asyncio.run(scene())


@pytest.mark.parametrize("stopped", [False, True])
def test_what_could_not_be_published_is_owed_beyond_a_stop(tmp_path, stopped):
    async def scene():
        keeper, clock, store = keeper_of_two(tmp_path)
        (in_the_way := store.generations_folder / ".000001").write_text("")
        assert [each.outcome for each in await keeper.fetch_due()] == ["taken", "taken"]
        assert keeper.alerts == {PUBLISHING: "publish failed: File exists"}
        assert await keeper.fetch_due() == []
        assert store.current() is None
        if stopped:
            keeper = FeedKeeper(store, keeper._feeds, clock)
        in_the_way.unlink()
        assert await keeper.fetch_due() == []
        assert listed(store, "first.example/", "second.example/") == [True, True]
        assert keeper.alerts == {}
        number = store.current()
        assert await keeper.fetch_due() == []
        assert store.current() == number

    asyncio.run(scene())
