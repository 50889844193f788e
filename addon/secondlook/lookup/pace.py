"""How a server's wish to be asked less often is met, for each share of the traffic apart.

429 and `Retry-After` are no failures: the circuit stays closed, the server is only left alone for a
while. Pages and downloads have a pace of their own each, so that a page full of fresh URLs which uses
up the server's patience does not push downloads into being flagged.

```
event                 state        the share may ask again
refused, Retry-After  any          after that
refused, no hint, 0   n-th in row  after backoff(n)
answered              any          at once; n = 0
```
"""

from enum import StrEnum

from secondlook.core.asking.schedule import Backoff


class Share(StrEnum):
    """Kinds of traffic with a pace and a lane of their own."""

    BROWSING = "browsing"
    DOWNLOADS = "downloads"


class Pace:
    """One server's paces; instants are monotonic seconds, `jitter` is fresh randomness in [0, 1)."""

    __slots__ = ("_backoff", "_ready_at", "_refusals")

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._ready_at = dict.fromkeys(Share, 0.0)
        self._refusals = dict.fromkeys(Share, 0)

    def ready_at(self, share: Share) -> float:
        """The instant from which this share may ask."""
        return self._ready_at[share]

    def slowed(self, share: Share) -> bool:
        """Return whether no answer has come since this share was turned away."""
        return self._refusals[share] > 0

    def refused(self, share: Share, now: float, jitter: float, *, asked_s: float | None) -> None:
        """Note that the server asked for patience, for `asked_s` if it named a time."""
        self._refusals[share] += 1
        wait_s = asked_s or self._backoff.delay_s(
            self._refusals[share], jitter
        )  # 0 may be a late clock's date
        self._ready_at[share] = max(self._ready_at[share], now + wait_s)

    def answered(self, share: Share) -> None:
        """Note an answer."""
        self._refusals[share] = 0
        self._ready_at[share] = 0.0
