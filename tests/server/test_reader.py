"""One contract for every store: files, Valkey, a Valkey Cluster, and a replica of files over HTTP."""

import asyncio
import signal
import tracemalloc
from random import Random

import httpx
import pytest

from secondlook.ground.errors import SecondLookError, ServiceError
from secondlook.server.http.app import ServerApp
from secondlook.server.publish.generation import Generation
from secondlook.server.reader import FileReader
from secondlook.server.store.store import ServerStore
from secondlook.server.valkey import publisher as publisher_module
from secondlook.server.valkey.layout import PIECE_BYTES
from secondlook.server.valkey.publisher import ValkeyPublisher
from secondlook.server.valkey.reader import ValkeyReader
from secondlook.wire import safebrowsing_pb2 as pb
from secondlook.wire.update import apply_update
from serverkit import NOW, full_hash, make_store, out, put
from serverkit.ports import free_port
from serverkit.stores import HOSTS, STORES
from serverkit.valkey import cluster, single


@pytest.fixture(params=STORES)
def kind(request):
    return STORES[request.param]


def found(packed):
    answer = pb.SearchHashesResponse.FromString(packed)
    return {each.full_hash: [detail.list for detail in each.full_hash_details] for each in answer.full_hashes}


async def search(reader, *expressions):
    packed, count = await reader.search([full_hash(expression)[:4] for expression in expressions])
    listed = found(packed)
    assert len(listed) == count
    return [listed.get(full_hash(expression)) for expression in expressions]


def test_search_finds_exactly_what_is_listed(tmp_path, kind):
    store = make_store(tmp_path, HOSTS)

    async def scene():
        async with kind.open(store, tmp_path) as (reader, _):
            assert await reader.refresh()
            assert not await reader.refresh()
            assert reader.number == 1
            assert await search(reader, *(f"{host}/" for host in HOSTS[:50])) == [["mw-8b"]] * 50
            assert await search(reader, *(f"good{at}.example/" for at in range(50))) == [None] * 50
            assert await reader.search([]) == (b"", 0)

    asyncio.run(scene())


def test_updates_lead_to_the_published_bytes(tmp_path, kind):
    store = make_store(tmp_path, HOSTS)

    async def scene():
        async with kind.open(store, tmp_path) as (reader, carry):
            await reader.refresh()
            first = pb.HashList.FromString((await reader.update("mw-8b", b"", 0, 0)).packed)
            held = apply_update(first, "mw-8b", 8, None).entries
            put(store, [*HOSTS[10:], "more.example"], name="next.txt", replace=True)
            out(store)
            await carry()
            assert await reader.refresh()
            second = pb.HashList.FromString((await reader.update("mw-8b", first.version, 0, 0)).packed)
            assert second.partial_update
            applied = apply_update(second, "mw-8b", 8, held)
            assert (applied.removed, applied.added) == (10, 1)
            assert applied.entries == bytes(Generation(store.generation_folder(2)).raw("mw-8b"))

    asyncio.run(scene())


def test_a_generation_is_switched_without_a_gap(tmp_path, kind):
    store = make_store(tmp_path, HOSTS)
    random = Random(1)

    async def scene():
        async with kind.open(store, tmp_path) as (reader, carry):
            await reader.refresh()
            ended = asyncio.Event()
            asked = 0

            async def ask():
                nonlocal asked
                while not ended.is_set():
                    expression = f"{random.choice(HOSTS)}/"
                    assert await search(reader, expression) == [["mw-8b"]]
                    asked += 1
                    await asyncio.sleep(0)

            asking = asyncio.create_task(ask())
            for turn in range(4):
                put(store, [f"more{turn}.example"], name=f"{turn}.txt")
                await asyncio.to_thread(out, store)
                await carry()
                assert await reader.refresh()
                assert await search(reader, f"more{turn}.example/") == [["mw-8b"]]
            ended.set()
            await asking
            assert asked > 20

    asyncio.run(scene())


def test_nothing_published_is_an_error_not_an_empty_answer(tmp_path):
    async def scene():
        reader = FileReader(ServerStore(tmp_path / "empty"))
        assert not await reader.refresh()
        with pytest.raises(SecondLookError):
            await reader.search([b"abcd"])

    asyncio.run(scene())


def test_a_dead_cluster_node_is_an_error_for_its_part_alone(tmp_path):
    store = make_store(tmp_path, HOSTS)

    async def scene():
        with cluster(tmp_path / "valkey") as (url, nodes):
            publisher, reader = ValkeyPublisher(url), ValkeyReader(url)
            await publisher.push(Generation(store.generation_folder(1)), now=NOW)
            await publisher.aclose()
            await reader.refresh()
            nodes[2].kill()
            answered = failed = 0
            for host in HOSTS[:60]:
                try:
                    assert await search(reader, f"{host}/") == [["mw-8b"]]
                    answered += 1
                except ServiceError:
                    failed += 1
            await reader.aclose()
            assert failed > 0
            # The manifest's node may be the dead one: then nothing is answered, and nothing is told as
            # unlisted.
            assert answered + failed == 60

    asyncio.run(scene())


def test_a_cluster_of_which_nothing_answers_is_told_as_such():
    async def scene():
        for place in (f"valkey+cluster://127.0.0.1:{free_port()}", f"valkey://127.0.0.1:{free_port()}/0"):
            publisher, reader = ValkeyPublisher(place), ValkeyReader(place)
            with pytest.raises(ServiceError, match="cannot read from the Valkey store"):
                await publisher.lost(1)
            with pytest.raises(ServiceError, match="cannot read from the Valkey store"):
                await reader.refresh()
            await publisher.aclose()
            await reader.aclose()

    asyncio.run(scene())


def test_a_reader_that_was_left_behind_fails_instead_of_finding_nothing(tmp_path):
    store = make_store(tmp_path, HOSTS)

    async def scene():
        with single(tmp_path / "valkey") as (url, _):
            publisher, reader = ValkeyPublisher(url), ValkeyReader(url)
            await publisher.push(Generation(store.generation_folder(1)), now=NOW)
            await reader.refresh()
            for turn in range(2):
                put(store, [f"more{turn}.example"], name=f"{turn}.txt")
                out(store)
                await publisher.push(
                    Generation(store.generation_folder(2 + turn)), now=NOW + 100 * (turn + 1)
                )
            with pytest.raises(ServiceError, match="is gone"):
                await search(reader, f"{HOSTS[0]}/")
            assert await reader.refresh()
            assert await search(reader, f"{HOSTS[0]}/", "more1.example/") == [["mw-8b"], ["mw-8b"]]
            await publisher.aclose()
            await reader.aclose()

    asyncio.run(scene())


def test_other_data_with_the_number_that_is_served_are_not_searched_as_if_they_were_the_same(tmp_path):
    few, many = make_store(tmp_path / "few", HOSTS[:40]), make_store(tmp_path / "many", HOSTS)

    async def scene():
        with single(tmp_path / "valkey") as (url, _):
            publisher, reader = ValkeyPublisher(url), ValkeyReader(url)
            await publisher.push(Generation(few.generation_folder(1)), now=NOW)
            assert await reader.refresh()
            await publisher.push(Generation(many.generation_folder(1)), now=NOW)  # of a folder made anew
            for host in HOSTS[:20]:
                with pytest.raises(ServiceError, match="is another one by now"):
                    await search(reader, f"{host}/")
            assert await reader.refresh()
            assert not await reader.refresh()
            assert await search(reader, *(f"{host}/" for host in HOSTS[:50])) == [["mw-8b"]] * 50
            await publisher.aclose()
            await reader.aclose()

    asyncio.run(scene())


def test_copies_of_lists_go_with_their_generations(tmp_path):
    store = make_store(tmp_path, HOSTS[:40])

    async def scene():
        with single(tmp_path / "valkey") as (url, _):
            publisher, reader = ValkeyPublisher(url, keep_generations=2), ValkeyReader(url)
            for number in range(1, 7):
                await publisher.push(Generation(store.generation_folder(number)), now=NOW + 100 * number)
                await reader.refresh()
                assert (await reader.update("mw-8b", b"", 0, 0)).kind == "full"
                put(store, [f"more{number}.example"], name=f"{number}.txt")
                out(store)
            assert len(list(reader._folder.iterdir())) == 3  # of the two that are kept, and of one before
            await publisher.aclose()
            await reader.aclose()
            assert not reader._folder.exists()

    asyncio.run(scene())


@pytest.mark.parametrize("start", [single, cluster])
def test_parts_that_a_store_lost_are_missed_and_put_back(tmp_path, start):
    store = make_store(tmp_path, HOSTS)
    generation = Generation(store.generation_folder(1))
    prefixes = [full_hash(f"{host}/")[:4] for host in HOSTS]

    async def scene():
        with start(tmp_path / "valkey") as (url, nodes):
            publisher, reader, later = ValkeyPublisher(url), ValkeyReader(url), ValkeyReader(url)
            await publisher.push(generation, now=NOW)
            await reader.refresh()
            assert await publisher.missing(generation) == 0
            checksum = generation.lists["mw-8b"].checksum.hex()
            for key in ("1:*:t:7", "1:*:t:8", "1:*:d:0", f"l:{checksum}:0"):
                for node in nodes:
                    await asyncio.to_thread(node.lose, f"secondlook:{key}")
            assert await publisher.missing(generation) == 4
            assert reader.trouble is None
            found = 0
            for prefix in prefixes:
                try:
                    found += (await reader.search([prefix]))[1]
                except ServiceError:
                    found += 1  # missed, and told so
            assert found == len(HOSTS)
            assert reader.trouble
            with pytest.raises(SecondLookError):  # its details are gone
                await later.refresh()
            assert await publisher.repair(generation) == 4
            assert await publisher.repair(generation) == 0
            assert await later.refresh()
            await reader.refresh()
            assert reader.trouble is None
            for each in (reader, later):
                assert (await each.search(prefixes))[1] == len(HOSTS)
            assert (await later.update("mw-8b", b"", 0, 0)).packed
            for part in (publisher, reader, later):
                await part.aclose()

    asyncio.run(scene())


def test_publishers_of_one_store_that_load_at_the_same_time_do_not_overrule_one_another(
    tmp_path, monkeypatch
):
    store = make_store(tmp_path, HOSTS)
    for turn in range(2):
        put(store, [f"more{turn}.example"], name=f"{turn}.txt")
        out(store)
    one, two, three = (Generation(store.generation_folder(number)) for number in (1, 2, 3))

    async def scene():
        with single(tmp_path / "valkey") as (url, [node]):
            first, second = ValkeyPublisher(url), ValkeyPublisher(url)
            write_table = second._push_buckets

            async def and_the_first_publishes_meanwhile(generation, *arguments):
                await write_table(generation, *arguments)
                sign = f"secondlook:{generation.number}:being-loaded"
                await asyncio.to_thread(node.cli, "del", sign)
                async with asyncio.timeout(30):  # it is renewed, however long a loading takes
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

    asyncio.run(scene())


def test_nothing_stays_of_generations_that_are_not_kept_or_were_never_served(tmp_path, monkeypatch):
    store = make_store(tmp_path, HOSTS)
    for turn in range(3):
        put(store, [f"more{turn}.example"], name=f"{turn}.txt")
        out(store)
    one, two, three, four = (Generation(store.generation_folder(number)) for number in range(1, 5))

    async def scene():
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
            node.cli(
                "del", "secondlook:1:replaced"
            )  # as of a publisher that was killed before it was written
            await publisher.push(four, now=NOW + 100)
            assert of_tables() == ["1", "2", "4"]
            await publisher.push(four, now=NOW + 300)
            assert of_tables() == ["4"]
            assert node.cli("smembers", "secondlook:generations").split() == ["4"]
            names = node.cli("keys", "secondlook:*").split()
            kept = {name.split(":")[1] for name in names if node.cli("ttl", name).strip() == "-1"}
            assert kept == {"4", "current", "generations", "l", "turn"}
            await publisher.aclose()

    def broken(*_):
        raise ConnectionResetError("the connection broke")

    asyncio.run(scene())


def test_a_bucket_is_written_whole_wherever_the_blocks_end_that_are_read(tmp_path, monkeypatch):
    generation = Generation(make_store(tmp_path, HOSTS).generation_folder(1))
    monkeypatch.setattr(publisher_module, "BLOCK_ROWS", 100)
    for bits in (0, 7, 32):
        found = list(publisher_module._Columns(generation.folder).buckets(bits))
        assert len({bucket for bucket, _ in found}) == len(found)
        entries = sum(len(rests) // 32 for _, fields in found for rests in fields.values())
        assert entries == generation.entries


def test_a_store_that_came_back_as_it_was_before_is_seen_and_another_publisher_is_not_overruled(tmp_path):
    store, other = make_store(tmp_path, HOSTS), make_store(tmp_path / "other", HOSTS[:3])
    put(store, ["new.example"], name="new.txt")
    out(store)

    async def scene():
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

    asyncio.run(scene())


def test_a_store_that_is_away_is_told_of_until_it_is_back(tmp_path):
    store = make_store(tmp_path, HOSTS)

    async def scene():
        with single(tmp_path / "valkey") as (url, [node]):
            publisher, reader = ValkeyPublisher(url), ValkeyReader(url)
            await publisher.push(Generation(store.generation_folder(1)), now=NOW)
            await reader.refresh()
            assert reader.trouble is None
            node.process.send_signal(signal.SIGSTOP)
            with pytest.raises(ServiceError):
                await reader.refresh()
            assert reader.trouble
            assert not reader.readable
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(ServerApp(reader)), base_url="http://server"
            ) as client:
                answer = await client.get("/healthz")
                assert (answer.status_code, answer.text) == (503, "the Valkey store cannot be read\n")
            node.process.send_signal(signal.SIGCONT)
            await asyncio.to_thread(node.wait)
            await reader.refresh()
            assert reader.trouble is None
            assert reader.readable
            await publisher.aclose()
            await reader.aclose()

    asyncio.run(scene())


def test_a_store_that_may_evict_is_told_of(tmp_path):
    async def scene():
        with single(tmp_path / "valkey") as (url, [node]):
            publisher = ValkeyPublisher(url)
            assert await publisher.eviction() is None
            for policy, memory, is_told in (
                ("allkeys-lru", "100mb", True),
                ("allkeys-lru", "0", False),
                ("volatile-lru", "100mb", False),  # nothing of ours expires
            ):
                await asyncio.to_thread(node.cli, "config", "set", "maxmemory-policy", policy)
                await asyncio.to_thread(node.cli, "config", "set", "maxmemory", memory)
                assert (await publisher.eviction() is not None) is is_told
            await publisher.aclose()

    asyncio.run(scene())


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
