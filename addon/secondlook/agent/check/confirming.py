"""A positive answer becomes a finding: in force here at once, everywhere as soon as the ledger has it.

The URL of a bad file is a finding too, which ends by itself (`reblock`).
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine

from secondlook.agent.check.checker import Checker
from secondlook.agent.check.record import confirmed_entry, reblock_entry
from secondlook.agent.ports import ConfirmedSet
from secondlook.core.event import ConfirmedEntry
from secondlook.core.subject import FileSubject, RequestContext, Subject
from secondlook.core.verdict import Evidence
from secondlook.ground.clock import Clock
from secondlook.ground.errors import LedgerError

logger = logging.getLogger(__name__)

_AGAIN_S = 5.0
_STORED_S = 1.0  # what waits for a finding to be in force waits no longer for the ledger


class Confirming:
    """Puts findings in force, and keeps those that the ledger has not taken yet.

    `start` runs work in the background; `reblock_s` is how long the URL of a bad file is refused;
    `elsewhere_s` is how long other workers may take to hear of what the ledger has (0: there is no other).
    """

    def __init__(
        self,
        checker: Checker,
        confirmed: ConfirmedSet,
        clock: Clock,
        start: Callable[[Coroutine[None, None, None]], asyncio.Task[None]],
        *,
        reblock_s: float,
        elsewhere_s: float,
    ) -> None:
        self._checker = checker
        self._confirmed = confirmed
        self._clock = clock
        self._start = start
        self._reblock_s = reblock_s
        self._elsewhere_s = elsewhere_s
        self._unstored: dict[bytes, ConfirmedEntry] = {}
        self._storing: asyncio.Task[None] | None = None

    def confirm(self, subject: Subject, context: RequestContext, evidence: Evidence) -> None:
        """Put a positive answer in force."""
        self._put_in_force(confirmed_entry(evidence, subject, context, now=self._clock.now()))

    def reblock(self, url: str, file: FileSubject, context: RequestContext, evidence: Evidence) -> None:
        """Refuse the URL of a bad file for a while; then its content speaks again."""
        if evidence.blocked_by_rule or self._reblock_s <= 0:
            return
        now = self._clock.now()
        entry = confirmed_entry(evidence, file, context, now=now)
        self._put_in_force(reblock_entry(entry, self._checker.subject(url), until=now + self._reblock_s))

    async def in_force(self) -> None:
        """Wait until what was found here is in force in the other workers too, as far as is known."""
        if not self._elsewhere_s:
            return
        if self._storing is not None:
            await asyncio.wait([self._storing], timeout=_STORED_S)
        await asyncio.sleep(self._elsewhere_s)

    def _put_in_force(self, entry: ConfirmedEntry) -> None:
        self._checker.view.learn(entry)
        self._unstored[entry.identity] = entry
        if self._storing is None or self._storing.done():
            self._storing = self._start(self._store())

    async def _store(self) -> None:
        """Bring findings into the ledger; while it takes none they are in force here, and kept for it."""
        while self._unstored:
            entries = list(self._unstored.values())
            try:
                await self._confirmed.add_many([(entry, None, None) for entry in entries])
            except LedgerError as error:
                logger.warning("%d findings are in force in this process only: %s", len(entries), error)
                await asyncio.sleep(_AGAIN_S)
                continue
            for entry in entries:
                if self._unstored.get(entry.identity) is entry:  # else it was found anew meanwhile
                    del self._unstored[entry.identity]
                self._checker.view.stored(entry.hit)
