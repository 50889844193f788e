"""`secondlook pause`: protection off for a while, visibly; it ends by itself."""

from typing import Annotated

import typer

from secondlook.cli.options import ConfigOption, ForClientOption, JsonOption, StateOption, open_place
from secondlook.cli.output import fail, print_json, print_line
from secondlook.core.rules.rule import LONGEST_PAUSE_S, SHORTEST_S
from secondlook.ledger.log.shape import rfc3339

app = typer.Typer(add_completion=False)


@app.command()
def pause(
    minutes: Annotated[float, typer.Argument(metavar="MINUTES", help="For how long, a week at most.")],
    client: ForClientOption = None,
    config: ConfigOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Switch protection off for some minutes; checks go on and are logged, nothing is blocked."""
    if not SHORTEST_S <= minutes * 60 <= LONGEST_PAUSE_S:
        fail(f"expected minutes, from a second (0.017) to a week (10080), got {minutes:g}", status=2)
    place = open_place(config, state)
    with place.ledger() as ledger:
        made = ledger.add_pause(minutes, client=client)
    if as_json:
        print_json({"id": made.id, "client": made.client, "until": rfc3339(made.until)})
        return
    whose = f"for {made.client}" if made.client else "for everybody"
    print_line(f"protection is off {whose} until {rfc3339(made.until)}; on again with: secondlook resume")
