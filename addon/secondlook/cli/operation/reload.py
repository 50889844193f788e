"""`secondlook reload`: the running proxy reads its configuration again; wait until it is in force."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import typer

from secondlook.cli.caller import typed
from secondlook.cli.context import KnownContext
from secondlook.cli.installation import find_config, plainly_stated
from secondlook.cli.options import ConfigOption, JsonOption, StateOption, enterable_state
from secondlook.cli.output import fail, print_result, working
from secondlook.run.supervisor.plan import Invocation
from secondlook.run.supervisor.runfile import read_run_file
from secondlook.run.supervisor.settings_file import digest_of, reading_ended

app = typer.Typer(add_completion=False)
LONGEST_S = 60.0
LOOK_EVERY_S = 0.1


@app.command()
def reload(config: ConfigOption = None, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Have the running proxy read its configuration again, and wait until every worker works by it.

    A file with a fault is reported before anything is sent: the proxy goes on as it is.
    """
    folder = state or _stated_state(config) or KnownContext(config, None).state
    enterable_state(folder)
    running = _running(folder)
    invocation = Invocation.of(running["invocation"])
    wanted = _try(invocation)
    unchanged = wanted == running["settings"]["file"]
    os.kill(running["pid"], signal.SIGHUP)
    with working("waiting until it is in force"):
        now = _wait(folder, running["settings"]["readings"], wanted)
    if now["settings"]["refused"]:
        fail(f"refused: {now['settings']['refused']}; the settings from before stay in force", status=2)
    counts = {"workers": len(now["workers"]), "gate_workers": len(now.get("gates", ()))}
    count = sum(counts.values())
    workers = f"{count} worker{'' if count == 1 else 's'}"
    outcome = f"has not changed; {workers} began anew" if unchanged else f"is in force in {workers}"
    print_result(
        {"config": invocation.config, "changed": not unchanged, **counts},
        f"{invocation.config or 'the settings'} {outcome}",
        as_json=as_json,
    )


def _stated_state(config: Path | None) -> Path | None:
    """Find the state folder without what the file takes from the environment, where that can be done."""
    found, own = find_config(config)
    try:
        return own or plainly_stated(found)
    except OSError:
        return None


def _try(invocation: Invocation) -> str | None:
    """Read what the proxy will read, and return the file's digest. Raises ConfigError."""
    from secondlook.config.document import InvalidConfigError
    from secondlook.run.reload import read_plan_of

    try:
        return read_plan_of(invocation).settings_file
    except InvalidConfigError as error:
        if not error.of_environment:
            raise
        return digest_of(invocation.config)  # the proxy was started with more variables than this shell has


def _running(state: Path) -> dict[str, Any]:
    running = read_run_file(state)
    if running is None:
        fail(
            f"no proxy runs on {state}",
            hint=f"start it with `{typed('run')}`, or name the folder that it runs on with --state",
        )
    if "settings" not in running:
        fail("the proxy that runs is of an older version", hint="stop it, and start it again")
    return running


def _wait(state: Path, readings: int, wanted: str | None) -> dict[str, Any]:
    """Wait for a reading of the wanted file that has come to its end, and return the facts then."""
    until = time.monotonic() + LONGEST_S
    while not reading_ended(running := _running(state), readings, wanted):
        if time.monotonic() > until:
            fail(
                f"the new settings are not in force after {LONGEST_S:g} s",
                hint=f"`{typed('doctor')}` looks for the reason, and the proxy's own output shows more",
            )
        time.sleep(LOOK_EVERY_S)
    return running
