"""Who may ask, and how much: client tokens and a request rate for each address."""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence

MAX_ADDRESSES = 100_000


class Tokens:
    """Client tokens, compared by their SHA-256 so that the time taken tells nothing about them."""

    def __init__(self, tokens: Iterable[str]) -> None:
        self._known = frozenset(hashlib.sha256(token.encode()).digest() for token in tokens)

    def __bool__(self) -> bool:
        return bool(self._known)

    def admits(self, headers: Sequence[tuple[bytes, bytes]], keys: Sequence[bytes]) -> bool:
        """Tell whether a request has a token: `Authorization: Bearer …`, or `key=…` as Google's clients."""
        for name, value in headers:
            if name == b"authorization" and value[:7].lower() == b"bearer ":
                keys = (*keys, value[7:].strip())
        return any(hashlib.sha256(key).digest() in self._known for key in keys)


class Rate:
    """A token bucket for each address; the addresses least recently seen are forgotten first."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, address: str, now: float) -> int:
        """Take one request of an address; 0 when it may go on, else seconds to wait. `now` is monotonic."""
        left, at = self._buckets.get(address, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._per_s)
        if left < 1:
            self._buckets[address] = (left, now)
            return max(1, math.ceil((1 - left) / self._per_s))
        self._buckets[address] = (left - 1, now)
        self._buckets.move_to_end(address)
        if len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        return 0
