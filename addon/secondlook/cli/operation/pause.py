"""`secondlook pause`: protection off for a while, visibly; it ends by itself."""

from typing import Annotated

import typer

from secondlook.cli.caller import typed
from secondlook.cli.context import CommandContext, with_context
from secondlook.cli.options import ForClientOption
from secondlook.cli.output import fail, time_text
from secondlook.core.rules.rule import LONGEST_PAUSE_S, SHORTEST_S
from secondlook.ground.instant import rfc3339

app = typer.Typer(add_completion=False)


@app.command()
@with_context
def pause(
    context: CommandContext,
    duration: Annotated[
        str,
        typer.Argument(metavar="MINUTES", help="For how long, up to a week; or a duration (90s, 2h)."),
    ],
    client: ForClientOption = None,
) -> None:
    """Switch protection off for some minutes; checks go on and are logged, nothing is blocked."""
    lasts = _seconds(duration)
    if lasts is None or not SHORTEST_S <= lasts <= LONGEST_PAUSE_S:
        fail(f"expected minutes, or a duration (10m), from 1s to a week (7d), got {duration!r}", status=2)
    with context.ledger() as ledger:
        made = ledger.pauses.add(lasts / 60, client=client)
    whose = f"for {made.client}" if made.client else "for everybody"
    context.report(
        {"id": made.id, "client": made.client, "until": rfc3339(made.until)},
        f"protection is off {whose} until {time_text(made.until)}; on again with: {typed('resume')}",
    )


def _seconds(text: str) -> float | None:
    """Return seconds; a bare number is minutes. None where the text is neither."""
    from secondlook.config.value import parse_duration

    try:
        return float(text) * 60
    except ValueError:
        pass
    try:
        return parse_duration(text)
    except ValueError:
        return None
