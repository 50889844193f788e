"""Judging a flagged download by its content: fetched again, hashed, asked about, and never cleared by it.

Downloads whose URL nobody lists are fetched once more after they were cleared (`recheck.refetch`); what
is listed then takes the confirmed path as a file. One at a time, and what does not fit the queue is
left out: this only ever adds to what the second look found.
"""

import asyncio
import logging

from secondlook.agent import metrics
from secondlook.agent.actions.enforcement import Enforcement
from secondlook.agent.check.evidence import is_listed
from secondlook.agent.recheck.batch_check import BatchCheck
from secondlook.agent.recheck.refetch import Refetcher, RefetchError
from secondlook.core.event import FlagEntry, QueueEntry
from secondlook.core.subject import FileSubject, SubjectKind
from secondlook.core.verdict import SubjectClass
from secondlook.ground.clock import Clock

logger = logging.getLogger(__name__)

_MOST_WAITING = 1000


class ContentCheck:
    """Fetches what `offer` gives it, one by one."""

    def __init__(
        self, refetcher: Refetcher, batch_check: BatchCheck, enforcement: Enforcement, clock: Clock
    ) -> None:
        self._refetcher = refetcher
        self._batch_check = batch_check
        self._enforcement = enforcement
        self._clock = clock
        self._waiting: asyncio.Queue[QueueEntry] = asyncio.Queue(_MOST_WAITING)

    def offer(self, entry: QueueEntry) -> None:
        """Take a cleared entry, if it is a download whose URL is known and there is room; never waits."""
        if entry.kind is SubjectKind.URL and entry.cls is SubjectClass.DOWNLOAD and entry.url:
            try:
                self._waiting.put_nowait(entry)
            except asyncio.QueueFull:
                logger.info("too many downloads wait to be fetched again; one is left out")

    async def run(self) -> None:
        """Fetch and judge until cancelled."""
        while True:
            await self.look(await self._waiting.get())

    async def look(self, entry: QueueEntry) -> bool:
        """Fetch one download again and confirm it if its content is listed. Return whether it was."""
        try:
            file = await self._refetcher.fetch(entry.url or "")
            found = remembered_file(entry, file)
            (evidence,) = await self._batch_check.check([found])
            if not is_listed(evidence):
                return False
            await self._enforcement.confirm([(found, evidence)], late=True)
        except RefetchError as error:
            logger.info("a download was not judged by its content: %s", error)
            return False
        except Exception:
            metrics.INTERNAL_ERRORS.inc()
            logger.exception("judging a download by its content failed inside")
            return False
        return True


def remembered_file(entry: QueueEntry, file: FileSubject) -> FlagEntry:
    """Make the record of the file that was fetched for a flagged URL."""
    return FlagEntry(
        identity=file.identity,
        kind=SubjectKind.FILE,
        cls=SubjectClass.DOWNLOAD,
        hashes=file.hashes,
        url=entry.url,
        host=entry.host,
        client=entry.clients[0] if entry.clients else None,
        time=entry.first_seen,
        reason="fetched again",
        sha256=file.identity.hex(),
        size=file.size,
        labels=file.labels,
    )
