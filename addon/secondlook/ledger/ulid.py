"""Event and queue ids: 26 characters that sort by time and are unique across processes.

The form is that of ULID: 48 bits of milliseconds and 80 random bits, in Crockford's base 32.
"""

import os
import time

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 26
_PAIRS = [a + b for a in ALPHABET for b in ALPHABET]  # ten bits at a time: twice as fast as five


def make_id(at: float | None = None) -> str:
    """Make an id for the instant `at` (Unix seconds; None: now)."""
    moment = time.time() if at is None else at
    milliseconds = min(max(int(moment * 1000), 0), (1 << 48) - 1)
    number = (milliseconds << 80) | int.from_bytes(os.urandom(10), "big")
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in range(120, -1, -10)])


def id_time(text: str) -> float | None:
    """Tell the instant (Unix seconds) that an id carries; None when it is no such id."""
    if len(text) != LENGTH or any(char not in ALPHABET for char in text):
        return None
    value = 0
    for char in text[:10]:
        value = value * 32 + ALPHABET.index(char)
    return value / 1000
