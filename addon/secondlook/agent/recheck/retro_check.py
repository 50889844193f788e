"""Late verdicts: what was allowed and remembered is held against everything that is learnt later.

```
new pattern generation ──┐
positive answer, recheck ┼─► every remembered hash ─► blocked by now ─► event late_verdict, actions, notice
(confirmed set grew) ────┤   of the last `history`                      └─► forgotten
start, a lease that ended┘
```

Being remembered is what marks a visit of which nothing was reported: that a subject is confirmed means only
that somebody knows it, as where another client asked for it later. What is interrupted stays remembered and
is taken up again when its lease has ended.

The work is done in a thread, batch by batch, at most once in a while however often it is asked for: the
longer it takes, the longer the pause, so that it has a tenth of the time at most.
"""

import asyncio
import logging
from collections.abc import Sequence
from itertools import batched

from secondlook.agent import metrics
from secondlook.agent.actions.enforcement import Enforcement
from secondlook.agent.check.evidence import from_entry, worse_of
from secondlook.agent.check.view import REBLOCK, LocalView, Snapshot
from secondlook.agent.ports import History
from secondlook.agent.recheck.batch_check import in_pattern
from secondlook.config.query import RecheckSettings
from secondlook.core.event import Remembered
from secondlook.core.verdict import Evidence
from secondlook.ground.clock import Clock
from secondlook.ground.errors import LedgerError
from secondlook.ground.lanes import LISTS
from secondlook.ground.tasks import woken

logger = logging.getLogger(__name__)

_AT_ONCE = 500
_SETTLE_S = 6.0
_AT_MOST_EVERY_S = 10.0
_REST = 9.0  # pause after a pass, in times that it took


class RetroCheck:
    """Holds the history against the view; one a ledger is enough, in the service."""

    def __init__(
        self,
        view: LocalView,
        history: History,
        enforcement: Enforcement,
        clock: Clock,
        settings: RecheckSettings,
    ) -> None:
        self._view = view
        self._history = history
        self._enforcement = enforcement
        self._clock = clock
        self._settings = settings
        self._wake = asyncio.Event()
        self._wake.set()  # what a stop interrupted
        self._left = False  # something is leased, or was not reached

    def trigger(self) -> None:
        """Look soon: the pattern or the confirmed set has changed."""
        self._wake.set()

    async def run(self) -> None:
        """Look at the start and whenever triggered, until cancelled."""
        while True:
            await woken(self._wake, self._settings.lease + 1.0 if self._left else None)
            # What was let through last is written down up to 5 s late (`Memory.remember`); and the second
            # look goes first: what is flagged as well is confirmed there, with its queue entry.
            await asyncio.sleep(_SETTLE_S)
            self._wake.clear()
            began = self._clock.monotonic()
            await self.look()
            took_s = self._clock.monotonic() - began
            await asyncio.sleep(max(_AT_MOST_EVERY_S, took_s * _REST))

    async def look(self) -> int:
        """Hold everything remembered against the view. Return how many late verdicts that gave."""
        if self._settings.history <= 0:
            return 0
        found, self._left = 0, False
        try:
            async for batch in self._history.remembered(since=self._clock.now() - self._settings.history):
                snapshot, now = self._view.current, self._clock.now()
                late = await LISTS.run(newly_listed, snapshot, batch, now)
                for part in batched(late.items(), _AT_ONCE):
                    report = await self._enforcement.late(dict(part))
                    found += report.found
                    self._left = self._left or report.left
        except LedgerError as error:
            self._left = True
            logger.warning("looking for late verdicts stops for now: %s", error)
            self._wake.set()
        except Exception:
            self._left = True
            metrics.INTERNAL_ERRORS.inc()
            logger.exception("looking for late verdicts failed; tried again at the next change")
            self._wake.set()
        return found


def newly_listed(snapshot: Snapshot, batch: Sequence[Remembered], now: float) -> dict[bytes, Evidence]:
    """Find what is listed by now among remembered subjects; by identity."""
    late: dict[bytes, Evidence] = {}
    for entry in batch:
        evidence = in_pattern(snapshot, entry.kind, entry.hashes, now)
        known = snapshot.known_bad(entry.hashes, now, counts=lambda other: other.source != REBLOCK)
        if known is not None and known.kind is entry.kind:
            evidence = worse_of(evidence, from_entry(known, now))
        if evidence is not None:
            late[entry.identity] = evidence
    return late
