"""When to do something again: backoff after failures, and the fetching of lists.

**Theory.** Retrying at once hurts a server that is in trouble, and many clients that retry in step
hurt it together. So waits double with each failure up to a cap, and each is spread by fresh
randomness that the caller passes in (`jitter` in [0, 1)). What a server itself asks for
(`Retry-After`, `minimum_wait_duration`) is a lower bound, within a cap of ours: a server must not be
able to switch us off for a year.

```
Update: state     event                        next due
idle              started                      now + start delay (random)
any               updated(wait)                now + max(wait, poll), clamped; wait 0: at once (more to come)
any               failed (n in a row)          now + backoff(n), at least Retry-After
```
"""

from dataclasses import dataclass
from typing import Final

MINUTE_S: Final = 60.0
DAY_S: Final = 86_400.0
MAX_DOUBLINGS: Final = 64


@dataclass(frozen=True, slots=True)
class Backoff:
    """Doubling waits with jitter: min(first_s * 2**(n-1) * (1 + jitter), cap_s) after n failures in a row.

    This is Safe Browsing's formula (there with 15 min and 24 h); ours starts at a second.
    """

    first_s: float = 1.0
    cap_s: float = 300.0

    def delay_s(self, failures: int, jitter: float) -> float:
        """Seconds to wait after that many failures in a row (from 1); `jitter` in [0, 1)."""
        return min(self.cap_s, self.first_s * 2.0 ** min(failures - 1, MAX_DOUBLINGS) * (1.0 + jitter))


GOOGLE: Final = Backoff(first_s=15 * MINUTE_S, cap_s=DAY_S)
RECHECK: Final = Backoff(first_s=MINUTE_S, cap_s=60 * MINUTE_S)


class UpdateSchedule:
    """When the lists of one server are to be fetched next; times are monotonic seconds.

    `poll_s` is our own pace, `bounds_s` clamps what the server asks for.
    """

    __slots__ = ("_backoff", "_bounds_s", "_poll_s", "due_at", "failures")

    def __init__(
        self,
        *,
        poll_s: float = 30.0,
        bounds_s: tuple[float, float] = (5.0, DAY_S),
        backoff: Backoff | None = None,
    ) -> None:
        self.due_at = 0.0
        self.failures = 0
        self._poll_s = poll_s
        self._bounds_s = bounds_s
        self._backoff = backoff if backoff is not None else Backoff()

    def started(self, now: float, jitter: float, *, spread_s: float) -> None:
        """Plan the first fetch, somewhere within `spread_s` from now."""
        self.due_at = now + spread_s * jitter

    def updated(self, now: float, *, wait_s: float | None = None) -> None:
        """Plan after a success; `wait_s` is the server's `minimum_wait_duration`, 0: it has more to send."""
        self.failures = 0
        if wait_s == 0:
            self.due_at = now
            return
        low, high = self._bounds_s
        self.due_at = now + max(self._poll_s, min(max(wait_s or 0.0, low), high))

    def failed(self, now: float, jitter: float, *, asked_s: float = 0.0) -> None:
        """Plan after a failure; `asked_s` is what `Retry-After` asked for."""
        self.failures += 1
        self.due_at = now + max(self._backoff.delay_s(self.failures, jitter), min(asked_s, DAY_S))

    def announced(self, now: float) -> None:
        """Plan at once: the server has a new generation; a running backoff is kept."""
        if not self.failures:
            self.due_at = min(self.due_at, now)
