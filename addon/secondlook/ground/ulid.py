"""Identifiers of events, rules and queue entries: 26 characters that sort by time, unique across processes.

The form is that of ULID: 48 bits of milliseconds and 80 random bits, in Crockford's base 32.
"""

import os
import threading
import time
from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH: Final = 26
_PAIRS = [high + low for high in ALPHABET for low in ALPHABET]  # ten bits at a time: twice as fast as five
_RANDOM_BITS = 80


def make_id(at: float | None = None) -> str:
    """Make an identifier for the instant `at` (Unix seconds; None: now)."""
    moment = time.time() if at is None else at
    return _text(_milliseconds(moment) << _RANDOM_BITS | int.from_bytes(os.urandom(10)))


def id_time(text: str) -> float | None:
    """Return the instant (Unix seconds) that an identifier carries; None where it is none."""
    if len(text) != LENGTH or any(char not in ALPHABET for char in text):
        return None
    value = 0
    for char in text[:10]:
        value = value * 32 + ALPHABET.index(char)
    return value / 1000


class Identifiers:
    """Makes identifiers that never run backwards while the clock does not; safe to share between threads.

    Within one millisecond the random part counts up.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def new(self, now: float) -> str:
        """Make the identifier of something that happens at `now` (Unix seconds)."""
        milliseconds = _milliseconds(now)
        with self._lock:
            if self._last >> _RANDOM_BITS == milliseconds:
                self._last += 1
            else:
                # the top bit stays free, so that counting up never runs over into the time
                self._last = milliseconds << _RANDOM_BITS | int.from_bytes(os.urandom(10)) >> 1
            value = self._last
        return _text(value)


def _milliseconds(moment: float) -> int:
    return min(max(int(moment * 1000), 0), (1 << 48) - 1)


def _text(value: int) -> str:
    return "".join([_PAIRS[value >> shift & 1023] for shift in range(120, -1, -10)])
