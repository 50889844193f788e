"""Waiting after failures.

**Theory.** Retrying at once hurts a server that is in trouble, and many clients that retry in step
hurt it together. So waits double with each failure in a row up to a cap, and each is spread by fresh
randomness, which the caller passes in.
"""

from dataclasses import dataclass
from typing import Final

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


GOOGLE_BACKOFF: Final = Backoff(first_s=15 * 60.0, cap_s=86_400.0)
