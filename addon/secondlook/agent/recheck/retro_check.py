"""Late verdicts: what was allowed and remembered is held against everything that is learnt later.

```
new pattern generation ──┐
positive answer, recheck ┼─► every remembered hash ─► listed and not yet confirmed ─► confirmed path
(confirmed set grew) ────┘   of the last `history`     (event late_verdict, actions)
```

The work is done in a thread, batch by batch, at most once in a while however often it is asked for: the
longer it takes, the longer the pause, so that it has a tenth of the time at most.
"""

import asyncio
import logging
from collections.abc import Sequence
from itertools import batched

from secondlook.agent import metrics
from secondlook.agent.actions.enforcement import Enforcement
from secondlook.agent.check.evidence import from_entry
from secondlook.agent.check.view import REBLOCK, LocalView, Snapshot
from secondlook.agent.ports import History
from secondlook.agent.recheck.batch_check import in_pattern
from secondlook.core.event import Remembered
from secondlook.core.verdict import Evidence
from secondlook.ground.clock import Clock
from secondlook.ground.errors import LedgerError
from secondlook.ground.lanes import LISTS

logger = logging.getLogger(__name__)

_AT_ONCE = 500
_REST = 9.0  # pause after a pass, in times that it took


class RetroCheck:
    """Holds the history against the view; one a ledger is enough, in the service.

    `history_s` is how far back; `at_most_every_s` spaces the passes.
    """

    def __init__(
        self,
        view: LocalView,
        history: History,
        enforcement: Enforcement,
        clock: Clock,
        *,
        history_s: float = 7 * 86_400.0,
        at_most_every_s: float = 10.0,
        settle_s: float = 6.0,
    ) -> None:
        self._view = view
        self._history = history
        self._enforcement = enforcement
        self._clock = clock
        self._history_s = history_s
        self._at_most_every_s = at_most_every_s
        self._settle_s = settle_s
        self._wake = asyncio.Event()

    def trigger(self) -> None:
        """Look soon: the pattern or the confirmed set has changed."""
        self._wake.set()

    async def run(self) -> None:
        """Look whenever triggered, until cancelled."""
        while True:
            await self._wake.wait()
            # What was let through last is written down up to 5 s late (`Memory.remember`); and the second
            # look goes first: what is flagged as well is confirmed there, with its queue entry.
            await asyncio.sleep(self._settle_s)
            self._wake.clear()
            began = self._clock.monotonic()
            await self.look()
            took_s = self._clock.monotonic() - began
            await asyncio.sleep(max(self._at_most_every_s, took_s * _REST))

    async def look(self) -> int:
        """Hold everything remembered against the view. Return how many late verdicts that gave."""
        if self._history_s <= 0:
            return 0
        found = 0
        try:
            async for batch in self._history.remembered(since=self._clock.now() - self._history_s):
                snapshot, now = self._view.current, self._clock.now()
                late = await LISTS.run(newly_listed, snapshot, batch, now)
                for part in batched(late, _AT_ONCE):
                    entries = await self._history.recall(part)
                    findings = [(entry, late[entry.identity]) for entry in entries]
                    await self._enforcement.confirm(findings, late=True)
                    found += len(findings)
        except LedgerError as error:
            logger.warning("looking for late verdicts stops for now: %s", error)
            self._wake.set()
        except Exception:
            metrics.INTERNAL_ERRORS.inc()
            logger.exception("looking for late verdicts failed; tried again at the next change")
            self._wake.set()
        return found


def newly_listed(snapshot: Snapshot, batch: Sequence[Remembered], now: float) -> dict[bytes, Evidence]:
    """Find what is listed by now among remembered subjects, and was not dealt with before; by identity."""
    late: dict[bytes, Evidence] = {}
    for entry in batch:
        if (
            snapshot.confirmed.get(entry.identity) is not None
            or snapshot.passing.get(entry.identity) is not None
        ):
            continue
        evidence = in_pattern(snapshot, entry.kind, entry.hashes, now)
        if evidence is None:
            known = snapshot.known_bad(entry.hashes, now, counts=lambda other: other.source != REBLOCK)
            if known is None or known.kind is not entry.kind:
                continue
            evidence = from_entry(known, now)
        late[entry.identity] = evidence
    return late
