"""`secondlook doctor`: look for problems and say how to mend them."""

import asyncio
import sys

import typer

from secondlook.cli.options import CommandContext, ConfigOption, JsonOption, StateOption, open_context
from secondlook.cli.output import print_json, print_line

app = typer.Typer(add_completion=False)
SIGNS = {"ok": "ok     ", "problem": "PROBLEM", "unknown": "?      "}


@app.command()
def doctor(config: ConfigOption = None, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Check ports, CA trust, servers, location, pattern, ledger, clock, disk; exit status 1 on a problem."""
    context = open_context(config, state)
    sys.exit(1 if asyncio.run(_examine(context, as_json=as_json)) else 0)


async def _examine(context: CommandContext, *, as_json: bool) -> int:
    from secondlook.run.diagnosis.diagnosis import diagnose  # noqa: PLC0415 - slow to import

    problems = 0
    async for finding in diagnose(context.settings):
        problems += finding.result == "problem"
        if as_json:
            print_json(
                {
                    "check": finding.check,
                    "result": finding.result,
                    "told": finding.told,
                    "remedy": finding.remedy,
                }
            )
            continue
        print_line(f"{SIGNS[finding.result]}  {finding.check:<8}  {finding.told}")
        if finding.remedy:
            print_line(f"                   -> {finding.remedy}")
        sys.stdout.flush()
    return problems
