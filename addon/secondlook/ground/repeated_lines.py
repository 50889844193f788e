"""Lines of the log that come again and again, left out: a peer could fill the disk by what it does wrong.

Two are alike that come from one place in the code and begin alike, as mitmproxy writes all lines about its
connections in one place. A fault with its traceback is a line here too.
"""

import copy
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

MOST: Final = 20  # alike within `WINDOW_S`
WINDOW_S: Final = 60.0
ALIKE: Final = 24  # so many characters at the beginning
MOST_KINDS: Final = 1000  # that are counted apart


@dataclass(slots=True)
class _Kind:
    since: float
    logged: int = 0
    left_out: int = 0


class RepeatedLines(logging.Filter):
    """Lets `MOST` lines of a kind pass in `WINDOW_S`; the next one after that says how many were left out."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._kinds: dict[tuple[str, int, int, str], _Kind] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool | logging.LogRecord:
        """Return whether a line is written, or the line to write in its place."""
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            return True  # the handler reports that its words and values do not fit
        with self._lock:
            left_out = self._count((record.pathname, record.lineno, record.levelno, text[:ALIKE]))
        if not left_out:
            return left_out is not None
        written = copy.copy(record)
        written.msg, written.args = f"{text} (before it {left_out} lines like it were left out)", None
        return written

    def _count(self, key: tuple[str, int, int, str]) -> int | None:
        """Count a line; return how many like it were left out before, None where it is left out too."""
        now = self._monotonic()
        kind = self._kinds.get(key)
        if kind is None or now - kind.since >= WINDOW_S:
            if len(self._kinds) >= MOST_KINDS:
                self._kinds.clear()
            before = kind.left_out if kind is not None else 0
            self._kinds[key] = _Kind(now, logged=1)
            return before
        if kind.logged < MOST:
            kind.logged += 1
            return 0
        kind.left_out += 1
        return None


def begin_log(form: str) -> None:
    """Log warnings and errors of a process to its standard error."""
    handler = logging.StreamHandler()
    handler.addFilter(RepeatedLines())
    logging.basicConfig(level=logging.WARNING, format=form, handlers=[handler])
