"""Who asks, who may, and how much: load balancers, client tokens and a request rate for each address."""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network

from secondlook.core.url.address import counted_address

MAX_ADDRESSES = 100_000


class Tokens:
    """Client tokens, compared by their SHA-256 so that the time taken reveals nothing about them."""

    def __init__(self, tokens: Iterable[str]) -> None:
        self._known = frozenset(hashlib.sha256(token.encode()).digest() for token in tokens)

    def __bool__(self) -> bool:
        return bool(self._known)

    def admits(self, headers: Sequence[tuple[bytes, bytes]], keys: Sequence[bytes]) -> bool:
        """Return whether a request has a token: `Authorization: Bearer …`, or `key=…` as Google's clients."""
        for name, value in headers:
            if name == b"authorization" and value[:7].lower() == b"bearer ":
                keys = (*keys, value[7:].strip())
        return any(hashlib.sha256(key).digest() in self._known for key in keys)


class Balancers:
    """Load balancers of ours: their word on the client is believed, that of anybody else is not."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = tuple(map(ip_network, networks))

    def client(self, peer: str, headers: Sequence[tuple[bytes, bytes]]) -> str:
        """Return the peer's address or, behind a balancer, the last that X-Forwarded-For names."""
        if not self._networks or not self.is_ours(peer):
            return peer
        forwarded = b",".join(value for name, value in headers if name == b"x-forwarded-for").decode(
            "latin-1"
        )
        for address in reversed([each.strip() for each in forwarded.split(",")]):
            if not self.is_ours(address):
                return address if _is_address(address) else peer
        return peer

    def is_ours(self, address: str) -> bool:
        """Return whether an address is one of the balancers'."""
        return _is_address(address) and any(ip_address(address) in network for network in self._networks)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


class Rate:
    """A token bucket for each address (of IPv6: one /64); those least recently seen are forgotten first."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, address: str, now: float) -> int:
        """Take one request of an address; 0 when it may go on, else seconds to wait. `now` is monotonic."""
        address = counted_address(address)  # who has one of IPv6 mostly has all of its /64
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
