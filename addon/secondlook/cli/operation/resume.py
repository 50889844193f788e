"""`secondlook resume`: ends pauses."""

from typing import Annotated

import typer

from secondlook.cli.context import CommandContext, with_known_context
from secondlook.cli.options import Text, client_option

app = typer.Typer(add_completion=False)


@app.command()
@with_known_context
def resume(
    context: CommandContext,
    client: Annotated[Text, client_option("Only the pause of this client.")] = None,
) -> None:
    """Switch paused protection on again."""
    with context.ledger() as ledger:
        ended = ledger.pauses.end(client=client, everybody=client is None)
    text = "protection is on again" if ended else "protection was not paused"
    context.report({"ended": ended}, text)
