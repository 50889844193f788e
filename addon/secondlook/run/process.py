"""What every child of the supervisor does first and last: plan, tether, log lines, signals, status lines."""

import asyncio
import contextlib
import json
import logging
import os
import select
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, NoReturn

from secondlook.config.agent import Settings
from secondlook.ground import collector
from secondlook.ground.errors import ConfigError, LedgerError
from secondlook.ground.memory import keep_giving_back
from secondlook.ground.repeated_lines import begin_log
from secondlook.run.supervisor.child import FATAL_EXIT, name_of
from secondlook.run.supervisor.heartbeat import BEAT_S
from secondlook.run.supervisor.parent_death import tether
from secondlook.run.supervisor.plan import Plan, read_plan


@dataclass(slots=True)
class Process:
    """A child of the supervisor: its plan, its settings, and the pipe on which it reports how it is."""

    plan: Plan
    settings: Settings
    index: int
    name: str  # in messages and events
    _pipe: int

    def report(self, **facts: object) -> None:
        """Report to the supervisor; it may be gone."""
        try:
            os.write(self._pipe, json.dumps(facts).encode() + b"\n")
        except OSError:
            logging.getLogger(__name__).debug("the supervisor does not listen")

    def report_ready(self) -> None:
        """Report to the supervisor that all is in place, and from now on that the event loop comes round."""
        collector.keep_what_is_here()
        self.report(ready=True)
        keep_giving_back()
        self._beat(asyncio.get_running_loop())

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        """Write a heartbeat each BEAT_S; none to a supervisor that stands still, as that would wait."""
        room = select.poll()
        room.register(self._pipe, select.POLLOUT)
        if room.poll(0):
            with contextlib.suppress(OSError):  # it may be gone
                os.write(self._pipe, b"\n")
        loop.call_later(BEAT_S, self._beat, loop)

    def stop_event(self) -> asyncio.Event:
        """Return an event that SIGTERM sets."""
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        return stop


def begin(role: str) -> Process:
    """Read the command line `PLAN PIPE INDEX` of a child and settle in."""
    plan_descriptor, pipe, index = (int(argument) for argument in sys.argv[1:4])
    plan = read_plan(plan_descriptor)
    tether(plan.supervisor)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the supervisor decides
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.set_inheritable(pipe, False)
    name = name_of(role, index)
    begin_log(f"secondlook {name}: %(message)s")
    return Process(plan, Settings.model_validate_json(plan.settings), index, name, pipe)


def run(role: str, serve: Callable[[Process], Coroutine[Any, Any, None]]) -> None:
    """Be a child of the supervisor that serves until SIGTERM."""
    process = begin(role)
    try:
        asyncio.run(serve(process))
    except (ConfigError, LedgerError) as error:
        cannot_start(error)


def cannot_start(error: Exception) -> NoReturn:
    """End with a message and the status by which nobody tries again."""
    sys.stderr.write(f"secondlook: {error}\n")
    sys.exit(FATAL_EXIT if isinstance(error, ConfigError | LedgerError) else 1)
