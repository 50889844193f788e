"""Events of the supervisor: it opens no ledger, so a child writes each. Standard library only."""

import json
import subprocess
import sys
import tempfile

from secondlook.run.supervisor.console import report


class EventWriter:
    """Starts the children that write (`run.supervisor_event`), and takes in those that have ended."""

    def __init__(self) -> None:
        self._children: list[subprocess.Popen[bytes]] = []

    def write(self, detail: str, settings: str, process: str | None = None) -> None:
        """Have an event written to the ledger of `settings` (JSON); `process` is what it is about."""
        asked = json.dumps({"detail": detail, "settings": settings, "process": process})
        command = [sys.executable, "-P", "-m", "secondlook.run.supervisor_event"]
        try:
            with tempfile.TemporaryFile() as file:  # not a pipe, at which a child that dies would leave us
                file.write(asked.encode())
                file.seek(0)
                self._children.append(subprocess.Popen(command, stdin=file))  # noqa: S603 - our own module
        except OSError as error:
            report(f"cannot write an event of this: {error.strerror}")

    def reap(self) -> None:
        """Take in the children that have ended."""
        self._children = [child for child in self._children if child.poll() is None]
