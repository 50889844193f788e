"""What is in force follows the servers of the settings: a tier that has none any more is given up."""

import pytest

from agentkit.updating import HOSTS, house
from secondlook.agent.pattern.change import rollback, status
from secondlook.agent.pattern.files import load_pattern, read_stamp
from secondlook.agent.pattern.source import UpdateSource
from secondlook.agent.pattern.updater import PatternUpdater
from secondlook.config.query import PatternSettings, ServersSettings
from secondlook.core.answer import Tier
from secondlook.ground.clock import SystemClock
from secondlook.ground.errors import PatternError

pytestmark = pytest.mark.anyio


@pytest.fixture
async def both(tmp_path):
    """Take lists of the embedded server, then those of another one too."""
    async with house(tmp_path / "first") as world, house(tmp_path / "own", lines=["own.example"]) as other:
        own = UpdateSource(name="embedded", tier=Tier.LOCAL, client=other.client)
        world.updater.use([own])
        await world.updater.update_now()
        world.updater.use([own, world.source])
        await world.updater.update_now()
        yield world, other, own


def with_settings(world, sources, **servers):
    """Begin anew with servers of the settings."""
    return PatternUpdater(
        sources, world.state, world.events, SystemClock(), PatternSettings(),
        servers=ServersSettings.model_validate(servers),
    )  # fmt: skip


async def test_what_came_from_servers_that_the_settings_name_no_more_is_out_of_force_and_leaves_the_disk(
    tmp_path,
):
    async with (
        house(tmp_path / "first") as world,
        house(tmp_path / "other", lines=["own.example"]) as other,
    ):
        own = UpdateSource(name="embedded", tier=Tier.LOCAL, client=other.client)
        world.updater.use([own, world.source])
        await world.updater.update_now()
        assert world.blocks("evil1.example/")
        files = {each.file for each in read_stamp(world.updater.folder).lists if each.server == "office"}

        later = PatternUpdater(
            [], world.state, world.events, SystemClock(), PatternSettings(keep=1), servers=ServersSettings()
        )
        await later.update_now()  # the embedded server is not there yet
        assert not world.blocks("evil1.example/")
        assert world.blocks("own.example/")
        assert [each.server for each in read_stamp(later.folder).servers] == ["embedded"]
        assert [mirror.server for mirror in load_pattern(world.state).mirrors] == ["embedded"]
        told = [event for event in world.events.kept if "no server of the tier intranet" in event.detail]
        assert {event.server for event in told} == {"office"}
        assert len(told) >= len(files)
        count = len(world.events.kept)
        await later.update_now()
        assert len(world.events.kept) == count

        later.use([own])
        await other.publish(["own.example", "more.example"])
        await later.update_now()  # the one step that is kept to go back to has none of its lists
        both = {each.file for each in read_stamp(later.folder).lists}  # some are empty at every server
        assert not {path.name for path in later.folder.iterdir()} & (files - both)
        assert files - both


async def test_what_was_rolled_back_of_a_server_that_is_given_up_is_no_alert_any_more(tmp_path):
    async with house(tmp_path / "first") as world:
        await world.updater.update_now()
        await world.publish([*HOSTS, "more.example"])
        await world.updater.update_now()
        rollback(world.state, now=1.0, keep=14)
        assert read_stamp(world.updater.folder).held
        later = PatternUpdater(
            [], world.state, world.events, SystemClock(), PatternSettings(), servers=ServersSettings()
        )
        await later.update_now()
        assert not read_stamp(later.folder).held


async def test_what_was_rolled_back_before_a_server_came_is_no_alert_once_it_is_given_up(both):
    world, _, own = both
    rollback(world.state, now=1.0, keep=14)
    assert [each.server for each in read_stamp(world.updater.folder).servers] == ["embedded"]
    assert status(world.state, now=0).alerts
    office = {"url": "http://127.0.0.1:9/", "name": "office"}
    await with_settings(world, [own], intranet=[office]).update_now()
    assert status(world.state, now=0).alerts, "its server is away, and still one of the settings"
    await with_settings(world, [], intranet=[office | {"name": "other"}]).update_now()
    assert not status(world.state, now=0).alerts


async def test_after_a_server_was_given_up_there_is_still_a_way_back(both):
    world, other, own = both
    updater = with_settings(world, [own])
    await other.publish(["own.example", "bad.example"])
    await updater.update_now()
    assert not world.blocks("evil1.example/")
    rollback(world.state, now=1.0, keep=14)
    await updater.update_now()
    assert [world.blocks(f"{name}.example/") for name in ("own", "bad", "evil1")] == [True, False, False]
    with pytest.raises(PatternError, match="no earlier pattern"):
        rollback(world.state, now=1.0, keep=14)
