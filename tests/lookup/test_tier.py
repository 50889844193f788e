"""The servers of one tier under one plan: who is asked, what is noted of each attempt, who is blamed."""

import asyncio

import pytest

from agentkit.virtual import VirtualLoop
from secondlook.config.query import CircuitSettings
from secondlook.core.answer import PrefixAnswer, Tier
from secondlook.core.asking.circuit import CircuitState
from secondlook.lookup.failure import Remedy, ServerFailure
from secondlook.lookup.member import TierMember
from secondlook.lookup.pace import Share
from secondlook.lookup.reading import SearchResult
from secondlook.lookup.tier import Manner, ServerTier

PREFIX = b"1234"


class Client:
    """A server that takes so long, and then answers or fails."""

    def __init__(self, name, *, delay_s=0.01, failure=None):
        self.name, self.google, self.delay_s, self.failure = name, False, delay_s, failure
        self.asked = 0
        self.closed = False

    async def search(self, prefixes, *, timeout_s):
        self.asked += 1
        await asyncio.sleep(self.delay_s)
        if self.failure is not None:
            raise ServerFailure(self.failure, Remedy.ELSEWHERE)
        answer = PrefixAnswer((), 0.0, 60.0, self.name, self.name)
        return SearchResult(dict.fromkeys(prefixes, answer))

    async def aclose(self):
        self.closed = True


@pytest.fixture
def loop():
    loop = VirtualLoop()
    yield loop
    loop.close()


def make_tier(loop, *clients, failures=1, **manner):
    members = [
        TierMember(
            client, Tier.INTRANET, CircuitSettings(failures=failures), monotonic=loop.time, draw=lambda: 0.5,
            on_change=lambda change: None,
        )
        for client in clients
    ]  # fmt: skip
    return ServerTier(Tier.INTRANET, members, Manner(**manner), monotonic=loop.time, draw=lambda: 0.5)


def ask(loop, tier, within_s=1.5):
    return loop.run_until_complete(tier.query([PREFIX], Share.BROWSING, loop.time() + within_s))


def attempts(outcome):
    return [(attempt.server, attempt.outcome) for attempt in outcome.attempts]


def test_the_first_that_answers_is_enough(loop):
    tier = make_tier(loop, Client("a"), Client("b"))
    outcome = ask(loop, tier)
    assert (outcome.answers[PREFIX].server, outcome.error) == ("a", None)
    assert attempts(outcome) == [("a", "answered")]


def test_where_one_fails_the_next_is_asked(loop):
    tier = make_tier(loop, Client("a", failure="refused"), Client("b"))
    outcome = ask(loop, tier)
    assert attempts(outcome) == [("a", "refused"), ("b", "answered")]
    assert not tier.open
    assert tier.members[0].circuit.state is CircuitState.OPEN


def test_what_every_attempt_came_to_is_the_reason(loop):
    outcome = ask(loop, make_tier(loop, Client("a", failure="refused"), Client("b", failure="status 500")))
    assert outcome.answers == {}
    assert outcome.error == "a: refused; b: status 500"


def test_what_a_server_came_to_again_and_again_is_said_once(loop):
    tier = make_tier(loop, Client("a", failure="refused"), failures=3)
    assert ask(loop, tier).error == "a: refused (3 times)"


def test_with_every_circuit_open_nobody_is_asked(loop):
    tier = make_tier(loop, Client("a", failure="refused"))
    ask(loop, tier)
    assert tier.open
    asked = tier.members[0].client.asked
    outcome = ask(loop, tier)
    assert outcome.error == "every server is away (circuit open)"
    assert tier.members[0].client.asked == asked


def test_a_server_that_takes_its_whole_time_is_blamed(loop):
    tier = make_tier(loop, Client("a", delay_s=60), attempt_timeout_s=0.5)
    began = loop.time()
    outcome = ask(loop, tier)
    assert attempts(outcome) == [("a", "timeout")]
    assert loop.time() - began <= 1.5
    assert tier.open


def test_a_server_that_had_less_time_than_is_fair_is_not(loop):
    tier = make_tier(loop, Client("a", delay_s=60), attempt_timeout_s=0.5)
    assert attempts(ask(loop, tier, within_s=0.2)) == [("a", "timeout")]
    assert not tier.open


def test_closing_closes_every_connection(loop):
    tier = make_tier(loop, Client("a"), Client("b"))
    ask(loop, tier)
    loop.run_until_complete(tier.aclose())
    assert all(member.client.closed for member in tier.members)
