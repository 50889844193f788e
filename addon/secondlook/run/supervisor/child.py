"""One child process of the supervisor: starting it, hearing from it, waiting before the next try.

A child reports what happened on a pipe, one JSON object a line: `ready`, `pattern`, `token` … . It is one-way
and reports only what `run.json` and the ready lines show; the rooms themselves share files
and HTTP. An empty line is a heartbeat (`run.supervisor.heartbeat`). Standard library only.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from secondlook.ground.json_text import read_json

FATAL_EXIT = 3  # the child reported why; trying again will not help
_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 30.0
_STEADY_AFTER_S = 30.0
_MOST_LINE_BYTES = 1 << 20


@dataclass(slots=True, eq=False)
class Child:
    """A worker or the service, alive or waiting to be started again."""

    role: str  # worker | gate | service
    index: int
    process: subprocess.Popen[bytes] | None = None
    pipe: int | None = None
    started_at: float = 0.0
    start_after: float = 0.0  # monotonic; when to start (again)
    failures: int = 0
    ready: bool = False
    stopping: bool = False
    replaced: bool = False  # a new plan has its own
    kill_at: float | None = None
    silent_s: float = 0.0  # since something was heard of it, while that is counted
    hung: bool = False  # and was killed for it
    facts: dict[str, Any] = field(default_factory=dict)
    _heard: bytearray = field(default_factory=bytearray)

    @property
    def name(self) -> str:
        """How messages call it."""
        return name_of(self.role, self.index)

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self.process is not None

    def start(self, plan: int, inherited: Sequence[int], now: float) -> None:
        """Start the process; `plan` and `inherited` are descriptors that it gets.

        Raises OSError where the system has no process, memory or descriptor left; nothing is left over then.
        """
        self.started_at = now  # a start that fails counts as well, or `schedule` would take it for steady
        reader, writer = os.pipe()
        arguments = [str(plan), str(writer), str(self.index), self.role]
        command = [sys.executable, "-P", "-m", "secondlook.run.entry", *arguments]
        try:
            os.set_blocking(reader, False)
            self.process = subprocess.Popen(  # noqa: S603 - our own module
                command, pass_fds=(plan, writer, *inherited), stdin=subprocess.DEVNULL
            )
        except OSError:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        self.pipe = reader
        self.ready = False
        self.kill_at = None
        self.silent_s = 0.0
        self.hung = False
        self.facts.clear()
        self._heard.clear()

    def hear(self) -> list[dict[str, Any]]:
        """Read what it reported; an empty list at the end of the pipe too."""
        assert self.pipe is not None
        try:
            chunk = os.read(self.pipe, 65536)
        except BlockingIOError:
            return []
        if not chunk:
            self.close_pipe()
            return []
        self.silent_s = 0.0
        self._heard += chunk
        *lines, rest = bytes(self._heard).split(b"\n")
        self._heard = bytearray(rest[:_MOST_LINE_BYTES])
        messages: list[dict[str, object]] = []
        for line in lines:
            with contextlib.suppress(ValueError):
                message = read_json(line)
                if isinstance(message, dict):
                    messages.append(message)
                    self.facts.update(message)
        if self.facts.get("ready"):
            self.ready = True
        return messages

    def close_pipe(self) -> None:
        """Stop listening to it."""
        if self.pipe is not None:
            os.close(self.pipe)
            self.pipe = None

    def undo_start(self) -> None:
        """End at once what was just started, as nobody can listen to it; nothing where nothing was."""
        self.close_pipe()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self, now: float, grace_s: float) -> None:
        """Ask it to end; `overdue` kills it after `grace_s`."""
        self.stopping = True
        if self.process is not None and self.kill_at is None:
            self.process.send_signal(signal.SIGTERM)
            self.kill_at = now + grace_s

    def kill_if_overdue(self, now: float) -> bool:
        """Kill it when it was asked to end long ago; True when it had to be."""
        if self.process is None or self.kill_at is None or now < self.kill_at:
            return False
        self.process.kill()
        self.kill_at = None
        return True

    def kill_hung(self) -> None:
        """Kill it because it hangs."""
        assert self.process is not None
        self.hung = True
        self.process.kill()

    def ended(self) -> int | None:
        """Return its exit status when it has ended since the last look, else None."""
        if self.process is None:
            return None
        status = self.process.poll()
        if status is not None:
            self.process = None
            self.ready = False
        return status

    def schedule(self, now: float) -> float:
        """Plan the next start and return the delay: none after a long run, else doubling."""
        if now - self.started_at >= _STEADY_AFTER_S:
            self.failures = 0
        delay = 0.0 if self.failures == 0 else min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2.0**self.failures)
        self.failures += 1
        self.start_after = now + delay
        return delay


def name_of(role: str, index: int) -> str:
    """Return how messages and events call a child."""
    match role:
        case "service":
            return role
        case "gate":
            return f"gate worker {index}"
        case _:
            return f"{role} {index}"


def how_it_ended(status: int) -> str:
    """Return an exit status in words."""
    if status < 0:
        try:
            return f"was killed by {signal.Signals(-status).name}"
        except ValueError:
            return f"was killed by signal {-status}"
    return f"ended with status {status}"
