"""Writing down that a configuration was refused, in a process of its own: the supervisor opens no ledger."""

import json
import subprocess
import sys
import time


def tell_refusal(settings: str, why: str) -> "subprocess.Popen[bytes]":
    """Start the process that writes the event, with the settings (JSON) that stay in force."""
    teller = subprocess.Popen([sys.executable, "-P", "-m", "secondlook.run.refused"], stdin=subprocess.PIPE)
    assert teller.stdin is not None
    with teller.stdin as pipe:
        pipe.write(json.dumps({"settings": settings, "why": why}).encode())
    return teller


def main() -> None:
    """Read settings and reason from standard input and write the event."""
    from secondlook.agent.identifier import Identifiers  # noqa: PLC0415 - the supervisor imports this module
    from secondlook.config import Settings  # noqa: PLC0415
    from secondlook.core.event import Event, EventKind  # noqa: PLC0415
    from secondlook.errors import LedgerError  # noqa: PLC0415
    from secondlook.run.opening import ledger_of  # noqa: PLC0415

    told = json.load(sys.stdin)
    now = time.time()
    detail = f"the new configuration is refused, the old one stays in force: {told['why']}"
    event = Event(id=Identifiers().new(now), kind=EventKind.ERROR, time=now, detail=detail)
    try:
        with ledger_of(Settings.model_validate_json(told["settings"])) as ledger:
            ledger.record(event)
    except LedgerError as error:
        sys.stderr.write(f"secondlook: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
