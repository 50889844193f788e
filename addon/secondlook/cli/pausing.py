"""`secondlook pause`: protection off for a while, visibly; it ends by itself."""

from typing import Annotated

import typer

from secondlook.cli.options import ConfigOption, JsonOption, StateOption, open_place
from secondlook.cli.output import fail, print_json, print_line
from secondlook.cli.rulemaking import client_from
from secondlook.ledger.shape import rfc3339
from secondlook.run.opening import open_ledger

app = typer.Typer(add_completion=False)
LONGEST_MIN = 7 * 24 * 60


@app.command()
def pause(
    minutes: Annotated[float, typer.Argument(metavar="MINUTES", help="For how long, a week at most.")],
    client: Annotated[
        str | None, typer.Option("--client", metavar="CLIENT", help="For this address, network or user only.")
    ] = None,
    config: ConfigOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Switch protection off for some minutes; checks go on and are logged, nothing is blocked."""
    if not 0 < minutes <= LONGEST_MIN:
        fail(f"expected minutes from just above 0 to {LONGEST_MIN} (a week), got {minutes:g}", status=2)
    place = open_place(config, state)
    ledger = open_ledger(place.settings, background=False)
    try:
        made = ledger.add_pause(minutes, client=client_from(client))
    finally:
        ledger.close()
    if as_json:
        print_json({"id": made.id, "client": made.client, "until": rfc3339(made.until)})
        return
    whose = f"for {made.client}" if made.client else "for everybody"
    print_line(f"protection is off {whose} until {rfc3339(made.until)}; on again with: secondlook resume")
