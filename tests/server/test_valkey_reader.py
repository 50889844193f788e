"""What a reader of a Valkey store answers where the store is away, has lost parts or was loaded anew."""

import asyncio
import signal

import httpx
import pytest

from secondlook.ground.errors import SecondLookError, ServiceError
from secondlook.server.http.app import ServerApp
from secondlook.server.publish.generation import Generation
from secondlook.server.valkey.publisher import ValkeyPublisher
from secondlook.server.valkey.reader import ValkeyReader
from serverkit import NOW, full_hash, make_store, out, put
from serverkit.ports import free_port
from serverkit.stores import HOSTS, search
from serverkit.valkey import cluster, single

pytestmark = pytest.mark.anyio


async def test_a_dead_cluster_node_is_an_error_for_its_part_alone(tmp_path):
    store = make_store(tmp_path, HOSTS)

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
        # The manifest's node may be the dead one: then nothing is answered, and nothing is shown as
        # unlisted.
        assert answered + failed == 60


async def test_a_cluster_asks_for_a_password(tmp_path):
    store = make_store(tmp_path, HOSTS)
    with cluster(tmp_path / "valkey") as (url, nodes):
        for node in nodes:
            node.cli("config", "set", "masterauth", "secret")
            node.cli("config", "set", "requirepass", "secret")
        without = ValkeyReader(url)
        with pytest.raises(ServiceError, match="cannot read from the Valkey store"):
            await without.refresh()
        await without.aclose()
        known = url.replace("://", "://:secret@")
        publisher, reader = ValkeyPublisher(known), ValkeyReader(known)
        await publisher.push(Generation(store.generation_folder(1)), now=NOW)
        await reader.refresh()
        assert await search(reader, f"{HOSTS[0]}/") == [["mw-8b"]]
        await publisher.aclose()
        await reader.aclose()


async def test_a_cluster_of_which_nothing_answers_is_reported_as_such():
    for place in (f"valkey+cluster://127.0.0.1:{free_port()}", f"valkey://127.0.0.1:{free_port()}/0"):
        publisher, reader = ValkeyPublisher(place), ValkeyReader(place)
        with pytest.raises(ServiceError, match="cannot read from the Valkey store"):
            await publisher.lost(1)
        with pytest.raises(ServiceError, match="cannot read from the Valkey store"):
            await reader.refresh()
        await publisher.aclose()
        await reader.aclose()


async def test_a_reader_that_was_left_behind_fails_instead_of_finding_nothing(tmp_path):
    store = make_store(tmp_path, HOSTS)

    with single(tmp_path / "valkey") as (url, _):
        publisher, reader = ValkeyPublisher(url), ValkeyReader(url)
        await publisher.push(Generation(store.generation_folder(1)), now=NOW)
        await reader.refresh()
        for turn in range(2):
            put(store, [f"more{turn}.example"], name=f"{turn}.txt")
            out(store)
            await publisher.push(Generation(store.generation_folder(2 + turn)), now=NOW + 100 * (turn + 1))
        with pytest.raises(ServiceError, match="is gone"):
            await search(reader, f"{HOSTS[0]}/")
        assert await reader.refresh()
        assert await search(reader, f"{HOSTS[0]}/", "more1.example/") == [["mw-8b"], ["mw-8b"]]
        await publisher.aclose()
        await reader.aclose()


async def test_other_data_with_the_number_that_is_served_are_not_searched_as_if_they_were_the_same(tmp_path):
    few, many = make_store(tmp_path / "few", HOSTS[:40]), make_store(tmp_path / "many", HOSTS)

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


async def test_copies_of_lists_go_with_their_generations(tmp_path):
    store = make_store(tmp_path, HOSTS[:40])

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


@pytest.mark.parametrize("start", [single, cluster])
async def test_parts_that_a_store_lost_are_missed_and_put_back(tmp_path, start):
    store = make_store(tmp_path, HOSTS)
    generation = Generation(store.generation_folder(1))
    prefixes = [full_hash(f"{host}/")[:4] for host in HOSTS]

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
                found += 1  # missed, and reported
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


async def test_a_store_that_is_away_is_reported_until_it_is_back(tmp_path):
    store = make_store(tmp_path, HOSTS)

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
