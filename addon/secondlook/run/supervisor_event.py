"""A process of its own that writes an event of the supervisor, which opens no ledger."""

import json
import sys
import time

from secondlook.config.agent import Settings
from secondlook.core.event import Event, EventKind
from secondlook.ground import collector
from secondlook.ground.errors import LedgerError
from secondlook.run.assembly.check.ledger_opening import ledger_of


def main() -> None:
    """Read the event's words and the settings from standard input, and write it."""
    collector.collect_seldom()
    asked = json.load(sys.stdin)
    extra = {"process": asked["process"]} if asked["process"] else {}
    event = Event(id="", kind=EventKind.ERROR, time=time.time(), detail=asked["detail"], extra=extra)
    try:
        with ledger_of(Settings.model_validate_json(asked["settings"])) as ledger:
            ledger.recorder.record(event)
    except LedgerError as error:
        sys.stderr.write(f"secondlook: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
