"""Waits after failures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.core.asking.schedule import GOOGLE_BACKOFF, Backoff

jitters = st.floats(0.0, 1.0, exclude_max=True)
MINUTE_S = 60


@pytest.mark.parametrize(
    ("failures", "low", "high"),
    [
        (1, 15, 30),
        (2, 30, 60),
        (3, 60, 120),
        (4, 120, 240),
        (5, 240, 480),
        (6, 480, 960),
        (7, 960, 1440),
        (8, 1440, 1440),
    ],
)
def test_the_published_ranges_of_safe_browsing(failures, low, high):
    assert GOOGLE_BACKOFF.delay_s(failures, 0.0) == low * MINUTE_S
    assert GOOGLE_BACKOFF.delay_s(failures, 0.999999) == pytest.approx(high * MINUTE_S, rel=1e-5)


@given(st.integers(1, 10_000), jitters)
def test_bounds_hold_for_any_number_of_failures(failures, jitter):
    assert 1.0 <= Backoff().delay_s(failures, jitter) <= 300.0
    assert GOOGLE_BACKOFF.delay_s(failures, jitter) <= 86_400.0
