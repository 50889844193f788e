"""Lists fetched from a server: what fits is taken, the rest asked for whole, and nothing is in force yet."""

import pytest

from agentkit.updating import HOSTS, changed_list, house
from secondlook.agent.pattern.files import Stamp, read_stamp
from secondlook.wire import safebrowsing_pb2 as pb

pytestmark = pytest.mark.anyio


async def test_a_partial_update_that_does_not_fit_is_followed_by_a_full_one(world):
    asked = []

    def break_partial(path, body):
        if "batchGet" not in path:
            return None
        answer = pb.BatchGetHashListsResponse.FromString(body)
        asked.append([entry.partial_update for entry in answer.hash_lists if entry.name == "mw-8b"])
        return changed_list(
            body, "mw-8b", lambda e: setattr(e, "sha256_checksum", bytes(32)) if e.partial_update else None
        )

    await world.publish([*HOSTS, "new.example"])
    world.app.change = break_partial
    [outcome] = await world.updater.update_now()
    assert outcome.refused == {}
    assert world.blocks("new.example/")
    assert asked == [[True], [False]]


async def test_what_is_fetched_is_on_the_disk_and_not_in_force(tmp_path):
    async with house(tmp_path) as world:
        updater = world.updater
        brought = await updater._fetcher.fetch(world.source, Stamp(), "1", accept_shrink=False)
        assert brought.refused == {}
        assert set(brought.taken) == set(brought.about)
        assert all((updater.folder / each.file).exists() for each in brought.taken.values())
        assert read_stamp(updater.folder) is None
