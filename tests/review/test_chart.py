"""The chart: parts stand on each other, the busiest hour is as high as the drawing, nothing that happened is unseen."""

import pytest

from secondlook.review.chart import BAR_STEP, HEIGHT, LEAST, chart


def hour(checked, blocked=0, flagged=0):
    return {"time": "2026-01-31T12:00:00.000Z", "checked": checked, "blocked": blocked, "flagged": flagged}


def test_the_busiest_hour_is_as_high_as_the_drawing_and_the_others_in_proportion():
    full, half, empty = chart([hour(200, 50, 50), hour(100), hour(0)])
    assert [(part["kind"], part["height"]) for part in full["parts"]] == [
        ("blocked", HEIGHT / 4), ("flagged", HEIGHT / 4), ("allowed", HEIGHT / 2),
    ]  # fmt: skip
    assert sum(part["height"] for part in half["parts"]) == HEIGHT / 2
    assert all(part["height"] == 0 for part in empty["parts"])
    assert [bar["x"] for bar in (full, half, empty)] == [1, 1 + BAR_STEP, 1 + 2 * BAR_STEP]


@pytest.mark.parametrize("counts", [(200, 50, 50), (7, 3, 1), (1, 1, 0)])
def test_each_part_stands_on_the_one_before(counts):
    (bar,) = chart([hour(*counts)])
    foot = float(HEIGHT)
    for part in bar["parts"]:
        assert part["y"] + part["height"] == pytest.approx(foot, abs=0.02)
        foot = part["y"]


def test_a_single_block_among_thousands_is_seen_and_nothing_leaves_the_drawing():
    (bar,) = chart([hour(100_000, 1, 1)])
    blocked, flagged, allowed = bar["parts"]
    assert blocked["height"] == flagged["height"] == LEAST
    assert allowed["y"] == 0.0


def test_nothing_at_all_is_drawn_as_nothing():
    assert chart([]) == []
    assert {part["height"] for bar in chart([hour(0)] * 3) for part in bar["parts"]} == {0.0}
