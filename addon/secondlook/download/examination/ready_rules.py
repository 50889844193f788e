"""The rules that a process looks with: those in force, once a child of its own has loaded them.

```
rules in force ─► a child loads them ─► files are shown to them ─► the others load them, one by one
                  the others look        by that child
                  with those before
```

Thousands of rules take a child seconds, for which no file waits. Where no child runs yet there is nothing to
keep: the first file starts one with the rules in force.
"""

import asyncio
import contextlib
import logging
from pathlib import Path

from secondlook.config.scan import ScanSettings
from secondlook.download.examination.inspector import ArchiveInspector, RuleLook, rule_look
from secondlook.scan.rule_set import RulesInForce

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0


class ReadyRules:
    """The rules of one process; it follows those in force from the first file on."""

    def __init__(self, settings: ScanSettings, state: Path, inspector: ArchiveInspector) -> None:
        self._settings = settings
        self._in_force = RulesInForce(state)
        self._inspector = inspector
        self._ready: RuleLook | None = None
        self._following: asyncio.Task[None] | None = None

    def look(self) -> RuleLook | str:
        """Return what is to look at a file, or why nothing is."""
        if self._following is None:
            self._following = asyncio.get_running_loop().create_task(self._follow())
        newest = rule_look(self._settings, self._in_force)
        if isinstance(newest, str):
            self._ready = None
            return newest
        if self._ready is None or not self._inspector.started:
            self._ready = newest
        return self._ready

    async def aclose(self) -> None:
        """Follow no more."""
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self._renew()
            except Exception:
                logger.exception("the rules in force could not be followed")

    async def _renew(self) -> None:
        newest, ready = rule_look(self._settings, self._in_force), self._ready
        if isinstance(newest, str) or ready is None or newest.rules.version == ready.rules.version:
            return

        def now_ready() -> None:
            self._ready = newest

        if self._inspector.started:
            await self._inspector.renew(ready, newest, now_ready)
