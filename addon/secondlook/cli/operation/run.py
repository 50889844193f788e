"""`secondlook run`: read the configuration, then become the supervisor."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from secondlook.cli.caller import typed
from secondlook.cli.installation import find_config
from secondlook.cli.options import ConfigOption, StateOption, Text, Texts, option, writable_state
from secondlook.cli.output import fail
from secondlook.run.supervisor.plan import Invocation, write_plan
from secondlook.run.supervisor.runfile import UNFINISHED_FILE

ANSWERS_COMMANDS = "secondlook.cli.answering"  # imported by the service, when it is first asked

app = typer.Typer(add_completion=False)


@app.command()
def run(
    config: ConfigOption = None,
    listen: Annotated[
        Texts, option("--listen", "HOST:PORT", "Where the proxy listens; may be repeated.")
    ] = None,
    review: Annotated[Text, option("--review", "HOST:PORT", "Where the review page listens.")] = None,
    state: StateOption = None,
    workers: Annotated[
        int | None, option("--workers", "N", "How many worker processes; default: one a core.")
    ] = None,
    overrides: Annotated[
        Texts, option("--set", "KEY=VALUE", "Any setting by its dotted key, such as policy.level=high.")
    ] = None,
) -> None:
    """Start the proxy with all its parts: embedded server, workers, second look, review page.

    SIGTERM or Ctrl-C drains and ends it, SIGHUP reads the configuration again.
    """
    from secondlook.run.reload import read_plan_of

    found, own_state = find_config(config)
    place = state or own_state
    invocation = Invocation(
        config=str(found.absolute()) if found is not None else None,
        overrides=tuple(overrides or ()),
        state=str(place.absolute()) if place is not None else None,
        listen=tuple(listen or ()),
        review=review,
        workers=workers,
    )
    planned = replace(read_plan_of(invocation), commands=ANSWERS_COMMANDS)
    folder = Path(planned.state)
    writable_state(folder)
    (folder / "ca").mkdir(mode=0o700, exist_ok=True)  # from now on it is known for a proxy's
    if (folder / UNFINISHED_FILE).exists():
        fail(
            f"a restore into {folder} was broken off, and half of it is in place",
            hint=f"run `{typed('restore')}` again; what was there is kept in {folder}/before-restore-*",
        )
    plan = write_plan(planned)
    sys.stdout.flush()
    os.execv(  # noqa: S606 - the supervisor starts clean, with nothing imported but the standard library
        sys.executable, [sys.executable, "-P", "-m", "secondlook.run.supervisor.main", str(plan)]
    )
