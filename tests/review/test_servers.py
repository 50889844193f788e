"""Statistics of servers: the ways of checks in order, their spread, and availability stretch by stretch."""

import pytest

from secondlook.ledger.log.counting import HOUR_S
from secondlook.ledger.log.statistics import Looks
from secondlook.review.operations.servers import availability, speed, ways

SINCE = 1_790_000_000.0 // HOUR_S * HOUR_S


@pytest.mark.parametrize(
    ("classes", "median_ms", "p95_ms"),
    [
        ({"1": 1}, 1, 1),
        ({"5": 18, "100": 2}, 5, 100),
        ({"5": 1, "inf": 1}, 5, None),
        ({"inf": 3}, None, None),
    ],
)
def test_half_and_nearly_all(classes, median_ms, p95_ms):
    found = speed("near", classes)
    assert (found["median_ms"], found["p95_ms"]) == (median_ms, p95_ms)


def test_ways_come_in_order_with_all_their_checks_in_the_spread():
    found = ways({"asked": {"20": 1, "inf": 1}, "local": {"1": 3, "2": 1}, "cached": {"1000": 2}})
    assert [each["name"] for each in found] == ["local", "cached", "asked"]
    assert [each["spread"] for each in found] == [
        [0.75, 0.25, 0, 0, 0],
        [0, 0, 0, 1, 0],
        [0, 0, 0.5, 0, 0.5],
    ]


def test_availability_says_when_and_where_nobody_looked():
    looks = [
        Looks("near", SINCE, 4, 4),
        Looks("near", SINCE + 2 * HOUR_S, 4, 1),
        Looks("far", SINCE + 2 * HOUR_S, 2, 0),
        Looks("near", SINCE + 3 * HOUR_S, 9, 0),  # past the last bar
    ]
    near, far = availability(looks, SINCE, HOUR_S, 3)
    assert (near["name"], near["share"]) == ("near", 0.625)
    assert [each["share"] for each in near["course"]] == [1.0, None, 0.25]
    assert [each["share"] for each in far["course"]] == [None, None, 0.0]
    assert near["course"][0]["until"] == near["course"][1]["time"]


def test_shorter_stretches_add_up_to_a_bar():
    looks = [Looks("near", SINCE + at * HOUR_S, 2, at % 2 * 2) for at in range(6)]
    (found,) = availability(looks, SINCE, 6 * HOUR_S, 1)
    assert [each["share"] for each in found["course"]] == [0.5]
