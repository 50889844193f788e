"""A process of its own that logs that a configuration was refused: the supervisor opens no ledger."""

import json
import sys
import time

from secondlook.config import Settings
from secondlook.core.event import Event, EventKind
from secondlook.ground.errors import LedgerError
from secondlook.ground.ulid import Identifiers
from secondlook.run.assembly.opening import ledger_of


def main() -> None:
    """Read settings and reason from standard input and write the event."""
    told = json.load(sys.stdin)
    now = time.time()
    detail = f"the new configuration is refused, the old one stays in force: {told['why']}"
    event = Event(id=Identifiers().new(now), kind=EventKind.ERROR, time=now, detail=detail)
    try:
        with ledger_of(Settings.model_validate_json(told["settings"])) as ledger:
            ledger.recorder.record(event)
    except LedgerError as error:
        sys.stderr.write(f"secondlook: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
