"""Time as an argument: the one place where the wall clock and the monotonic clocks are read."""

import time
from typing import Final, Protocol


class Clock(Protocol):
    """Three clocks: wall time for what is stored, monotonic time for what is waited for, elapsed time."""

    def now(self) -> float:
        """Wall time in Unix seconds (UTC)."""

    def monotonic(self) -> float:
        """Monotonic seconds; only differences mean anything."""

    def elapsed(self) -> float:
        """Monotonic seconds, those that the machine slept included where it counts them."""


def _with_sleep() -> float:
    return time.clock_gettime(_BOOT_CLOCK)


_BOOT_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", None) or time.CLOCK_MONOTONIC


class SystemClock:
    """The machine's clocks."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
    elapsed = staticmethod(_with_sleep)


class SettledTime:
    """Wall time for what ends something for good: it believes no jump forward of the machine's clock.

    It is the wall time, but never further ahead than what has elapsed since this object was made. A clock
    that was wrong then and is set right, either way, is followed back, not forward.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_s = clock.now() - clock.elapsed()

    def now(self) -> float:
        """Unix seconds (UTC), in doubt the earlier."""
        return min(self._clock.now(), self._clock.elapsed() + self._ahead_s)
