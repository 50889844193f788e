"""A circuit for each server: when to ask it, when to leave it alone, when to try again.

**Theory.** A server that failed `failures` times in a row is not asked any more (*open*), so that checks
never wait for it. After a backoff that doubles with each failed probe one background probe is sent (*half
open*): its success closes the circuit, its failure opens it again for longer. Traffic is let through only
while the circuit is closed. Answers slowed down by 429 are not failures and never come here.

Two rules hold whatever happens:

1. any usable answer closes the circuit, also a late one: the server is evidently there;
2. at most one probe is out at a time, and one that is never heard of again counts as failed after
   `probe_timeout_s`, so that a lost task cannot keep a server out for ever.

```
state      event                            next state  effect
closed     succeeded                        closed      failures in a row = 0
closed     failed, fewer than `failures`    closed      failures in a row + 1
closed     failed, the last one allowed     open        probe_at = now + backoff(1)
open       succeeded (late answer)          closed      reset
open       failed (late failure)            open        -
open       probe, before probe_at           open        refused
open       probe, at probe_at or later      half_open   the caller sends one probe
half_open  succeeded                        closed      reset
half_open  failed                           open        probe_at = now + backoff(n + 1)
half_open  probe, within probe_timeout_s    half_open   refused
half_open  probe, later                     half_open   the caller sends another one
```

Times are monotonic seconds; `jitter` is fresh randomness in [0, 1) from the caller.
"""

from enum import StrEnum
from typing import Final

from secondlook.core.asking.schedule import Backoff

FAILURES: Final = 3
PROBE_TIMEOUT_S: Final = 30.0


class CircuitState(StrEnum):
    """What a circuit lets through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Circuit:
    """The state of one server as one process sees it; `probe_at` is when an open one may be tried."""

    __slots__ = (
        "_backoff",
        "_failures",
        "_opened",
        "_probe_timeout_s",
        "failed_in_a_row",
        "probe_at",
        "state",
    )

    def __init__(
        self,
        *,
        failures: int = FAILURES,
        backoff_s: float = 1.0,
        backoff_max_s: float = 300.0,
        probe_timeout_s: float = PROBE_TIMEOUT_S,
    ) -> None:
        self.state = CircuitState.CLOSED
        self.probe_at: float | None = None
        self.failed_in_a_row = 0
        self._failures = failures
        self._backoff = Backoff(backoff_s, backoff_max_s)
        self._probe_timeout_s = probe_timeout_s
        self._opened = 0

    def admits(self) -> bool:
        """Return whether traffic may ask this server."""
        return self.state is CircuitState.CLOSED

    def succeeded(self) -> bool:
        """Note a usable answer; True when that closed the circuit."""
        closes = self.state is not CircuitState.CLOSED
        self.state = CircuitState.CLOSED
        self.probe_at = None
        self.failed_in_a_row = 0
        self._opened = 0
        return closes

    def failed(self, now: float, jitter: float) -> bool:
        """Note a failure; True when that opened a closed circuit."""
        if self.state is CircuitState.OPEN:
            return False
        self.failed_in_a_row += 1
        was_closed = self.state is CircuitState.CLOSED
        if was_closed and self.failed_in_a_row < self._failures:
            return False
        self._opened += 1
        self.state = CircuitState.OPEN
        self.probe_at = now + self._backoff.delay_s(self._opened, jitter)
        return was_closed

    def probe(self, now: float) -> bool:
        """Return whether the caller is to send a probe now; True claims it."""
        if self.state is CircuitState.CLOSED or self.probe_at is None or now < self.probe_at:
            return False
        self.state = CircuitState.HALF_OPEN
        self.probe_at = now + self._probe_timeout_s
        return True
