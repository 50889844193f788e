"""What publishers load into a Valkey store, beside one another, and what they take away again."""

import asyncio
import tracemalloc

import pytest

from secondlook.ground.errors import ServiceError
from secondlook.server.publish.generation import Generation
from secondlook.server.valkey import publisher as publisher_module
from secondlook.server.valkey.layout import PIECE_BYTES
from secondlook.server.valkey.publisher import ValkeyPublisher
from secondlook.server.valkey.reader import ValkeyReader
from serverkit import NOW, make_store, out, put
from serverkit.stores import HOSTS, search
from serverkit.valkey import single

pytestmark = pytest.mark.anyio


async def test_publishers_of_one_store_that_load_at_the_same_time_do_not_overrule_one_another(
    tmp_path, monkeypatch
):
    store = make_store(tmp_path, HOSTS)
    for turn in range(2):
        put(store, [f"more{turn}.example"], name=f"{turn}.txt")
        out(store)
    one, two, three = (Generation(store.generation_folder(number)) for number in (1, 2, 3))

    with single(tmp_path / "valkey") as (url, [node]):
        first, second = ValkeyPublisher(url), ValkeyPublisher(url)
        write_table = second._push_buckets

        async def and_the_first_publishes_meanwhile(generation, *arguments):
            await write_table(generation, *arguments)
            sign = f"secondlook:{generation.number}:being-loaded"
            await asyncio.to_thread(node.cli, "del", sign)
            async with asyncio.timeout(60):  # it is renewed, however long a loading takes
                while int(await asyncio.to_thread(node.cli, "pttl", sign)) <= 0:
                    await asyncio.sleep(0.01)
            seen_lost.append(await first.lost(1))
            await first.push(one, now=NOW)

        await first.push(one, now=NOW)
        await second.push(two, now=NOW)
        monkeypatch.setattr(publisher_module, "RENEWED_EVERY_S", 0.01)
        monkeypatch.setattr(second, "_push_buckets", and_the_first_publishes_meanwhile)
        seen_lost = []
        await second.push(two, now=NOW)  # again: its manifest is away until the table is whole
        assert seen_lost == [False]
        assert await second.missing(two) == 0
        assert not await second.lost(2)
        assert not await first.lost(1)  # the second's is served, as it was finished last
        await second.push(three, now=NOW)
        assert sorted(node.cli("smembers", "secondlook:generations").split()) == ["1", "2", "3"]
        for part in (first, second):
            await part.aclose()


async def test_nothing_stays_of_generations_that_are_not_kept_or_were_never_served(tmp_path, monkeypatch):
    store = make_store(tmp_path, HOSTS)
    for turn in range(3):
        put(store, [f"more{turn}.example"], name=f"{turn}.txt")
        out(store)
    one, two, three, four = (Generation(store.generation_folder(number)) for number in range(1, 5))

    def broken(*_):
        raise ConnectionResetError("the connection broke")

    with single(tmp_path / "valkey") as (url, [node]):

        def of_tables():
            return sorted({key.split(":")[1] for key in node.cli("keys", "secondlook:*:t:*").split()})

        publisher = ValkeyPublisher(url, keep_generations=1)
        await publisher.push(one, now=NOW)
        await publisher.push(two, now=NOW + 1)  # within the minute in which a reader may be behind
        assert of_tables() == ["1", "2"]
        with monkeypatch.context() as patch:
            patch.setattr(publisher_module, "_pieces", broken)
            with pytest.raises(ServiceError):
                await publisher.push(three, now=NOW + 2)
        node.cli("config", "set", "maxmemory", "1")
        with pytest.raises(ServiceError, match="maxmemory"):
            await publisher.push(four, now=NOW + 2)
        assert of_tables() == ["1", "2"]  # a full store gets room first
        node.cli("config", "set", "maxmemory", "0")
        node.cli("del", "secondlook:1:replaced")  # as of a publisher that was killed before it was written
        await publisher.push(four, now=NOW + 100)
        assert of_tables() == ["1", "2", "4"]
        for number in range(1, 5):
            node.cli("del", f"secondlook:{number}:being-loaded")  # the sign of a loading goes with time
        await publisher.push(four, now=NOW + 300)
        assert of_tables() == ["4"]
        assert node.cli("smembers", "secondlook:generations").split() == ["4"]
        names = node.cli("keys", "secondlook:*").split()
        kept = {name.split(":")[1] for name in names if node.cli("ttl", name).strip() == "-1"}
        assert kept == {"4", "current", "generations", "l", "turn"}
        await publisher.aclose()


def test_a_bucket_is_written_whole_wherever_the_blocks_end_that_are_read(tmp_path, monkeypatch):
    generation = Generation(make_store(tmp_path, HOSTS).generation_folder(1))
    monkeypatch.setattr(publisher_module, "BLOCK_ROWS", 100)
    for bits in (0, 7, 32):
        found = list(publisher_module._Columns(generation.folder).buckets(bits))
        assert len({bucket for bucket, _ in found}) == len(found)
        entries = sum(len(rests) // 32 for _, fields in found for rests in fields.values())
        assert entries == generation.entries


async def test_a_store_that_came_back_as_it_was_before_is_seen_and_another_publisher_is_not_overruled(
    tmp_path,
):
    store, other = make_store(tmp_path, HOSTS), make_store(tmp_path / "other", HOSTS[:3])
    put(store, ["new.example"], name="new.txt")
    out(store)

    with single(tmp_path / "valkey") as (url, [node]):
        publisher, later, another = (ValkeyPublisher(url) for _ in range(3))
        await publisher.push(Generation(store.generation_folder(1)), now=NOW)
        await publisher.push(Generation(store.generation_folder(2)), now=NOW)
        assert not await publisher.lost(2)
        assert not await later.lost(2)  # after a restart
        for key, value in (("current", "1"), ("turn", "1")):  # the table of 1 is there for a minute
            await asyncio.to_thread(node.cli, "set", f"secondlook:{key}", value)
        assert await publisher.lost(2)
        assert await later.lost(2)
        await publisher.push(Generation(store.generation_folder(2)), now=NOW)
        assert not await publisher.lost(2)
        await another.push(Generation(other.generation_folder(1)), now=NOW - 100)  # its clock is late
        assert not await publisher.lost(2)
        assert not await another.lost(1)
        # the served one has no manifest: it is lost, unless somebody is loading it
        await asyncio.to_thread(node.cli, "set", "secondlook:current", "4")
        for part in (publisher, later, another):
            assert await part.lost(2)
        await asyncio.to_thread(node.cli, "set", "secondlook:4:being-loaded", "", "px", "60000")
        for part in (publisher, later, another):
            assert not await part.lost(2)
        for part in (publisher, later, another):
            await part.aclose()


async def test_a_store_that_may_evict_is_reported(tmp_path):
    with single(tmp_path / "valkey") as (url, [node]):
        publisher = ValkeyPublisher(url)
        assert await publisher.eviction() is None
        for policy, memory, is_reported in (
            ("allkeys-lru", "100mb", True),
            ("allkeys-lru", "0", False),
            ("volatile-lru", "100mb", False),  # nothing of ours expires
        ):
            await asyncio.to_thread(node.cli, "config", "set", "maxmemory-policy", policy)
            await asyncio.to_thread(node.cli, "config", "set", "maxmemory", memory)
            assert (await publisher.eviction() is not None) is is_reported
        await publisher.aclose()


def test_a_push_holds_a_part_of_the_table_at_a_time(tmp_path):
    hosts = [f"host{number}.example" for number in range(120_000)]
    store = make_store(tmp_path, hosts)
    generation = Generation(store.generation_folder(1))
    columns = sum(path.stat().st_size for path in generation.folder.glob("*.b28"))
    assert columns > 3_000_000

    async def scene():
        with single(tmp_path / "valkey") as (url, _):
            publisher, reader = ValkeyPublisher(url), ValkeyReader(url)
            tracemalloc.start()
            try:
                await publisher.push(generation, now=NOW)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            await reader.refresh()
            for host in (*hosts[:20], *hosts[-20:], *hosts[:: len(hosts) // 200]):
                assert await search(reader, f"{host}/") == [["mw-8b"]]
            await publisher.aclose()
            await reader.aclose()
            return peak

    assert asyncio.run(scene()) < 2_500_000 + PIECE_BYTES
