"""The service process, started by the supervisor through `run.entry`.

```
embedded server ◄── feeds            ledger: keeper of WAL, journal and retention
      │ generation                      │
      ▼                                 ▼
   updater ──► STATE/pattern        second look ──► actions, notices
                                    review page, commands
```

Traffic never waits for it: workers share its files and ask its server over loopback.
"""

import contextlib
import importlib
from functools import partial
from typing import Any

from secondlook.agent.metrics import count_events
from secondlook.core.lists.pattern import Pattern
from secondlook.ground.lanes import STATE
from secondlook.ground.memory import give_back_large
from secondlook.ground.tasks import Tasks
from secondlook.run.assembly.answers.answering import Running, answering
from secondlook.run.assembly.answers.explaining import Json
from secondlook.run.assembly.answers.reviewing import Program, ReviewServer
from secondlook.run.assembly.background.background import start_background
from secondlook.run.assembly.background.outlets import make_outlets
from secondlook.run.assembly.check.ledger_opening import open_ledger
from secondlook.run.assembly.check.parts import Parts
from secondlook.run.assembly.monitoring.ended_counters import fold_again
from secondlook.run.assembly.monitoring.ready import why_not_ready
from secondlook.run.diagnosis.clock_check import watch_clock
from secondlook.run.diagnosis.stall import watch_stalls
from secondlook.run.process import Process, run
from secondlook.run.settings_editor import SettingsEditor
from secondlook.run.supervisor.listening import inherited

HEARTBEAT_S = 5.0


async def serve(process: Process) -> None:
    """Run every part until SIGTERM, then end them in reverse order."""
    settings, plan = process.settings, process.plan
    stop = process.stop_event()
    async with contextlib.AsyncExitStack() as stack:
        ledger = open_ledger(settings, keeper=True, counted=count_events)
        stack.push_async_callback(STATE.run, ledger.close)
        parts = Parts.build(settings, ledger, heartbeat_s=HEARTBEAT_S)
        stack.push_async_callback(parts.gatekeeper.aclose)
        background = await start_background(
            stack,
            parts,
            sock=inherited(plan.sockets["server"][0]) if plan.sockets["server"] else None,
            on_pattern=lambda pattern: _report_pattern(process, pattern),
        )
        tasks = Tasks()
        stack.push_async_callback(tasks.aclose)
        outlets = make_outlets(settings.log, settings.upstream_proxy, ledger.events, settings.state)
        if outlets is not None:
            tasks.start("events out", outlets.run())
        if plan.sockets["review"]:
            program = Program(
                parts,
                plan,
                updater=background.updater,
                rechecker=background.second_look.rechecker,
                quarantine=background.quarantine,
                embedded=background.embedded,
                editor=SettingsEditor(plan, settings, ledger.recorder, parts.clock),
            )
            review = ReviewServer(
                settings,
                parts,
                program,
                inherited(plan.sockets["review"][0]),
                renewed=lambda token: process.report(token=token),
                not_ready=lambda: why_not_ready(parts, background.watcher),
            )
            process.report(token=review.doorkeeper.token, metrics_token=review.doorkeeper.metrics_token)
            tasks.start("review page", review.run())
        if plan.commands is not None:
            runs = partial(_answer, plan.commands)
            await stack.enter_async_context(
                answering(parts, background.watcher, plan.invocation.config, runs)
            )
        process.report_ready()
        tasks.keep("clock watch", partial(watch_clock, ledger.recorder, parts.clock))
        tasks.keep("stall watch", partial(watch_stalls, ledger.recorder, parts.clock, "service"))
        tasks.keep("counters of ended processes", partial(fold_again, settings.state / "metrics"))
        await stop.wait()


def _answer(module: str, asked: Any, running: Running) -> Json:
    """Run a command; what runs it is imported with the first: a proxy that is never asked does without it."""
    answer: Json = importlib.import_module(module).answer(asked, running)
    return answer


def _report_pattern(process: Process, pattern: Pattern) -> None:
    entries = sum(table.count for _, table in pattern.lists)
    summary = f"{len(pattern.lists)} lists, {entries:,} entries, generation {pattern.generation}"
    process.report(pattern=pattern.generation or None, pattern_text=summary if pattern.generation else None)


def main() -> None:
    """Run as a child of the supervisor."""
    give_back_large()
    run("service", serve)


if __name__ == "__main__":
    main()
