"""The embedded server: there from the first moment, with its test list, and telling of each generation."""

import asyncio
from contextlib import suppress
from functools import partial

import httpx
import pytest

from secondlook.config.service import FeedSettings, ServerSettings, UpstreamSettings
from secondlook.ground.clock import SystemClock
from secondlook.ground.errors import PatternError, ServiceError
from secondlook.ground.tcp import listen_on
from secondlook.server.administration import add_entry
from secondlook.server.embedded import EmbeddedServer
from secondlook.server.feeds.child import publish_in_child
from secondlook.server.publish.publishing import publish
from secondlook.server.service import ServerService
from secondlook.server.store.names import import_list
from secondlook.server.valkey.publisher import ValkeyPublisher
from secondlook.wire import safebrowsing_pb2 as pb
from serverkit import NOW, current, full_hash, make_store, put
from serverkit.valkey import single


def listed(store, expression):
    return current(store).table.has(full_hash(expression))


async def until(what, seconds=60):
    for _ in range(seconds * 20):
        if what():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come to pass")


def test_a_fresh_one_blocks_the_test_list_at_once(tmp_path):
    heard = []

    async def scene():
        server = EmbeddedServer(tmp_path / "server", SystemClock(), on_generation=heard.append)
        await server.start()
        assert (server.generation, heard) == (1, [1])
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
            assert (await client.get("/healthz")).text == "ok generation=1\n"
            answer = await client.get("/v5/hashes:search?hashPrefixes=FD31RA==")
            [found] = pb.SearchHashesResponse.FromString(answer.content).full_hashes
            assert found.full_hash == full_hash("malware.secondlook.test/")
            index = pb.ListHashListsResponse.FromString((await client.get("/v5/hashLists")).content)
            assert {"mw-8b", "se-8b", "x-file-mw-8b"} <= {each.name for each in index.hash_lists}
        for expression in ("malware.secondlook.test/", "phishing.secondlook.test/login"):
            assert listed(server.store, expression)
        await server.stop()

    asyncio.run(scene())


def test_feeds_come_in_beside_and_generations_are_told(tmp_path):
    heard, notices = [], []
    path = tmp_path / "feed.txt"
    path.write_text("evil.example\nlists.office.example\n")

    async def scene():
        feed = FeedSettings(name="file", path=path, every=1)
        server = EmbeddedServer(
            tmp_path / "server",
            SystemClock(),
            feeds=[feed],
            own_hosts=["lists.office.example/*"],
            on_generation=heard.append,
            on_feed=notices.append,
        )
        await server.start()
        await until(lambda: 2 in heard)
        assert notices[0].outcome == "taken"
        assert listed(server.store, "evil.example/")
        assert not listed(server.store, "lists.office.example/")
        put(server.store, ["own.example"], name="own.txt")
        report = await publish_in_child(server.store, now=SystemClock().now())
        await until(lambda: report.generation in heard)
        await server.stop()

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("current", b"\xb2\n"),
        ("current", None),
        ("generations/000002/manifest.json", b""),
        ("sources/0004-lines.txt/source.json", b""),
        ("sources/0004-lines.txt/records", b"x"),
        ("own.json", b"null"),
        ("feeds-off.json", b"\xff"),
    ],
)
def test_a_damaged_folder_keeps_it_from_nothing_but_publishing(tmp_path, suffixes, name, damage, caplog):
    """Its process does much else: the second look, updates from other servers, the review page."""

    async def scene():
        server = EmbeddedServer(tmp_path / "server", SystemClock())
        await server.start()
        put(server.store, ["evil.example"], name="lines.txt")
        add_entry(
            server.store, "own.example", target=import_list("mw-8b"), suffixes=suffixes, who="me", now=1.0
        )
        publish(server.store, now=1.0)
        await server.stop()
        path = server.store.root / name
        path.unlink(missing_ok=True)
        if damage is not None:
            path.write_bytes(damage)
        again = EmbeddedServer(tmp_path / "server", SystemClock())
        await again.start()
        assert again.generation in {1, 2}
        assert listed(again.store, "malware.secondlook.test/")
        if again.generation == 1:  # of which the last is damaged
            publish(again.store, now=2.0)
        assert listed(again.store, "evil.example/")
        await again.stop()

    asyncio.run(scene())
    assert not [record for record in caplog.records if record.exc_info]


def test_a_second_start_publishes_nothing_new(tmp_path):
    async def scene():
        for _ in range(2):
            server = EmbeddedServer(tmp_path / "server", SystemClock())
            await server.start()
            assert server.generation == 1
            await server.stop()

    asyncio.run(scene())


def test_a_publisher_its_valkey_store_and_a_replica_serve_the_same(tmp_path):
    async def scene():
        with single(tmp_path / "valkey") as (url, _):
            feed = tmp_path / "feed.txt"
            feed.write_text("evil.example\nfeeds.example\n")
            off = FeedSettings(name="off", url="https://feeds.example/list", enabled=False)
            publisher = ServerService(
                ServerSettings(
                    state=tmp_path / "publisher",
                    store=url,
                    feeds=(FeedSettings(name="file", path=feed), off),
                    access_log=tmp_path / "access.log",
                ),
                [listen_on("127.0.0.1", 0)],
            )
            await publisher.start()
            await until(lambda: publisher.reader.number == 1)
            reading = ServerService(
                ServerSettings(state=tmp_path / "reading", store=url), [listen_on("127.0.0.1", 0)]
            )
            await reading.start()
            upstream = UpstreamSettings(url=f"http://127.0.0.1:{publisher.serving.port}", every=0.2)
            replica = ServerService(
                ServerSettings(state=tmp_path / "replica", upstream=upstream), [listen_on("127.0.0.1", 0)]
            )
            await replica.start()
            await until(lambda: replica.reader.number == 1)
            prefix = full_hash("evil.example/")[:4]
            answers = [
                (await service.reader.search([prefix]))[0] for service in (publisher, reading, replica)
            ]
            assert answers[0]
            assert not listed(publisher.store, "feeds.example/")
            assert answers[0] == answers[1] == answers[2]
            written = (tmp_path / "access.log").read_text()  # while the publisher goes on
            assert written.endswith("}\n")
            assert "http" not in written
            for service in (replica, reading, publisher):
                await service.stop()

    asyncio.run(scene())


def test_a_valkey_store_that_lost_its_data_is_filled_again_and_another_publisher_noticed(tmp_path, caplog):
    async def scene():
        with single(tmp_path / "valkey") as (url, [node]):
            feed = tmp_path / "feed.txt"
            feed.write_text("evil.example\n")
            settings = ServerSettings(
                state=tmp_path / "publisher", store=url, feeds=(FeedSettings(name="file", path=feed),)
            )
            publisher = ServerService(settings, [listen_on("127.0.0.1", 0)])
            await publisher.start()
            await until(lambda: publisher.reader.number == 1)
            prefix = full_hash("evil.example/")[:4]
            assert await publisher.reader.search([prefix])
            for loss in (partial(node.cli, "flushall"), partial(node.lose, "secondlook:1:*:t:0")):
                await asyncio.to_thread(loss)
                for _ in range(3000):
                    with suppress(ServiceError, PatternError):
                        if (await publisher.reader.search([prefix]))[1]:
                            break
                    await asyncio.sleep(0.02)
                assert (await publisher.reader.search([prefix]))[1] == 1
            other = ValkeyPublisher(url)
            await other.push(current(make_store(tmp_path / "other", ["other.example"])), now=NOW)
            for _ in range(2):
                await publisher._look_through(other, 1)
            assert caplog.text.count("two servers publish into it") == 1
            await other.aclose()
            await publisher.stop()

    asyncio.run(scene())
