"""`secondlook doctor`: look for problems and show how to mend them."""

import sys

import typer

from secondlook.cli.context import CommandContext, with_context
from secondlook.cli.output import Tone, print_json, print_line, print_marked, working

app = typer.Typer(add_completion=False)
SIGNS: dict[str, tuple[str, Tone]] = {
    "ok": ("ok     ", "good"),
    "problem": ("PROBLEM", "bad"),
    "unknown": ("?      ", "doubtful"),
}


@app.command()
@with_context
def doctor(context: CommandContext) -> None:
    """Check ports, CA trust, servers, location, pattern, ledger, clock, disk; exit status 1 on a problem."""
    import asyncio

    sys.exit(1 if asyncio.run(_examine(context)) else 0)


async def _examine(context: CommandContext) -> int:
    with working("looking"):
        from secondlook.run.diagnosis.diagnosis import diagnose

    problems = 0
    results = diagnose(context.settings)
    while True:
        with working("looking"):
            found = await anext(results, None)
        if found is None:
            return problems
        problems += found.result == "problem"
        if context.as_json:
            print_json(found)
            continue
        sign, tone = SIGNS[found.result]
        print_marked(sign, f"  {found.check:<8}  {found.text}", tone)
        if found.remedy:
            print_line(f"                   -> {found.remedy}")
        sys.stdout.flush()
