"""`secondlook doctor`: look for problems and show how to mend them."""

import sys

import typer

from secondlook.cli.options import CommandContext, ConfigOption, JsonOption, StateOption, open_context
from secondlook.cli.output import Tone, print_json, print_line, print_marked, working

app = typer.Typer(add_completion=False)
SIGNS: dict[str, tuple[str, Tone]] = {
    "ok": ("ok     ", "good"),
    "problem": ("PROBLEM", "bad"),
    "unknown": ("?      ", "doubtful"),
}


@app.command()
def doctor(config: ConfigOption = None, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Check ports, CA trust, servers, location, pattern, ledger, clock, disk; exit status 1 on a problem."""
    import asyncio

    context = open_context(config, state)
    sys.exit(1 if asyncio.run(_examine(context, as_json=as_json)) else 0)


async def _examine(context: CommandContext, *, as_json: bool) -> int:
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
        if as_json:
            print_json(
                {
                    "check": finding.check,
                    "result": finding.result,
                    "text": finding.text,
                    "remedy": finding.remedy,
                }
            )
            continue
        sign, tone = SIGNS[finding.result]
        print_marked(sign, f"  {finding.check:<8}  {finding.text}", tone)
        if finding.remedy:
            print_line(f"                   -> {finding.remedy}")
        sys.stdout.flush()
