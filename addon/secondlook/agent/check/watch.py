"""Keeps a process's view no older than a moment: rules, pauses and confirmed set, and the pattern.

Both are polled several times a second by a cheap number or stamp, each in a thread of its own: either may
block, and a database that stands still must keep no list from coming into force. What changed is read whole
and swapped in. What cannot be read stays as it was, is logged once and tried again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from secondlook.agent import metrics
from secondlook.agent.check.checker import Checker
from secondlook.agent.check.view import REBLOCK
from secondlook.agent.ports import Snapshots
from secondlook.core.event import ConfirmedEntry
from secondlook.core.lists.pattern import Pattern
from secondlook.core.rules.rule import Pause, Rule
from secondlook.core.rules.rulebook import RuleBook
from secondlook.ground.clock import Clock
from secondlook.ground.errors import SecondLookError
from secondlook.ground.lanes import PATTERN, VIEW

logger = logging.getLogger(__name__)

POLL_S = 0.2
ELSEWHERE_S = 0.3  # after a commit, until the other workers have looked and read it


type _Refresh = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Operator:
    rules: Sequence[Rule]
    pauses: Sequence[Pause]
    confirmed: Sequence[ConfirmedEntry]


class Watcher:
    """Refreshes one checker's view.

    `stamp` and `load` are the pattern's: a value that differs with every pattern in place, and the pattern
    itself. `fixed_rules` are those of the configuration; `on_pattern` is called when a pattern is in place
    that gives other answers than the one before, and `on_confirmed` when the confirmed set names a hash that
    it did not name before, but for addresses that are refused for their bad file.
    """

    def __init__(
        self,
        checker: Checker,
        snapshots: Snapshots,
        clock: Clock,
        *,
        stamp: Callable[[], object] | None = None,
        load: Callable[[], Pattern] | None = None,
        fixed_rules: Sequence[Rule] = (),
        on_pattern: Callable[[Pattern], None] | None = None,
        on_confirmed: Callable[[], None] | None = None,
        poll_s: float = POLL_S,
    ) -> None:
        self._checker = checker
        self._snapshots = snapshots
        self._clock = clock
        self._stamp = stamp
        self._load = load
        self._fixed_rules = tuple(fixed_rules)
        self._on_pattern = on_pattern
        self._on_confirmed = on_confirmed
        self._poll_s = poll_s
        self._version: int | None = None
        self._seen: object = None
        self._complaints: dict[str, str] = {}  # by what could not be refreshed
        self._halves: tuple[tuple[str, _Refresh], ...] = (
            ("what the ledger holds", self._refresh_operator),
            ("the pattern", self._refresh_pattern),
        )

    @property
    def has_read(self) -> bool:
        """Whether rules and confirmed subjects of the ledger were read at all."""
        return self._version is not None

    async def run(self) -> None:
        """Refresh until cancelled, each half of the view by itself."""
        await asyncio.gather(*(self._keep(half, refresh) for half, refresh in self._halves))

    async def _keep(self, half: str, refresh: _Refresh) -> None:
        while True:
            await self._attempt(half, refresh)
            await asyncio.sleep(self._poll_s)

    async def refresh(self) -> None:
        """Take up what changed since the last time. Never raise (but for cancellation)."""
        for half, refresh in self._halves:
            await self._attempt(half, refresh)

    async def _attempt(self, half: str, refresh: _Refresh) -> None:
        """Refresh one half of the view: that the other cannot be read is no reason to leave it old."""
        try:
            await refresh()
        except Exception as error:
            metrics.VIEW_ERRORS.inc()
            complaint = f"{type(error).__name__}: {error}"
            if complaint != self._complaints.get(half):
                unexpected = not isinstance(error, SecondLookError)
                message = "%s could not be refreshed, the last one stays: %s"
                logger.warning(message, half, complaint, exc_info=unexpected)
            self._complaints[half] = complaint
        else:
            self._complaints.pop(half, None)

    async def _refresh_operator(self) -> None:
        version = await VIEW.run(self._snapshots.version)
        if version == self._version:
            return
        mark = self._checker.view.reading()
        read = await VIEW.run(self._read)
        known = {entry.hit for entry in self._checker.view.current.confirmed}
        self._checker.view.replace(
            rulebook=RuleBook((*read.rules, *self._fixed_rules)),
            pauses=read.pauses,
            confirmed=read.confirmed,
            read_mark=mark,
        )
        self._version = version
        news = any(entry.hit not in known and entry.source != REBLOCK for entry in read.confirmed)
        if self._on_confirmed is not None and news:
            self._on_confirmed()

    def _read(self) -> _Operator:
        return _Operator(self._snapshots.rules(), self._snapshots.pauses(), self._snapshots.confirmed())

    async def _refresh_pattern(self) -> None:
        if self._stamp is None or self._load is None:
            return
        stamp = await PATTERN.run(self._stamp)
        if stamp == self._seen:
            return
        pattern = await PATTERN.run(self._load)
        first, self._seen = self._seen is None, stamp
        before = self._checker.view.current.pattern
        self._checker.view.replace(pattern=pattern)
        if not first and pattern.answers_as(before, self._clock.now()):
            return  # a server confirmed what is here, as it does twice a minute
        dropped = 0
        for count in self._checker.cache.drop_contradicted(pattern, self._clock.now(), since=before):
            dropped += count
            await asyncio.sleep(0)  # a full cache takes a second: traffic goes on meanwhile
        logger.info("pattern %s in place, %d cached answers dropped", pattern.generation or "(none)", dropped)
        if self._on_pattern is not None:
            self._on_pattern(pattern)
