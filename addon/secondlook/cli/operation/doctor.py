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
    findings = diagnose(context.settings)
    while True:
        with working("looking"):
            finding = await anext(findings, None)
        if finding is None:
            return problems
        problems += finding.result == "problem"
        if context.as_json:
            print_json(finding)
            continue
        sign, tone = SIGNS[finding.result]
        print_marked(sign, f"  {finding.check:<8}  {finding.text}", tone)
        if finding.remedy:
            print_line(f"                   -> {finding.remedy}")
        sys.stdout.flush()
