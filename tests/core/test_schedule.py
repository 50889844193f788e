"""Backoff and the schedule of list updates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.core.schedule import DAY_S, GOOGLE, RECHECK, Backoff, UpdateSchedule

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
    assert GOOGLE.delay_s(failures, 0.0) == low * MINUTE_S
    assert GOOGLE.delay_s(failures, 0.999999) == pytest.approx(high * MINUTE_S, rel=1e-5)


@given(st.integers(1, 10_000), jitters)
def test_bounds_hold_for_any_number_of_failures(failures, jitter):
    assert 1.0 <= Backoff().delay_s(failures, jitter) <= 300.0
    assert 60.0 <= RECHECK.delay_s(failures, jitter) <= 3600.0
    assert GOOGLE.delay_s(failures, jitter) <= DAY_S


def test_the_first_fetch_is_spread():
    schedule = UpdateSchedule()
    schedule.started(100.0, 0.5, spread_s=60.0)
    assert schedule.due_at == 130.0


@pytest.mark.parametrize(
    ("wait_s", "due_at"), [(None, 30.0), (0.0, 0.0), (300.0, 300.0), (1.0, 30.0), (10 * DAY_S, DAY_S)]
)
def test_the_servers_wait_is_kept_within_bounds(wait_s, due_at):
    schedule = UpdateSchedule(poll_s=30.0)
    schedule.updated(0.0, wait_s=wait_s)
    assert schedule.due_at == due_at


def test_failures_back_off_and_retry_after_is_a_lower_bound():
    schedule = UpdateSchedule(backoff=Backoff(1.0, 300.0))
    schedule.failed(0.0, 0.0)
    assert (schedule.due_at, schedule.failures) == (1.0, 1)
    schedule.failed(10.0, 0.0, asked_s=50.0)
    assert schedule.due_at == 60.0
    schedule.failed(10.0, 0.0, asked_s=1e9)
    assert schedule.due_at == 10.0 + DAY_S
    schedule.updated(20.0)
    assert schedule.failures == 0


def test_an_announced_generation_is_fetched_at_once_unless_the_server_fails():
    schedule = UpdateSchedule()
    schedule.updated(0.0, wait_s=300.0)
    schedule.announced(10.0)
    assert schedule.due_at == 10.0
    schedule.failed(10.0, 0.5)
    schedule.announced(10.1)
    assert schedule.due_at == 11.5
