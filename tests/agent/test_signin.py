"""Who tries passwords is seen in the log, once a minute."""

import asyncio
import itertools

import pytest

from agentkit.virtual import FakeClock, VirtualLoop
from secondlook.agent import signin
from secondlook.agent.signin import QUIET_S, RefusedPasswords
from secondlook.core.event import EventKind
from secondlook.ledger.log.privacy import Discretion


@pytest.fixture
def told():
    return []


@pytest.fixture
def during(told):
    """Give a function that runs a scene in virtual time and gives what was told by its end."""

    def run(scene):
        loop = VirtualLoop()
        passwords = RefusedPasswords(told.append, FakeClock(loop), "the proxy")
        loop.run_until_complete(scene(passwords))
        loop.close()
        return [(event.client, event.attempts, event.detail) for event in told]

    return run


def test_the_first_is_told_at_once_and_the_rest_of_its_minute_together(during):
    async def scene(passwords):
        for _ in range(12):
            passwords.note("192.0.2.1")
            await asyncio.sleep(1)
        passwords.note("192.0.2.2")
        await asyncio.sleep(3 * QUIET_S)
        passwords.note("192.0.2.1")

    one = "a password was refused at the proxy"
    assert during(scene) == [
        ("192.0.2.1", 1, one),
        ("192.0.2.2", 1, one),
        ("192.0.2.1", 11, "11 passwords were refused in a minute at the proxy"),
        ("192.0.2.1", 1, one),
    ]


def test_who_goes_on_is_told_of_once_a_minute(during, told):
    async def scene(passwords):
        for _ in range(600):
            passwords.note("2001:db8::1")
            passwords.note("2001:db8::2")  # of the same network
            await asyncio.sleep(1)
        await asyncio.sleep(2 * QUIET_S)

    rows = during(scene)
    assert sum(count for _, count, _ in rows) == 1200
    assert len(rows) == 11
    times = [event.time for event in told]
    assert all(later - before >= QUIET_S for before, later in itertools.pairwise(times))


def test_many_addresses_are_told_together(during, monkeypatch):
    monkeypatch.setattr(signin, "MOST_CLIENTS", 2)

    async def scene(passwords):
        for number in range(10):
            passwords.note(f"192.0.2.{number}")
        await asyncio.sleep(QUIET_S)

    together = "passwords were refused in a minute at the proxy from many other addresses"
    assert [row[:2] for row in during(scene)] == [("192.0.2.0", 1), ("192.0.2.1", 1), (None, 1), (None, 7)]
    assert during(scene)[-1][2] == f"7 {together}"


def test_the_privacy_level_is_obeyed(during, told):
    async def scene(passwords):
        passwords.note("192.0.2.1")

    during(scene)
    (event,) = told
    assert (event.kind, event.stage) == (EventKind.ERROR, "sign_in")
    kept = Discretion(3).event(event)
    assert kept is not None
    assert "192.0.2.1" not in repr(kept)
    assert kept.detail == "a password was refused at the proxy"
