"""Keeping a process's view in step with the ledger and with the pattern on disk."""

import logging
import time
from collections.abc import Callable

from secondlook.agent.check.watch import Watcher
from secondlook.agent.pattern.files import CONFIRMED, STAMP, PatternFolder, mark_of
from secondlook.core.lists.pattern import Pattern
from secondlook.run.assembly.check.naming import entries_by_list, list_titles
from secondlook.run.assembly.check.parts import Parts
from secondlook.run.assembly.check.policies import config_rules

logger = logging.getLogger(__name__)


def make_watcher(
    parts: Parts,
    *,
    on_pattern: Callable[[Pattern], None] | None = None,
    on_confirmed: Callable[[], None] | None = None,
) -> Watcher:
    """Make the watcher of one process; its callbacks are called on the event loop."""
    folder = PatternFolder(parts.settings.state)

    def load() -> Pattern:
        pattern = folder.load()
        for fault in folder.faults:
            logger.warning("a list is left out: %s", fault)
        parts.titles = list_titles(pattern, entries_by_list(parts.settings))
        return pattern

    return Watcher(
        parts.checker,
        parts.ledger.snapshots,
        parts.clock,
        stamp=lambda: (mark_of(folder.folder / STAMP), mark_of(folder.folder / CONFIRMED)),
        load=load,
        fixed_rules=config_rules(parts.settings, time.time()),
        on_pattern=on_pattern,
        on_confirmed=on_confirmed,
    )
