"""One contract for every store: files, Valkey, a Valkey Cluster, and a replica of files over HTTP."""

import asyncio
from random import Random

import pytest

from secondlook.ground.errors import SecondLookError
from secondlook.server.publish.generation import Generation
from secondlook.server.reader import FileReader
from secondlook.server.store.store import ServerStore
from secondlook.wire import safebrowsing_pb2 as pb
from secondlook.wire.update import apply_update
from secondlook.wire.version import ListVersion
from serverkit import make_store, out, put
from serverkit.stores import HOSTS, STORES, search

pytestmark = pytest.mark.anyio


@pytest.fixture(params=STORES)
def kind(request):
    return STORES[request.param]


async def test_search_finds_exactly_what_is_listed(tmp_path, kind):
    store = make_store(tmp_path, HOSTS)

    async with kind.open(store, tmp_path) as (reader, _):
        assert await reader.refresh()
        assert not await reader.refresh()
        assert reader.number == 1
        assert await search(reader, *(f"{host}/" for host in HOSTS[:50])) == [["mw-8b"]] * 50
        assert await search(reader, *(f"good{at}.example/" for at in range(50))) == [None] * 50
        assert await reader.search([]) == (b"", 0)


async def test_updates_lead_to_the_published_bytes(tmp_path, kind):
    store = make_store(tmp_path, HOSTS)

    async with kind.open(store, tmp_path) as (reader, carry):
        await reader.refresh()
        first = pb.HashList.FromString((await reader.update("mw-8b", b"", 0, 0)).packed)
        held = apply_update(first, "mw-8b", 8, None).entries
        put(store, [*HOSTS[10:], "more.example"], name="next.txt", replace=True)
        out(store)
        await carry()
        assert await reader.refresh()
        whole = await reader.update("mw-8b", b"", 0, 0)
        elsewhere = [ListVersion("mw-8b", number, bytes(8)).encode() for number in (1, 2, 7)]
        assert all([await reader.update("mw-8b", each, 0, 0) is whole for each in elsewhere])
        second = pb.HashList.FromString((await reader.update("mw-8b", first.version, 0, 0)).packed)
        assert second.partial_update
        applied = apply_update(second, "mw-8b", 8, held)
        assert (applied.removed, applied.added) == (10, 1)
        assert applied.entries == bytes(Generation(store.generation_folder(2)).raw("mw-8b"))


async def test_a_generation_is_switched_without_a_gap(tmp_path, kind):
    store = make_store(tmp_path, HOSTS)
    random = Random(1)

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


async def test_nothing_published_is_an_error_not_an_empty_answer(tmp_path):
    reader = FileReader(ServerStore(tmp_path / "empty"))
    assert not await reader.refresh()
    with pytest.raises(SecondLookError):
        await reader.search([b"abcd"])
