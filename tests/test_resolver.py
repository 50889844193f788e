"""Names to addresses: what is shared, remembered and bounded when DNS does not answer."""

import asyncio
import socket
import threading
from collections import Counter

import pytest

from secondlook.resolver import Place, Resolver

GOOD = (Place(socket.AF_INET, "192.0.2.1"),)


class System:
    """The system's resolver as far as these stories need one: names under `dead` answer when they are let."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.let = threading.Event()

    def __call__(self, host):
        self.asked[host] += 1
        if "dead" in host:
            self.let.wait(30)
            return socket.gaierror(socket.EAI_AGAIN, "no answer")
        return GOOD


@pytest.fixture
def system():
    it = System()
    yield it
    it.let.set()


class Time:
    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def test_the_systems_answers():
    async def scene():
        names = Resolver()
        assert [each.text for each in await names.places("127.0.0.1")] == ["127.0.0.1"]
        assert "127.0.0.1" in {each.text for each in await names.places("localhost")}
        assert [each.text for each in await names.places("0x7f.1")] == ["127.0.0.1"], "as the system reads it"
        # the system reads a name up to its first NUL: what was judged would not be what is connected to
        for name in ("no-such-name.invalid", "x" * 300, "a..b", "localhost\0.a.test", "\0"):
            with pytest.raises(socket.gaierror):
                await names.places(name)

    asyncio.run(scene())


def test_one_lookup_serves_all_who_wait_and_is_remembered_for_a_while(system):
    async def scene():
        clock = Time()
        names = Resolver(system=system, monotonic=clock)
        found = await asyncio.gather(*(names.places(name) for name in ("A.test", "a.test", "a.test")))
        assert found == [GOOD] * 3
        clock.at = 9.0
        await names.places("a.test")
        assert system.asked == {"a.test": 1}
        clock.at = 11.0
        await names.places("a.test")
        assert system.asked == {"a.test": 2}

    asyncio.run(scene())


def test_a_failure_is_remembered_for_as_long_as_it_took(system):
    async def scene():
        clock = Time()
        names = Resolver(system=system, monotonic=clock)
        waiting = asyncio.ensure_future(names.places("dead.test"))
        await asyncio.sleep(0)
        clock.at = 4.0
        system.let.set()
        with pytest.raises(socket.gaierror):
            await waiting
        clock.at = 7.9
        with pytest.raises(socket.gaierror):
            await names.places("dead.test")
        assert system.asked["dead.test"] == 1
        clock.at = 8.1
        with pytest.raises(socket.gaierror):
            await names.places("dead.test")
        assert system.asked["dead.test"] == 2

    asyncio.run(scene())


def test_names_that_never_answer_leave_others_a_place(system):
    async def scene():
        names = Resolver(system=system, lookups=16)
        dead = [asyncio.ensure_future(names.places(f"dead{n}.test", asker="hostile")) for n in range(40)]
        await asyncio.sleep(0)
        assert len(system.asked) == 8, "half of all, and no more"
        async with asyncio.timeout(20):
            assert await names.places("good.test", asker="honest") == GOOD
        more = [asyncio.ensure_future(names.places(f"more-dead{n}.test", asker="second")) for n in range(40)]
        async with asyncio.timeout(20):
            assert await names.places("another.test", asker="honest") == GOOD
        system.let.set()
        await asyncio.gather(*dead, *more, return_exceptions=True)
        assert len(system.asked) == 82, "who waited had its turn"

    asyncio.run(scene())


def test_nobody_waits_for_ever(system):
    async def scene():
        names = Resolver(system=system, answer_s=0.01)
        with pytest.raises(socket.gaierror, match="no answer within"):
            await names.places("dead.test")

    asyncio.run(scene())


def test_a_lookup_keeps_no_loop_from_ending(system):
    async def scene():
        waiting = asyncio.ensure_future(Resolver(system=system).places("dead.test"))
        await asyncio.sleep(0)
        waiting.cancel()

    asyncio.run(scene())
    system.let.set()
