"""Identifiers of events: 26 letters of Crockford's base 32 that sort by time (the ULID format).

48 bits of milliseconds, then 80 random bits; within one millisecond the random part counts up, so
that identifiers of one process never run backwards while its clock does not.
"""

import os
import threading

_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [high + low for high in _LETTERS for low in _LETTERS]  # ten bits at a time
_RANDOM_BITS = 80


class Identifiers:
    """Makes identifiers; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def new(self, now: float) -> str:
        """Make the identifier of something that happens at `now` (Unix seconds)."""
        milliseconds = max(0, int(now * 1000)) & ((1 << 48) - 1)
        with self._lock:
            if self._last >> _RANDOM_BITS == milliseconds:
                self._last += 1
            else:
                # the top bit stays free, so that counting up never runs over into the time
                noise = int.from_bytes(os.urandom(10)) >> 1
                self._last = milliseconds << _RANDOM_BITS | noise
            value = self._last
        return "".join([_PAIRS[value >> shift & 1023] for shift in range(120, -1, -10)])
