"""The configuration, read again while the family runs. Standard library only.

A child reads it: what a fault in the file, or in what reads it, breaks is that child alone.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict

from secondlook.ground.json_text import read_json
from secondlook.run.supervisor.child import how_it_ended
from secondlook.run.supervisor.console import report
from secondlook.run.supervisor.event_writer import EventWriter
from secondlook.run.supervisor.plan import Invocation, Plan, plan_from
from secondlook.run.supervisor.readiness import tell_systemd
from secondlook.run.supervisor.settings_file import FAULT_EXIT


class Rereading:
    """At most one reading at a time, and what came of the last."""

    def __init__(self, events: EventWriter) -> None:
        self._events = events
        self.readings = 0  # since the start
        self.refused: str | None = None  # why the last of them came to nothing
        self.asked_meanwhile = False  # for another, while the file was being read
        self._child: subprocess.Popen[bytes] | None = None
        self._unread: str | None = None  # why no child could be started to read it

    @property
    def under_way(self) -> bool:
        """Whether the file is being read."""
        return self._child is not None

    def ask(self, invocation: Invocation) -> None:
        """Begin to read the configuration; where that is under way, note that it is to be read once more."""
        self.asked_meanwhile = self.under_way
        if self.under_way:
            return
        tell_systemd("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            self._begin(json.dumps(asdict(invocation)).encode())
        except OSError as error:
            self._unread = f"it cannot be read now: {error.strerror or error}"

    def _begin(self, asked: bytes) -> None:
        """Start the child that reads. Raises OSError."""
        with contextlib.ExitStack() as stack:
            # files, not pipes: one may be too short, and at one a child that dies would leave us
            file = stack.enter_context(tempfile.TemporaryFile())
            file.write(asked)
            file.seek(0)
            output = stack.enter_context(contextlib.ExitStack())
            self._output = output.enter_context(tempfile.TemporaryFile())
            command = [sys.executable, "-P", "-m", "secondlook.run.reload"]
            self._child = subprocess.Popen(command, stdin=file, stdout=self._output)  # noqa: S603 - our own module
            output.pop_all()

    def outcome(self) -> Plan | str | None:
        """Return the plan that was read, or why there is none; None while nothing new is known."""
        if self._unread is not None:
            why, self._unread = self._unread, None
            self.readings += 1
            return why
        if self._child is None or self._child.poll() is None:
            return None
        child, self._child = self._child, None
        with self._output as output:
            output.seek(0)
            written = output.read()
        self.readings += 1
        self.refused = None
        if child.returncode == FAULT_EXIT:
            return written.decode(errors="replace") or how_it_ended(child.returncode)
        if child.returncode != 0:  # what it wrote may be half a plan, with secrets
            return f"what reads it {how_it_ended(child.returncode)}"
        try:
            return plan_from(read_json(written))
        except (ValueError, TypeError, KeyError):  # the program on disk is newer, or older
            return "another version of the program than this one has read it; restart the proxy"

    def refuse(self, why: str, settings: str) -> None:
        """Report that what was read is not taken; `settings` (JSON) stay in force."""
        self.refused = why
        report(f"the new configuration is refused: {why}; the old one stays in force")
        self._events.write(f"the new configuration is refused, the old one stays in force: {why}", settings)
