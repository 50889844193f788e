"""Several servers of one tier: one is used, the others are compared, and one takes over when it fails."""

from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from agentkit.updating import HOSTS, house
from secondlook.agent.pattern.change import status
from secondlook.agent.pattern.files import read_stamp
from secondlook.agent.pattern.source import UpdateSource
from secondlook.agent.pattern.source_schedule import FAILURES_TO_SWITCH
from secondlook.agent.pattern.updater import PatternUpdater
from secondlook.config.query import PatternSettings, RemoteServer
from secondlook.core.answer import Tier
from secondlook.ground.clock import SystemClock
from secondlook.lookup.client import ServerClient
from secondlook.server.store.feeds_off import Off, write_off
from serverkit import out, put

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def pair(tmp_path, *, spare_lines=HOSTS):
    """Two servers of one tier, with the same lists by default, and an updater that knows both."""
    async with house(tmp_path / "first") as first, house(tmp_path / "second", lines=spare_lines) as second:
        spare = UpdateSource(name="spare", tier=Tier.INTRANET, client=second.client, trusted_allow=True)
        first.clock = VirtualTime()
        first.updater = PatternUpdater(
            [first.source, spare], first.state, first.events, first.clock, PatternSettings()
        )
        yield first, second


class VirtualTime:
    """The real time of day, and a monotonic clock that the test moves."""

    def __init__(self):
        self.at = 0.0

    def now(self):
        return SystemClock().now()

    def monotonic(self):
        return self.at

    def elapsed(self):
        return self.at


async def test_a_member_that_differs_is_reported_only_queried_and_cleared(tmp_path):
    async with pair(tmp_path) as (world, other):
        await world.updater.update_now()
        await world.updater.update_now()
        assert status(world.state, now=0).alerts == ()
        await other.publish([*HOSTS, "other.example"])
        other.app.seen.clear()
        await world.updater.update_now()
        assert status(world.state, now=0).alerts == ()  # it may only have published a moment earlier
        await world.updater.update_now()
        [alert] = status(world.state, now=0).alerts
        assert "spare differ from those of office" in alert
        assert "mw-8b" in alert
        assert "se-8b" not in alert
        assert not world.blocks("other.example/")
        assert not [path for path in other.app.seen if "batchGet" in path]
        told = [event for event in world.events.kept if event.kind == "error"]
        assert [event.server for event in told] == ["spare"]
        other.app.change = lambda path, body: (503, b"text/plain", b"away")
        await world.updater.update_now()
        assert status(world.state, now=0).alerts  # silence is no proof that it is equal again
        other.app.change = None
        await world.publish([*HOSTS, "other.example"])
        await world.updater.update_now()
        assert status(world.state, now=0).alerts == ()
        assert any("no longer" in (event.detail or "") for event in world.events.kept)


async def test_a_member_with_nothing_published_is_not_said_to_differ(tmp_path):
    async with house(tmp_path / "first") as world, house(tmp_path / "second", lines=None) as other:
        assert await other.client.generation() is None
        spare = UpdateSource(name="spare", tier=Tier.INTRANET, client=other.client)
        world.updater = PatternUpdater(
            [world.source, spare], world.state, world.events, VirtualTime(), PatternSettings()
        )
        for _ in range(3):
            await world.updater.update_now()
        assert status(world.state, now=0).alerts == ()
        await other.publish(["other.example"])
        for _ in range(2):
            await world.updater.update_now()
        assert "spare differ from" in status(world.state, now=0).alerts[0]


async def test_another_member_takes_over_after_three_failures_and_stays(tmp_path):
    async with pair(tmp_path) as (world, other):
        await world.updater.update_now()
        await other.publish([*HOSTS, "other.example"])
        for _ in range(2):
            await world.updater.update_now()
        assert status(world.state, now=0).alerts  # of the spare
        world.app.change = lambda path, body: (500, b"text/plain", b"oops")
        for _ in range(3):
            [outcome] = await world.updater.update_now()
            assert (outcome.server, bool(outcome.error)) == ("office", True)
            assert not world.blocks("other.example/")
        [outcome] = await world.updater.update_now()
        assert (outcome.server, outcome.error) == ("spare", None)
        assert world.blocks("other.example/")
        assert {each.server for each in read_stamp(world.updater.folder).lists} == {"spare"}
        assert not any("differ" in text for text in status(world.state, now=0).alerts)
        world.app.change = None
        for _ in range(2):
            [outcome] = await world.updater.update_now()
            assert outcome.server == "spare"
        assert world.blocks("other.example/")
        assert any("office differ" in text for text in status(world.state, now=0).alerts)
        world.updater.use([each for each in world.updater._schedule.sources if each.name == "spare"])
        await world.updater.update_now()
        assert status(world.state, now=0).alerts == ()


async def test_a_member_is_looked_at_no_more_often_than_planned(tmp_path):
    async with pair(tmp_path) as (world, other):
        await world.updater.update_now(only_due=True)
        other.app.seen.clear()
        await world.updater.update_now(only_due=True)
        assert other.app.seen == []
        world.clock.at += 30.0
        await other.publish([*HOSTS, "other.example"])
        await world.updater.update_now(only_due=True)
        assert other.app.seen == ["/v5/hashLists"]
        assert status(world.state, now=0).alerts == ()
        world.clock.at += 5.0  # the second look comes soon
        await world.updater.update_now(only_due=True)
        assert len(status(world.state, now=0).alerts) == 1


AWAY = (500, b"text/plain", b"oops")


def in_force(world):
    """Give the servers in use, and of which server each list is."""
    stamp = read_stamp(world.updater.folder)
    return [each.server for each in stamp.servers], {each.name: each.server for each in stamp.lists}


async def test_what_one_member_may_not_take_away_another_may_not_either(tmp_path):
    async with pair(tmp_path) as (world, other):
        await world.updater.update_now()
        for each in (world, other):
            await each.publish(HOSTS[:200])
        asked = []
        for _ in range(8):
            [outcome] = await world.updater.update_now()
            asked.append(outcome.server)
            assert "it shrinks from 3001 entries to 201" in outcome.refused["mw-8b"]
            assert world.blocks("evil1500.example/")
            assert in_force(world)[0] == ["office"], "nobody takes over who is no better"
        assert asked[:6] == ["office"] * 3 + ["spare"] * 3
        alerts = status(world.state, now=0).alerts
        for server in ("office", "spare"):
            assert any(f"an update of mw-8b from {server} was refused" in text for text in alerts)
        await world.updater.update_now(accept_shrink=True)
        assert not world.blocks("evil1500.example/")
        assert world.blocks("evil150.example/")
        await world.updater.update_now()
        assert status(world.state, now=0).alerts == ()


async def test_a_member_whose_lists_are_good_takes_over_from_one_that_is_refused(tmp_path):
    async with pair(tmp_path) as (world, other):
        await world.updater.update_now()
        await world.publish(HOSTS[:200])
        await other.publish([*HOSTS, "other.example"])
        for _ in range(4):
            [outcome] = await world.updater.update_now()
        assert (outcome.server, outcome.refused) == ("spare", {})
        assert world.blocks("other.example/")
        assert not any("refused" in text for text in status(world.state, now=0).alerts)


@pytest.mark.parametrize("end", ["it is back", "it is meant"])
async def test_a_member_that_was_rebuilt_takes_over_with_what_is_good_alone(tmp_path, end):
    async with pair(tmp_path, spare_lines=[]) as (world, other):
        put(world.store, ["doubtful.example"], list_name="mw-s-8b", name="doubtful.txt")
        out(world.store)
        await world.app.reader.refresh()
        await world.updater.update_now()
        put(other.store, ["new.example"], list_name="se-8b", name="new.txt")
        out(other.store)
        await other.app.reader.refresh()
        world.app.change = lambda path, body: AWAY
        for _ in range(4):
            [outcome] = await world.updater.update_now()
        assert outcome.server == "spare"
        assert "it shrinks from 3001 entries to 1" in outcome.refused["mw-8b"]
        assert "the server has it no more" in outcome.refused["mw-s-8b"]
        assert "pattern update --accept-shrink" in outcome.refused["mw-s-8b"]
        servers, lists = in_force(world)
        assert servers == ["spare"]
        assert (lists["mw-8b"], lists["mw-s-8b"], lists["se-8b"]) == ("office", "office", "spare")
        for host in ("evil1500.example/", "doubtful.example/", "new.example/"):
            assert world.blocks(host)
        if end == "it is back":
            world.app.change = None
            for _ in range(5):
                await world.updater.update_now()
            assert in_force(world)[0] == ["office"]
            assert set(in_force(world)[1].values()) == {"office"}
            assert world.blocks("evil1500.example/")
        else:
            later = PatternUpdater(  # as the command does it: in a process of its own
                world.updater._schedule.sources, world.state, world.events, world.clock, PatternSettings()
            )
            [outcome] = await later.update_now(accept_shrink=True)
            assert (outcome.server, outcome.refused) == ("spare", {})
            servers, lists = in_force(world)
            assert "mw-s-8b" not in lists
            assert set(lists.values()) == {"spare"}
            assert not world.blocks("evil1500.example/")
        assert not any("refused" in text for text in status(world.state, now=0).alerts)


async def test_quite_other_servers_of_a_tier_come_in_with_what_is_good_and_the_rest_on_request(tmp_path):
    async with pair(tmp_path, spare_lines=["only.example"]) as (world, _):
        await world.updater.update_now()
        world.updater.use([each for each in world.updater._schedule.sources if each.name == "spare"])
        [outcome] = await world.updater.update_now()
        assert list(outcome.refused) == ["mw-8b"]
        assert in_force(world) == (
            ["spare"],
            {**dict.fromkeys(in_force(world)[1], "spare"), "mw-8b": "office"},
        )
        [alert] = status(world.state, now=0).alerts
        assert "pattern update --accept-shrink" in alert
        [outcome] = await world.updater.update_now(accept_shrink=True)
        assert outcome.refused == {}
        assert set(in_force(world)[1].values()) == {"spare"}
        assert world.blocks("only.example/")
        assert status(world.state, now=0).alerts == ()


async def test_a_reduction_is_believed_of_another_server_with_the_key_of_its_publisher(tmp_path):
    async with house(tmp_path, pinned=True, lines=[]) as world:
        for name, lines in (("feed", HOSTS), ("list.txt", ["left.example"])):
            put(world.store, lines, name=name)
        [source] = [each for each in world.store.sources() if each.name == "feed"]
        world.store.change_source(replace(source, kind="feed"))
        out(world.store)
        await world.app.reader.refresh()
        await world.updater.update_now()
        assert world.blocks("evil1.example/")

        write_off(world.store.root, {"feed": Off(0.0)})
        out(world.store)
        await world.app.reader.refresh()
        away = ServerClient(RemoteServer(url="http://127.0.0.1:9/", name="office"))
        office = replace(world.source, client=away)
        branch = replace(world.source, name="branch")
        world.updater.use([office, replace(branch, key=None)])
        for _ in range(FAILURES_TO_SWITCH):
            await world.updater.update_now()
        assert (await world.updater.update_now())[0].refused, "nobody knows whose it is"
        world.updater.use([office, branch])
        await world.updater.update_now()
        assert [world.blocks(f"{name}.example/") for name in ("evil1", "left")] == [False, True]
        await away.aclose()
