"""A replica: whole or not at all, and back to what is whole."""

import asyncio
import hashlib
import json
import os
import shutil
from contextlib import asynccontextmanager

import pytest

from secondlook.config.service import UpstreamSettings
from secondlook.ground.errors import PatternError, SecondLookError, ServiceError
from secondlook.ground.lock import take_lock
from secondlook.server.administration import rollback, status
from secondlook.server.http.app import AppSettings
from secondlook.server.meter import Meter
from secondlook.server.publish.generation import Generation
from secondlook.server.reader import FileReader
from secondlook.server.replica.replica import Replica
from secondlook.server.store import store as store_module
from secondlook.server.store.store import ServerStore
from serverkit import full_hash, listening, make_store, out, put
from serverkit.ports import free_port
from serverkit.stores import HOSTS


@pytest.mark.parametrize("harm", ["cut", "changed", "other manifest", "HTML", "unsigned"])
def test_a_replica_takes_nothing_that_is_not_whole(tmp_path, harm):
    store = make_store(tmp_path, HOSTS)
    key = Generation(store.generation_folder(1)).manifest["key"]
    mirror = ServerStore(tmp_path / "mirror")
    shutil.copytree(store.generation_folder(1), mirror.generation_folder(1))
    mirror.set_current(1)
    path = mirror.generation_folder(1) / "rest.b28"
    match harm:
        case "cut":
            path.write_bytes(path.read_bytes()[:-28])
        case "changed":
            path.write_bytes(bytes(28) + path.read_bytes()[28:])
        case "other manifest":
            manifest = path.with_name("manifest.json")
            manifest.write_bytes(manifest.read_bytes().replace(b'"number": 1', b'"number": 2'))
        case "HTML":
            path.with_name("manifest.json").write_text("<html>")
        case _:
            path.with_name("manifest.sig").write_bytes(bytes(64))

    async def scene():
        async with listening(mirror, AppSettings(store=mirror)) as (serving, _):
            copy = ServerStore(tmp_path / "copy")
            replica = Replica(copy, UpstreamSettings(url=f"http://127.0.0.1:{serving.port}", key=key))
            with pytest.raises(SecondLookError):
                await replica.pull()
            await replica.aclose()
            assert copy.generations() == []
            assert copy.current() is None
            assert [each.name for each in copy.generations_folder.iterdir()] == []

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("name", "more"),
    [
        *((name, {}) for name in ("../escaped", "/escaped", "below/escaped", ".manifest.json", "..", "a\0b")),
        *(("sized", {"size": size}) for size in (-1, "4", 4.5, None)),
        ("without a checksum", {"sha256": None}),
    ],
)
def test_a_manifest_that_names_files_elsewhere_is_refused(tmp_path, name, more):
    store = make_store(tmp_path, HOSTS)
    path = store.generation_folder(1) / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["files"][name] = {"size": 4, "sha256": hashlib.sha256(b"evil").hexdigest(), **more}
    path.write_text(json.dumps(manifest))

    async def scene():
        async with listening(store, AppSettings(store=store)) as (serving, _):
            copy = ServerStore(tmp_path / "copy")
            replica = Replica(copy, UpstreamSettings(url=f"http://127.0.0.1:{serving.port}"))
            with pytest.raises(PatternError, match="names an impossible file"):
                await replica.pull()
            await replica.aclose()
            assert copy.generations() == []

    asyncio.run(scene())


def test_a_publisher_that_goes_back_is_followed_and_told_of(tmp_path, caplog):
    store = make_store(tmp_path, HOSTS)
    put(store, [*HOSTS, "new.example"], replace=True)
    out(store)
    meter = Meter()

    async def scene():
        async with listening(store, AppSettings(store=store)) as (serving, _):
            copy = ServerStore(tmp_path / "copy")
            upstream = UpstreamSettings(url=f"http://127.0.0.1:{serving.port}")
            replica = Replica(copy, upstream, meter=meter)
            assert await replica.pull() == 2
            assert meter.gauges["upstream_went_back"] == 0
            rollback(store)
            assert await replica.pull() == 1
            assert copy.current() == 1
            assert meter.gauges["upstream_went_back"] == 1
            assert "went back from generation 2 to 1" in caplog.text
            await replica.aclose()
            meter.gauges.clear()
            replica = Replica(copy, upstream, meter=meter)  # a restart forgets nothing
            assert await replica.pull() is None
            assert meter.gauges["upstream_went_back"] == 1
            assert status(copy).upstream == ("the publisher went back to generation 1 from 2",)
            put(store, [*HOSTS, "newer.example"], replace=True)
            out(store)
            assert await replica.pull() == 3
            assert meter.gauges["upstream_went_back"] == 0
            assert status(copy).upstream == ()
            await replica.aclose()

    asyncio.run(scene())


def test_a_publisher_that_cannot_be_reached_is_reported_in_words(tmp_path):
    async def scene():
        replica = Replica(ServerStore(tmp_path), UpstreamSettings(url=f"http://127.0.0.1:{free_port()}"))
        with pytest.raises(ServiceError, match="cannot fetch current: All connection attempts failed"):
            await replica.pull()
        await replica.aclose()

    asyncio.run(scene())


@asynccontextmanager
async def replica_of_two_generations(tmp_path):
    """A publisher that serves, and a replica that has pulled both of its generations."""
    store = make_store(tmp_path, HOSTS)
    put(store, [*HOSTS, "new.example"], replace=True)
    async with listening(store, AppSettings(store=store)) as (serving, _):
        copy = ServerStore(tmp_path / "copy")
        replica = Replica(copy, UpstreamSettings(url=f"http://127.0.0.1:{serving.port}"))
        assert await replica.pull() == 1
        out(store)
        assert await replica.pull() == 2
        yield copy, replica
        await replica.aclose()


@pytest.mark.parametrize("at", ["a new generation", "one that is here"])
def test_a_replica_beside_a_long_import_goes_on_serving(tmp_path, monkeypatch, at):
    tried = []

    def counted(path, **how):
        tried.append(path)
        return take_lock(path, **how)

    async def scene():
        async with replica_of_two_generations(tmp_path) as (copy, replica):
            if at == "a new generation":
                shutil.rmtree(copy.generation_folder(1))
            rollback(ServerStore(tmp_path / "server"))
            lock = take_lock(copy.root / "lock")
            monkeypatch.setattr(store_module, "take_lock", counted)
            monkeypatch.setattr(store_module, "WRITER_WAIT_S", 5.0)
            pull = asyncio.create_task(replica.pull())
            while not tried and not pull.done():
                await asyncio.sleep(0.01)
            os.close(lock)  # by the loop, which would never come here if it waited itself
            assert await pull == 1 == copy.current()

    asyncio.run(scene())


def damage(path):
    path.write_bytes(bytes(reversed(path.read_bytes())))


def test_a_replica_whose_files_changed_under_it_fetches_them_again(tmp_path):
    async def scene():
        async with replica_of_two_generations(tmp_path) as (copy, replica):
            replica.verify()
            assert copy.current() == 2
            # one of both generations (a link), one of the last alone
            for name in ("mw-8b.raw", "gc-32b.raw"):
                damage(copy.generation_folder(2) / name)
            replica.verify()
            assert copy.generations() == []
            assert await replica.pull() == 2
            Generation(copy.generation_folder(2)).verify()

    asyncio.run(scene())


def test_a_replica_goes_back_to_what_is_whole_until_it_has_the_rest_again(tmp_path):
    async def scene():
        async with replica_of_two_generations(tmp_path) as (copy, replica):
            damage(copy.generation_folder(2) / "mw-8b.raw")
            replica.verify()
            assert copy.current() == 1
            assert await replica.pull() == 2
            assert replica.state.behind is None

    asyncio.run(scene())


@pytest.mark.parametrize("name", ["manifest.json", "mw-8b.raw"])
def test_a_damaged_earlier_generation_keeps_no_other_from_being_fetched(tmp_path, name):
    async def scene():
        async with replica_of_two_generations(tmp_path) as (copy, replica):
            (copy.generation_folder(1) / name).unlink()  # half removed, say
            (copy.generation_folder(1) / name).touch()
            publisher = ServerStore(tmp_path / "server")
            put(publisher, ["newest.example"], name="newest.txt")
            out(publisher)
            assert await replica.pull() == 3
            Generation(copy.generation_folder(3)).verify()

    asyncio.run(scene())


@pytest.mark.parametrize("pulled", [1, 2])
def test_a_publisher_that_was_set_up_anew_is_followed_though_its_numbers_were_there_before(tmp_path, pulled):
    first = make_store(tmp_path / "first", HOSTS[:40])
    second = make_store(tmp_path / "second", HOSTS)
    copy = ServerStore(tmp_path / "copy")
    reader = FileReader(copy)

    async def pull(store):
        async with listening(store, AppSettings(store=store)) as (serving, _):
            replica = Replica(copy, UpstreamSettings(url=f"http://127.0.0.1:{serving.port}"))
            found = await replica.pull(), await replica.pull()
            await replica.aclose()
        return found

    async def scene():
        for number in range(1, pulled + 1):
            if number > 1:
                put(first, ["new.example"])
                out(first)
            assert await pull(first) == (number, None)
        assert await reader.refresh()
        assert await pull(second) == (1, None)
        assert await reader.refresh()
        assert not await reader.refresh()
        assert (await reader.search([full_hash(f"{HOSTS[-1]}/")[:4]]))[1] == 1
        assert [each.name for each in copy.generations_folder.glob(".*")] == []

    asyncio.run(scene())


def test_only_published_files_are_handed_out(tmp_path):
    store = make_store(tmp_path, HOSTS)

    async def scene():
        async with listening(store, AppSettings(store=store)) as (_, client):
            for path in (
                "publisher.key",
                "own.json",
                "generations/../publisher.key",
                "generations/000001/../../lock",
                "sources",
            ):
                assert (await client.get(f"/published/{path}")).status_code == 404
            assert (await client.get("/published/current")).text == "1\n"

    asyncio.run(scene())
