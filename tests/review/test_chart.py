"""The chart: heights by the square root, parts that stand on each other, nothing that happened unseen."""

import pytest

from secondlook.review.pages.chart import BAR_STEP, HEIGHT, LEAST, chart


def bar(checked, blocked=0, flagged=0):
    return {"time": "2026-01-31T12:00:00.000Z", "checked": checked, "blocked": blocked, "flagged": flagged}


def height(drawn):
    return sum(part["height"] for part in drawn["parts"])


def test_a_busy_hour_does_not_flatten_the_others():
    drawn = chart([bar(8_000), bar(2_000), bar(80), bar(0)])
    assert [height(each) for each in drawn["bars"]] == pytest.approx(
        [HEIGHT, HEIGHT / 2, HEIGHT / 10, 0], abs=0.01
    )
    assert [each["x"] for each in drawn["bars"]] == [0, BAR_STEP, 2 * BAR_STEP, 3 * BAR_STEP]


@pytest.mark.parametrize(
    ("most", "top", "quarter"),
    [
        (0, 2, None),
        (1, 2, None),
        (3, 4, 1),
        (9, 20, 5),
        (21, 40, 10),
        (201, 400, 100),
        (80_000, 80_000, 20_000),
    ],
)
def test_the_figures_of_the_axis_are_round_and_hold_the_highest_bar(most, top, quarter):
    drawn = chart([bar(most)])
    assert (drawn["top"], drawn["quarter"]) == (top, quarter)


@pytest.mark.parametrize("counts", [(200, 50, 50), (7, 3, 1), (1, 1, 0), (100_000, 1, 1)])
def test_each_part_stands_on_the_one_before_and_is_seen(counts):
    (drawn,) = chart([bar(*counts)])["bars"]
    foot = float(HEIGHT)
    for part in drawn["parts"]:
        assert part["y"] + part["height"] == pytest.approx(foot, abs=0.02)
        assert part["height"] >= LEAST - 0.01
        assert part["y"] >= 0
        foot = part["y"]
    assert {part["kind"] for part in drawn["parts"]} <= {"blocked", "flagged", "allowed"}


def test_nothing_at_all_is_drawn_as_nothing():
    assert chart([])["bars"] == []
    assert [each["parts"] for each in chart([bar(0)] * 3)["bars"]] == [[], [], []]
