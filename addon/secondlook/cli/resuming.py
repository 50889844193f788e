"""`secondlook resume`: ends pauses."""

from typing import Annotated

import typer

from secondlook.cli.options import ConfigOption, JsonOption, StateOption, open_place
from secondlook.cli.output import print_json, print_line
from secondlook.cli.rulemaking import client_from
from secondlook.run.opening import open_ledger

app = typer.Typer(add_completion=False)


@app.command()
def resume(
    client: Annotated[
        str | None, typer.Option("--client", metavar="CLIENT", help="Only the pause of this client.")
    ] = None,
    config: ConfigOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Switch paused protection on again."""
    place = open_place(config, state)
    ledger = open_ledger(place.settings, background=False)
    try:
        ended = ledger.end_pauses(client=client_from(client), everybody=client is None)
    finally:
        ledger.close()
    if as_json:
        print_json({"ended": ended})
        return
    print_line("protection is on again" if ended else "protection was not paused")
