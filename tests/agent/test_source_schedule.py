"""Which server of a tier is looked at, and when."""

from typing import Any

import pytest

from secondlook.agent.pattern.source import GOOGLE_START_S, UpdateSource
from secondlook.agent.pattern.source_schedule import SHORTEST_S, SourceSchedule
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
def schedule(time):
    return SourceSchedule([source("one"), source("two")], time, poll_s=30.0, reachable=lambda _: True)


def fail(schedule, name, times=1):
    for _ in range(times):
        pace = schedule.pace(source(name))
        schedule.plan(source(name), pace, failed=True)


def test_the_one_in_use_is_looked_at_until_it_failed_three_times(schedule):
    for failures, chosen in ((0, "two"), (2, "two"), (1, "one")):
        fail(schedule, "two", failures)
        assert schedule.choose(Tier.INTRANET, {"two"}).name == chosen
    assert schedule.choose(Tier.NETWORK, ()) is None


def test_of_those_that_failed_whoever_is_due_first_is_looked_at(schedule, time):
    fail(schedule, "one", 5)
    fail(schedule, "two", 3)
    assert schedule.choose(Tier.INTRANET, {"one"}).name == "two"
    schedule.pace(source("two")).due_at = time.at + 10_000
    assert schedule.choose(Tier.INTRANET, {"one"}).name == "one"


def test_nobody_is_looked_at_before_its_time_but_on_request(schedule, time):
    one = source("one")
    assert schedule.is_due(one, only_due=True)
    schedule.plan(one, schedule.pace(one), failed=False)
    assert not schedule.is_due(one, only_due=True)
    assert schedule.is_due(one, only_due=False)
    time.at += 30.0
    assert schedule.is_due(one, only_due=True)


def test_google_is_not_looked_at_before_its_time_on_request_either(schedule, time):
    google = source("google", Tier.NETWORK, google=True)
    assert schedule.is_due(google, only_due=False)
    schedule.paces.clear()
    assert not schedule.is_due(google, only_due=True), "clients do not come in step"
    assert not schedule.is_due(google, only_due=False)
    time.at += GOOGLE_START_S
    assert schedule.is_due(google, only_due=False)


def test_what_was_announced_is_due(time):
    own = source("embedded", Tier.LOCAL, announced=True)
    schedule = SourceSchedule([own, source("one")], time, poll_s=30.0, reachable=lambda _: True)
    for each in schedule.sources:
        schedule.plan(each, schedule.pace(each), failed=False)
    schedule.announced()
    assert [schedule.is_due(each, only_due=True) for each in schedule.sources] == [True, False]


def test_a_server_that_was_refused_answers_until_the_lists_of_another_are_good(schedule):
    one, two = schedule.sources
    assert not schedule.another_answers(two, {"one"})
    schedule.pace(one).refused = True
    assert schedule.another_answers(two, {"one"})
    assert not schedule.another_answers(two, {"two"})
    assert not schedule.another_answers(one, {"one"})
    assert schedule.forget_refusals_of_others(two) == {"two"}
    assert not schedule.another_answers(two, {"one"})


@pytest.mark.parametrize(
    ("reached", "due_in_s", "rest_s"),
    [(True, 12.0, 12.0), (True, -5.0, SHORTEST_S), (True, 99.0, 30.0), (False, -5.0, 30.0)],
)
def test_the_rest_lasts_until_something_within_reach_is_due(time, reached, due_in_s, rest_s):
    schedule = SourceSchedule([source("one")], time, poll_s=30.0, reachable=lambda _: reached)
    assert schedule.rest_s() == 30.0
    schedule.pace(schedule.sources[0]).due_at = time.at + due_in_s
    assert schedule.rest_s() == rest_s
