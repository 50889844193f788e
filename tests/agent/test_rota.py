"""Which server of a tier is looked at, and when."""

from typing import Any

import pytest

from secondlook.agent.pattern.rota import SHORTEST_S, Rota
from secondlook.agent.pattern.source import GOOGLE_START_S, UpdateSource
from secondlook.core.answer import Tier

NOBODY: Any = None  # is asked here


class Time:
    at = 1000.0

    def __call__(self):
        return self.at


def source(name, tier=Tier.INTRANET, **more):
    return UpdateSource(name=name, tier=tier, client=NOBODY, **more)


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def rota(time):
    return Rota([source("one"), source("two")], time, poll_s=30.0, reachable=lambda _: True)


def fail(rota, name, times=1):
    for _ in range(times):
        pace = rota.pace(source(name))
        rota.plan(source(name), pace, failed=True)


def test_the_one_in_use_is_looked_at_until_it_failed_three_times(rota):
    for failures, chosen in ((0, "two"), (2, "two"), (1, "one")):
        fail(rota, "two", failures)
        assert rota.choose(Tier.INTRANET, {"two"}).name == chosen
    assert rota.choose(Tier.NETWORK, ()) is None


def test_of_those_that_failed_whoever_is_due_first_is_looked_at(rota, time):
    fail(rota, "one", 5)
    fail(rota, "two", 3)
    assert rota.choose(Tier.INTRANET, {"one"}).name == "two"
    rota.pace(source("two")).due_at = time.at + 10_000
    assert rota.choose(Tier.INTRANET, {"one"}).name == "one"


def test_nobody_is_looked_at_before_its_time_but_on_request(rota, time):
    one = source("one")
    assert rota.is_due(one, only_due=True)
    rota.plan(one, rota.pace(one), failed=False)
    assert not rota.is_due(one, only_due=True)
    assert rota.is_due(one, only_due=False)
    time.at += 30.0
    assert rota.is_due(one, only_due=True)


def test_google_is_not_looked_at_before_its_time_on_request_either(rota, time):
    google = source("google", Tier.NETWORK, google=True)
    assert rota.is_due(google, only_due=False)
    rota.paces.clear()
    assert not rota.is_due(google, only_due=True), "clients do not come in step"
    assert not rota.is_due(google, only_due=False)
    time.at += GOOGLE_START_S
    assert rota.is_due(google, only_due=False)


def test_what_was_announced_is_due(time):
    own = source("embedded", Tier.LOCAL, announced=True)
    rota = Rota([own, source("one")], time, poll_s=30.0, reachable=lambda _: True)
    for each in rota.sources:
        rota.plan(each, rota.pace(each), failed=False)
    rota.announced()
    assert [rota.is_due(each, only_due=True) for each in rota.sources] == [True, False]


def test_a_server_that_was_refused_answers_until_the_lists_of_another_are_good(rota):
    one, two = rota.sources
    assert not rota.another_answers(two, {"one"})
    rota.pace(one).refused = True
    assert rota.another_answers(two, {"one"})
    assert not rota.another_answers(two, {"two"})
    assert not rota.another_answers(one, {"one"})
    assert rota.forget_refusals_of_others(two) == {"two"}
    assert not rota.another_answers(two, {"one"})


@pytest.mark.parametrize(
    ("reached", "due_in_s", "rest_s"),
    [(True, 12.0, 12.0), (True, -5.0, SHORTEST_S), (True, 99.0, 30.0), (False, -5.0, 30.0)],
)
def test_the_rest_lasts_until_something_within_reach_is_due(time, reached, due_in_s, rest_s):
    rota = Rota([source("one")], time, poll_s=30.0, reachable=lambda _: reached)
    assert rota.rest_s() == 30.0
    rota.pace(rota.sources[0]).due_at = time.at + due_in_s
    assert rota.rest_s() == rest_s
