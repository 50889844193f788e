"""When a source is looked at next, and which of its lists are wanted."""

import asyncio

import pytest

from secondlook.agent.pattern.source import (
    GOOGLE_LEAST_S,
    GOOGLE_LISTS,
    GOOGLE_MOST_S,
    UpdateOutcome,
    UpdateSchedule,
    UpdateSource,
    served_generation,
    wanted_lists,
)
from secondlook.core.answer import Tier
from secondlook.wire import safebrowsing_pb2 as pb


class Server:
    def __init__(self, *lists):
        self.lists = lists

    async def hash_lists(self):
        return list(self.lists)

    async def health(self):
        raise AssertionError("not asked for here")

    async def generation(self):
        raise AssertionError("not asked for here")

    async def batch_get(self, names, versions=()):
        raise AssertionError("not asked for here")


class Silent(Server):
    async def hash_lists(self):
        raise AssertionError("nobody asks Google for its lists")


def described(name, *, complete=True, canary=b"", digests=()):
    each = pb.HashList(name=name)
    each.metadata.complete = complete
    each.metadata.canary = canary
    each.metadata.digest_kinds.extend(digests)
    return each


def source(*lists, google=False):
    return UpdateSource(name="office", tier=Tier.INTRANET, client=Server(*lists), google=google)


@pytest.mark.parametrize(
    ("google", "wait_s", "poll_s", "due_at"),
    [
        (False, 0.0, 30.0, 130.0),
        (False, 999.0, 30.0, 130.0),  # own servers are only polled
        (True, 0.0, 30.0, 100.0 + GOOGLE_LEAST_S),
        (True, float(1 << 62), 30.0, 100.0 + GOOGLE_MOST_S),
        (True, 1800.0, 30.0, 1900.0),
        (True, 1800.0, 3600.0, 3700.0),
    ],
)
def test_a_source_that_answered_is_looked_at_in_its_time(google, wait_s, poll_s, due_at):
    pace = UpdateSchedule(failures=3, wait_s=wait_s)
    pace.plan(source(google=google), 100.0, poll_s, 0.5, failed=False)
    assert (pace.due_at, pace.failures) == (due_at, 0)


@pytest.mark.parametrize(("google", "first_s", "cap_s"), [(False, 30.0, 3600.0), (True, 900.0, 86_400.0)])
def test_a_source_that_fails_is_left_alone_longer_each_time(google, first_s, cap_s):
    pace, waits = UpdateSchedule(), []
    for _ in range(12):
        pace.plan(source(google=google), 0.0, 30.0, 0.5, failed=True)
        waits.append(pace.due_at)
    assert waits == sorted(waits)
    assert first_s / 2 <= waits[0] <= first_s * 2
    assert waits[-1] <= cap_s * 2
    assert pace.failures == 12


def test_lists_that_decide_alone_and_are_whole_are_wanted():
    lists = [
        described("mw-8b", canary=b"c", digests=("sha256", "md5", "shake_128", "odd", *("md5",) * 1000)),
        described("mw-4b"),
        described("se-8b", complete=False),
        described("what-is-this"),
    ]
    wanted = asyncio.run(wanted_lists(source(*lists)))
    assert list(wanted) == ["mw-8b"]
    assert (wanted["mw-8b"].canary, wanted["mw-8b"].digests) == (b"c", ("sha256", "md5"))
    assert asyncio.run(wanted_lists(source(described("mw-8b"))))["mw-8b"].canary is None


@pytest.mark.parametrize(
    ("named", "generation"), [((), "7"), ((0, 0), "7"), ((6, 6), "6"), ((6, 7), ""), ((0, 7), "")]
)
def test_lists_are_of_the_generation_that_they_name(named, generation):
    assert served_generation("7", named) == generation


def test_of_google_its_own_lists_are_wanted_without_asking():
    assert (
        tuple(
            asyncio.run(wanted_lists(UpdateSource(name="g", tier=Tier.NETWORK, client=Silent(), google=True)))
        )
        == GOOGLE_LISTS
    )


def test_a_look_changed_something_where_a_list_was_taken():
    assert UpdateOutcome("office", taken={"mw-8b": 1}).changed
    assert not UpdateOutcome("office", generation="2", refused={"mw-8b": "small"}, error="away").changed
