"""Wrong passwords in the last minute, by address (of IPv6 its /64) and of all together: who has to wait.

Instants are monotonic seconds.
"""

from collections import deque
from typing import Final

from lru import LRU

from secondlook.core.url.address import counted_address

WINDOW_S: Final = 60.0
MOST_ADDRESSES: Final = 4096  # whose tries are remembered; those longest quiet are forgotten first


class WrongPasswords:
    """At most `most` wrong ones of an address in `WINDOW_S`, and `most_of_all` of all (None: any number)."""

    def __init__(self, most: int, most_of_all: int | None = None) -> None:
        self._most = most
        self._of: LRU[str, deque[float]] = LRU(MOST_ADDRESSES)
        self._all: deque[float] | None = None if most_of_all is None else deque(maxlen=most_of_all)

    def wait_s(self, address: str, now: float) -> float:
        """Return the seconds until one more may be made; 0 for now."""
        return max(_wait_s(self._of.get(counted_address(address)), now), _wait_s(self._all, now))

    def begin(self, address: str, now: float) -> None:
        """Count a try as wrong before it is verified: those that run at the same time count too."""
        key = counted_address(address)
        recent = self._of.get(key)
        if recent is None:
            recent = self._of[key] = deque(maxlen=self._most)
        for tries in (recent, self._all):
            if tries is not None:
                tries.append(now)

    def was_right(self, address: str) -> None:
        """Take a try back."""
        for tries in (self._of.get(counted_address(address)), self._all):
            if tries:
                tries.pop()


def _wait_s(tries: deque[float] | None, now: float) -> float:
    if tries is None or len(tries) < (tries.maxlen or 0):
        return 0.0
    return max(tries[0] + WINDOW_S - now, 0.0)
