"""`secondlook server run`."""

import sys
from typing import Annotated

from secondlook.cli.options import StateOption, Texts, option
from secondlook.cli.server.context import ServerConfigOption, ServerContext


def run(
    config: ServerConfigOption = None,
    listen: Annotated[Texts, option("--listen", "HOST:PORT", "Where to listen; may be repeated.")] = None,
    state: StateOption = None,
    overrides: Annotated[Texts, option("--set", "KEY=VALUE", "Any setting by its dotted key.")] = None,
) -> None:
    """Serve what is published; a new generation is taken up by itself. SIGTERM or Ctrl-C ends it."""
    context = ServerContext(
        config, state, listen=tuple(listen or ()), overrides=tuple(overrides or ()), serving=True
    )
    # the server's own parts are slow to import and only this command needs them
    from secondlook.run.server_process import serve

    sys.exit(serve(context.settings))
