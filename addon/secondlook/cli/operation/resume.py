"""`secondlook resume`: ends pauses."""

from typing import Annotated

import typer

from secondlook.cli.options import ConfigOption, JsonOption, StateOption, client_option, known_context
from secondlook.cli.output import print_result

app = typer.Typer(add_completion=False)


@app.command()
def resume(
    client: Annotated[str | None, client_option("Only the pause of this client.")] = None,
    config: ConfigOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Switch paused protection on again."""
    context = known_context(config, state)
    with context.ledger() as ledger:
        ended = ledger.pauses.end(client=client, everybody=client is None)
    text = "protection is on again" if ended else "protection was not paused"
    print_result({"ended": ended}, text, as_json=as_json)
