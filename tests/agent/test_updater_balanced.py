"""The updater behind a load balancer: each of its requests may be answered by another replica."""

import shutil

import pytest

from agentkit.updating import HOSTS
from secondlook.agent.pattern.change import status
from secondlook.agent.pattern.files import read_stamp
from secondlook.core.event import EventKind
from secondlook.server.http.app import ServerApp
from secondlook.server.reader import FileReader
from secondlook.server.store.store import ServerStore

pytestmark = pytest.mark.anyio
NAMES, LISTS = "/v5/hashLists", "/v5/hashLists:batchGet"


@pytest.fixture
async def lagging(world, tmp_path):
    """A replica of the world's server that does not have its second generation yet."""
    shutil.copytree(world.store.root, tmp_path / "lagging")
    app = ServerApp(FileReader(ServerStore(tmp_path / "lagging")))
    await app.reader.refresh()
    await world.publish([*HOSTS, "new.example"])
    yield app
    await app.reader.aclose()


def generation(world):
    """Return which generation is in force, and whether all of it is."""
    [server] = read_stamp(world.updater.folder).servers
    return server.generation, server.whole


async def test_lists_of_a_replica_that_lags_are_not_taken_for_those_of_the_newer_generation(world, lagging):
    world.app.instead = {NAMES: lagging, LISTS: lagging}  # health was asked of the other one
    await world.updater.update_now()
    assert generation(world) == ("1", True)
    world.app.instead.clear()  # it has caught up
    await world.updater.update_now()
    assert world.blocks("new.example/")
    assert generation(world) == ("2", True)


@pytest.mark.parametrize("path", [NAMES, LISTS])
async def test_what_two_replicas_answered_about_different_generations_is_asked_for_again(
    world, lagging, path
):
    world.app.instead = {path: lagging}
    await world.updater.update_now()
    assert generation(world) == ("", False)
    world.app.instead.clear()
    await world.updater.update_now()
    assert world.blocks("new.example/")
    assert generation(world) == ("2", True)


async def test_a_replica_that_stays_behind_is_shown_until_there_is_a_newer_generation(world, lagging):
    health = "/healthz"
    await world.updater.update_now()
    for _ in range(3):  # met in turn
        world.app.instead = {health: lagging, NAMES: lagging, LISTS: lagging}
        await world.updater.update_now()
        world.app.instead.clear()
        await world.updater.update_now()
    [shown] = status(world.state, now=0).alerts
    assert "office went back from generation 2 to 1" in shown
    assert [each.detail for each in world.events.kept if each.kind is EventKind.ERROR] == [shown]
    await world.publish([*HOSTS, "new.example", "newer.example"])
    await world.updater.update_now()
    assert status(world.state, now=0).alerts == ()
