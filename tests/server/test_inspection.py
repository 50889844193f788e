"""What is served from a Valkey store, told on a machine that only reads it."""

import asyncio
import signal

import pytest

from secondlook.ground.errors import PatternError, ServiceError
from secondlook.server.publish.generation import Generation
from secondlook.server.valkey.inspection import check, look
from secondlook.server.valkey.publisher import ValkeyPublisher
from serverkit import NOW, make_store, out, put
from serverkit.valkey import single


def test_a_store_that_is_full_is_told_in_its_own_words(tmp_path):
    store = make_store(tmp_path, ["evil.example"])
    put(store, [f"worse{at}.example" for at in range(3000)], name="two.txt")
    out(store)
    first, second = (Generation(store.generation_folder(number)) for number in (1, 2))

    async def scene():
        with single(tmp_path / "valkey") as (url, [node]):
            publisher = ValkeyPublisher(url)
            await publisher.push(first, now=NOW)
            node.cli("config", "set", "maxmemory", "1")
            with pytest.raises(ServiceError) as told:
                await publisher.push(second, now=NOW)
            await publisher.aclose()
            assert "maxmemory" in str(told.value)
            assert "HSET" not in str(told.value)  # what follows are bytes of the lists
            assert str(told.value).startswith(
                "cannot write to the Valkey store: command not allowed when used memory"
            )
            found = await look(url, second)
            assert (found.holds, found.generation) == (True, 1)
            assert found.trouble.startswith(
                "the Valkey store has not taken generation 000002 and serves 000001"
            )

    asyncio.run(scene())


def test_a_reader_tells_what_is_served_and_by_whom_something_is_listed(tmp_path, suffixes):
    store = make_store(tmp_path, ["evil.example"])
    first = Generation(store.generation_folder(1))
    put(store, ["worse.example"], name="two.txt")
    out(store)
    second = Generation(store.generation_folder(2))

    async def scene():
        with single(tmp_path / "valkey") as (url, [node]):
            empty = await look(url, None)
            assert (empty.holds, empty.generation) == (False, None)
            assert "holds no generation" in empty.trouble
            publisher = ValkeyPublisher(url)
            await publisher.push(second, now=NOW)
            await publisher.aclose()
            found = await look(url, None)
            assert (found.holds, found.trouble, found.generation) == (True, None, 2)
            assert found.lists["mw-8b"] == second.lists["mw-8b"].count
            assert found.key == second.manifest["key"]
            assert (await look(url, second)).holds
            behind = await look(url, first)  # an old folder does not speak for the store
            assert (behind.holds, behind.generation) == (True, 2)
            [listed] = await check(url, "http://www.worse.example/any?x", suffixes=suffixes)
            assert (listed.expression, listed.list, listed.feeds) == ("worse.example/", "mw-8b", ("two.txt",))
            assert await check(url, "good.example", suffixes=suffixes) == []
            other = make_store(tmp_path / "other", ["other.example"])
            put(other, ["more.example"], name="more.txt")
            out(other)
            overtaken = await look(url, Generation(other.generation_folder(2)))
            assert overtaken.trouble.startswith("what is served was loaded by another publisher (key ")
            node.process.send_signal(signal.SIGSTOP)
            try:
                away = await look(url, None)
                assert (away.holds, away.generation) == (False, None)
                assert "cannot read from the Valkey store" in away.trouble
                with pytest.raises(PatternError, match="cannot read from the Valkey store"):
                    await check(url, "good.example", suffixes=suffixes)
            finally:
                node.process.send_signal(signal.SIGCONT)

    asyncio.run(scene())
