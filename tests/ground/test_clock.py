"""Time that jumps, seen by what ends things for good."""

import time

import pytest

from secondlook.ground.clock import SettledTime, SystemClock


class HandClock:
    """A clock whose wall time and elapsed time are moved by hand."""

    def __init__(self) -> None:
        self.wall = 1_000_000.0
        self.run = 50.0

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.run

    def elapsed(self) -> float:
        return self.run

    def wait(self, seconds: float) -> None:
        self.wall += seconds
        self.run += seconds


DAY_S = 86_400.0


@pytest.mark.parametrize("jump_s", [60 * DAY_S, 5.0])
def test_a_jump_forward_is_not_believed(jump_s):
    clock = HandClock()
    settled = SettledTime(clock)
    clock.wait(10.0)
    assert settled.now() == clock.now()
    right = clock.now()
    clock.wall += jump_s
    assert settled.now() == right
    clock.wait(7.0)
    assert settled.now() == right + 7.0


def test_a_jump_back_is_followed_and_the_way_forward_again_too():
    clock = HandClock()
    settled = SettledTime(clock)
    clock.wall -= 60 * DAY_S
    assert settled.now() == clock.now()
    clock.wait(3.0)
    assert settled.now() == clock.now()
    clock.wall += 60 * DAY_S
    assert settled.now() == clock.now()


def test_the_clocks_of_the_machine_run():
    clock = SystemClock()
    before = clock.elapsed()
    assert clock.elapsed() >= before >= 0.0
    assert abs(clock.now() - time.time()) < 60.0
