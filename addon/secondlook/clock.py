"""Time as an argument: the one place where the wall clock and the monotonic clock are read."""

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks: wall time for what is stored, monotonic time for what is waited for."""

    def now(self) -> float:
        """Wall time in Unix seconds (UTC)."""
        ...

    def monotonic(self) -> float:
        """Monotonic seconds; only differences mean anything."""
        ...


class SystemClock:
    """The machine's clocks."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
