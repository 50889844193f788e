"""`secondlook server run`."""

import sys
from typing import Annotated

import typer

from secondlook.cli.options import StateOption
from secondlook.cli.server.context import ServerConfigOption, open_server


def run(
    config: ServerConfigOption = None,
    listen: Annotated[
        list[str] | None,
        typer.Option("--listen", metavar="HOST:PORT", help="Where to listen; may be repeated."),
    ] = None,
    state: StateOption = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting by its dotted key.")
    ] = None,
) -> None:
    """Serve what is published; a new generation is taken up by itself. SIGTERM or Ctrl-C ends it."""
    context = open_server(
        config, state, listen=tuple(listen or ()), overrides=tuple(overrides or ()), serving=True
    )
    # the server's own parts are slow to import and only this command needs them
    from secondlook.run.server_process import serve

    sys.exit(serve(context.settings))
