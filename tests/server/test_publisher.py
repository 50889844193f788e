"""Publishers of one Valkey store that meet, or are killed, between any two steps: nothing is ever mixed.

Each command that a publisher sends is a step. After each, a reader that has been there and one that comes now
look: they find what the one publisher has, or what the other has, or fail.
"""

import asyncio
import json
from contextlib import asynccontextmanager
from random import Random

import pytest

from secondlook.ground.errors import SecondLookError
from secondlook.server.publish.generation import Generation
from secondlook.server.valkey import publisher as publisher_module
from secondlook.server.valkey.layout import connect, key_of, table_of
from secondlook.server.valkey.publisher import ValkeyPublisher
from secondlook.server.valkey.reader import ValkeyReader
from secondlook.wire import safebrowsing_pb2 as pb
from serverkit import NOW, full_hash, make_store, out, put
from serverkit.valkey import single

COUNT = 10  # hosts of each publisher: several buckets, as small as they are here
NAMES = {name: [f"{name}{number}.example" for number in range(COUNT)] for name in ("one", "two")}
HASHES = {name: {full_hash(f"{host}/") for host in hosts} for name, hosts in NAMES.items()}
PREFIXES = [each[:4] for hashes in HASHES.values() for each in sorted(hashes)]
FAILED = "failed"


class Stepwise:
    """A publisher that loads a generation, or does other work, command by command."""

    def __init__(self, url, generation, *, work=None):
        self.publisher = ValkeyPublisher(url)
        self.generation = generation
        self._waits, self._goes = asyncio.Event(), asyncio.Event()
        self._begin = work or (lambda publisher: publisher.push(generation, now=NOW))
        self._work = None
        client = self.publisher._client
        client.execute_command = self._gated(client.execute_command)
        make_pipeline = client.pipeline

        def pipeline(*arguments, **named):
            pipe = make_pipeline(*arguments, **named)
            pipe.execute = self._gated(pipe.execute)
            return pipe

        client.pipeline = pipeline

    def _gated(self, send):
        async def gated(*arguments, **named):
            if asyncio.current_task() is self._work:  # the sign of a loading is no step of it
                self._waits.set()
                await self._goes.wait()
                self._goes.clear()
            return await send(*arguments, **named)

        return gated

    async def step(self):
        """Go on to the next command, or to the end; return whether that was reached."""
        if self._work is None:
            self._work = asyncio.create_task(self._begin(self.publisher))
        else:
            self._goes.set()
        waits = asyncio.create_task(self._waits.wait())
        await asyncio.wait([waits, self._work], return_when=asyncio.FIRST_COMPLETED)
        waits.cancel()
        self._waits.clear()
        if self._work.done():
            self._work.result()
        return self._work.done()

    async def kill(self):
        """End where it stands."""
        if self._work is not None and not self._work.done():
            self._work.cancel()
            self.publisher._client.execute_command = _gone  # nothing that it would tidy up is done
            await asyncio.gather(self._work, return_exceptions=True)
        await self.publisher.aclose()


async def _gone(*_, **__):
    raise ConnectionResetError


async def seen(reader, *, refreshed=True):
    """Return whose hosts a reader finds, or that it fails."""
    try:
        if refreshed:
            await reader.refresh()
        packed, _ = await reader.search(PREFIXES)
    except SecondLookError:
        return FAILED
    answer = pb.SearchHashesResponse.FromString(packed)
    found = {
        each.full_hash: {detail.list for detail in each.full_hash_details} for each in answer.full_hashes
    }
    assert all(lists == {"mw-8b"} for lists in found.values())
    (whose,) = [name for name, hashes in HASHES.items() if hashes == found.keys()]
    return whose


async def keeps(publisher, generation):
    """Do what a publisher that goes on does every few seconds."""
    if await publisher.lost(generation.number):
        await publisher.push(generation, now=NOW + 1)
    await publisher.repair(generation)


@pytest.fixture
def one(tmp_path):
    return Generation(make_store(tmp_path / "one", NAMES["one"]).generation_folder(1))


@pytest.fixture(params=[1, 2], ids=["the same number", "another number"])
def two(request, tmp_path):
    store = make_store(tmp_path / "two", NAMES["two"])
    if request.param == 2:
        put(store, ["more.example"], name="more.txt")
        out(store)
    return Generation(store.generation_folder(request.param))


@pytest.fixture(autouse=True)
def _a_bucket_a_step(monkeypatch):
    monkeypatch.setattr(publisher_module, "BATCH_BUCKETS", 1)
    monkeypatch.setattr(publisher_module, "BUCKET_ENTRIES", 4)  # four buckets; everything is asked for


@asynccontextmanager
async def closing(*parts):
    try:
        yield
    finally:
        for part in parts:
            await part.aclose()


def after_each_step(tmp_path, act, *, every=None, least=30):
    """Run `act(url, steps)` on an empty store for more and more steps, until it returns that the work ended."""

    async def scene():
        with single(tmp_path / "valkey") as (url, _):
            admin = connect(url)
            async with closing(admin):
                steps, ended = 1, False
                while not ended:
                    await admin.flushall()
                    ended = await act(url, steps)
                    steps += every or (1 if steps < 12 else 4)
                assert steps > least

    asyncio.run(scene())


def test_one_that_is_killed_at_any_step_mixes_nothing_and_the_next_one_repairs(tmp_path, one, two):
    async def killed_after(url, steps):
        publisher = ValkeyPublisher(url)
        before, after = ValkeyReader(url), ValkeyReader(url)
        async with closing(publisher, before, after):
            await publisher.push(one, now=NOW)
            assert await seen(before) == "one"
            other = Stepwise(url, two)
            ended = False
            for _ in range(steps):
                ended = ended or await other.step()
            left = {await seen(before, refreshed=False), await seen(before), await seen(after)}
            await other.kill()
            assert left <= {"one", "two", FAILED}
            await keeps(publisher, one)
            whose = await seen(after)
            assert whose != FAILED
            assert await seen(before) == whose
        return ended

    after_each_step(tmp_path, killed_after, every=1 if two.number == one.number else 4)


def test_two_that_load_at_once_in_any_order_mix_nothing(tmp_path, one, two):
    async def at_once(url, random):
        publishers = [Stepwise(url, one), Stepwise(url, two)]
        reader = ValkeyReader(url)
        async with closing(reader):
            loading = list(publishers)
            while loading:
                goes_on = random.choice(loading)
                for _ in range(random.choice([1, 3, 10])):
                    if await goes_on.step():
                        loading.remove(goes_on)
                        break
                await seen(reader, refreshed=False)
                await seen(reader)
            assert await seen(reader) != FAILED
            for each in publishers:
                assert await each.publisher.missing(each.generation) == 0
                await each.kill()

    async def scene():
        with single(tmp_path / "valkey") as (url, _):
            admin = connect(url)
            async with closing(admin):
                for seed in range(12):
                    await admin.flushall()
                    await at_once(url, Random(seed))

    asyncio.run(scene())


def test_one_that_goes_on_after_another_loaded_takes_nothing_away_of_what_is_served(tmp_path, one, two):
    async def going_on_after(url, steps):
        other = Stepwise(url, two)
        publisher, reader = ValkeyPublisher(url), ValkeyReader(url)
        async with closing(publisher, reader):
            ended = False
            for _ in range(steps):
                ended = ended or await other.step()
            await publisher.push(one, now=NOW)
            assert await seen(reader) == "one"
            goes_on = not ended
            while goes_on:
                goes_on = not await other.step()
                assert await seen(reader) != FAILED
            await other.kill()
        return ended

    after_each_step(tmp_path, going_on_after)


async def tables_of_one(admin):
    """Return the keys of tables of the first generation that its manifest does not name."""
    about = json.loads(await admin.get(key_of(1, "manifest")) or b"{}")
    named = key_of(*table_of(1, about), "").encode() if about else None
    keys = [key async for key in admin.scan_iter(match=key_of(1, "*", "[td]", "*"))]
    return [key for key in keys if named is None or not key.startswith(named)]


def second(folder):
    """Return the second generation of another publisher."""
    store = make_store(folder, NAMES["two"])
    put(store, ["more.example"], name="more.txt")
    out(store)
    return Generation(store.generation_folder(2))


def test_what_was_replaced_by_a_clock_that_was_set_back_goes_in_its_time(tmp_path, one):
    two = second(tmp_path / "two")

    async def scene():
        with single(tmp_path / "valkey") as (url, _):
            admin, publisher = connect(url), ValkeyPublisher(url)
            async with closing(admin, publisher):
                await publisher.push(one, now=NOW)
                await publisher.push(two, now=NOW + 1e6)
                await publisher.push(two, now=NOW + 1)
                assert await admin.exists(key_of(1, "manifest"))  # readers may be at it still
                await publisher.push(two, now=NOW + 1 + publisher_module.GRACE_S)
                assert not await admin.exists(key_of(1, "manifest"))
                assert await tables_of_one(admin) == []

    asyncio.run(scene())


@pytest.mark.parametrize("goes_on", [0, 4], ids=["before another", "after another"])
def test_what_one_left_that_was_killed_goes_with_a_later_loading(tmp_path, one, goes_on):
    two = second(tmp_path / "two")

    async def left_after(url, steps):
        killed, publisher, admin = Stepwise(url, one), ValkeyPublisher(url), connect(url)
        async with closing(publisher, admin):
            ended = False
            for _ in range(steps):
                ended = ended or await killed.step()
            if not goes_on:
                await killed.kill()
            await publisher.push(two, now=NOW)  # the sign of the other loading is there still
            for _ in range(goes_on):
                ended = ended or await killed.step()
            await killed.kill()
            for name in await admin.keys(key_of("*being-loaded")):
                await admin.delete(name)  # as it expires
            await publisher.push(two, now=NOW + 1)
            assert await tables_of_one(admin) == []
        return ended

    after_each_step(tmp_path, left_after)


def test_a_repair_that_meets_a_loading_leaves_what_it_did_not_know_to_the_next_one(tmp_path, one):
    async def repaired_after(url, steps):
        publisher, repairing = ValkeyPublisher(url), Stepwise(url, one, work=lambda each: each.repair(one))
        async with closing(publisher):
            for _ in range(steps):
                ended = await repairing.step()
            await publisher.push(one, now=NOW)
            table = table_of(1, await publisher._about(1))
            await publisher._client.delete(key_of(*table, "t", 0))
            while not await repairing.step():
                pass
            await publisher.repair(one)
            assert await publisher.missing(one) == 0
            await repairing.kill()
        return ended

    after_each_step(tmp_path, repaired_after, every=1, least=0)
