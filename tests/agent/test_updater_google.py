"""Lists of a server under Google's conditions: fetched no sooner than it allows, backed off from after a failure."""

import asyncio
import hashlib
from dataclasses import replace

import pytest

from agentkit.updating import house
from lookup.serving import V5Server
from secondlook.agent.pattern import source_schedule
from secondlook.agent.pattern.files import read_stamp
from secondlook.agent.pattern.source import GOOGLE_LEAST_S, GOOGLE_LISTS, GOOGLE_START_S, UpdateSource
from secondlook.agent.pattern.updater import PatternUpdater
from secondlook.config.query import PatternSettings, RemoteServer
from secondlook.core.answer import Tier
from secondlook.lookup.client import ServerClient
from secondlook.wire import safebrowsing_pb2 as pb
from wirekit.coded import rice32


class Clock:
    def __init__(self):
        self.at = 1000.0

    def monotonic(self):
        return self.at

    def elapsed(self):
        return self.at

    def now(self):
        return 1_700_000_000.0 + self.at


class Events:
    def record(self, event):
        pass

    def amend(self, event_id, **fields):
        pass


def google_list(name, wait_s):
    entries = b"".join(sorted(hashlib.sha256(f"{name}{n}".encode()).digest()[:4] for n in range(5)))
    made = pb.HashList(
        name=name,
        version=name.encode(),
        sha256_checksum=hashlib.sha256(entries).digest(),
        additions_four_bytes=rice32(entries),
    )
    made.minimum_wait_duration.seconds = wait_s
    return made


@pytest.mark.parametrize("wait_s", [0, 1800])
def test_minimum_wait_start_delay_and_backoff(tmp_path, wait_s, monkeypatch):
    monkeypatch.setattr(source_schedule, "random", lambda: 0.5)

    async def main():
        server = await V5Server().start()
        server.lists = {name: google_list(name, wait_s) for name in GOOGLE_LISTS}
        remote = RemoteServer(url=server.url, kind="google", key="K", name="gsb")
        client = ServerClient(remote)
        clock = Clock()
        source = UpdateSource(name="gsb", tier=Tier.NETWORK, client=client, google=True, source="google")
        keeper = PatternUpdater([source], tmp_path, Events(), clock, PatternSettings())

        async def fetched():
            before = len(server.requests)
            outcomes = await keeper.update_now(only_due=True)
            assert all(outcome.error is None or "500" in outcome.error for outcome in outcomes)
            return len(server.requests) - before

        assert await fetched() == 0  # not in step with everybody else
        clock.at += GOOGLE_START_S / 2
        assert await fetched() == 1
        assert {each.name for each in read_stamp(tmp_path / "pattern").lists} == set(GOOGLE_LISTS)
        assert await keeper.update_now() == []  # not even when asked by hand
        clock.at += max(wait_s, GOOGLE_LEAST_S) - 1
        assert await fetched() == 0
        clock.at += 1
        server.behave = 500
        assert await fetched() == 1
        clock.at += 1349
        assert await fetched() == 0
        clock.at += 1
        assert await fetched() == 1  # 15 min * (1 + 0.5)
        clock.at += 2699
        assert await fetched() == 0
        clock.at += 1
        server.behave = "answer"
        assert await fetched() == 1
        await client.aclose()
        await server.stop()

    asyncio.run(main())


def test_a_server_in_the_place_of_google_leaves_none_of_its_lists_out(tmp_path):
    async def main():
        async with house(tmp_path) as world:
            google = await V5Server().start()
            google.lists = {name: google_list(name, 0) for name in GOOGLE_LISTS}
            client = ServerClient(RemoteServer(url=google.url, kind="google", key="K", name="gsb"))
            source = UpdateSource(name="gsb", tier=Tier.NETWORK, client=client, google=True)
            world.updater.use([source])
            await world.updater.update_now()
            assert {each.name for each in read_stamp(world.updater.folder).lists} == set(GOOGLE_LISTS)
            world.updater.use([replace(world.source, tier=Tier.NETWORK)])
            [outcome] = await world.updater.update_now()
            assert outcome.refused == {}
            assert {each.server for each in read_stamp(world.updater.folder).lists} == {"office"}
            world.updater.use([replace(source, name="gsb again")])
            [outcome] = await world.updater.update_now()
            assert outcome.refused == {}
            assert {each.name for each in read_stamp(world.updater.folder).lists} == set(GOOGLE_LISTS)
            await client.aclose()
            await google.stop()

    asyncio.run(main())
