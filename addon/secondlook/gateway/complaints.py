"""What gateways send that cannot be read: written down, but not as often as it comes."""

import logging
import time
from collections.abc import Callable

from secondlook.core.event import Event, EventKind
from secondlook.ground.ulid import make_id

logger = logging.getLogger(__name__)

QUIET_S = 60.0  # between two events about lines that cannot be read: what comes meanwhile is counted


class Complaints:
    """Writes down that something cannot be read (`what`), at most once a minute; nothing of it is kept."""

    def __init__(
        self, record: Callable[[Event], None], what: str, now: Callable[[], float] = time.time
    ) -> None:
        self._record = record
        self._what = what
        self._now = now
        self._quiet_until = float("-inf")
        self._unreported = 0

    def __call__(self, why: str) -> None:
        """Log one, unless the last was a moment ago."""
        now = self._now()
        # a minute that began in the future was noted before the clock was set back
        if now < self._quiet_until <= now + QUIET_S:
            self._unreported += 1
            return
        self._quiet_until = now + QUIET_S
        before, self._unreported = self._unreported, 0
        detail = f"{self._what}: {why}"
        if before:
            detail += f"; {before} more since the last report"
        logger.warning("%s", detail)
        self._record(Event(id=make_id(now), kind=EventKind.ERROR, time=now, detail=detail))
