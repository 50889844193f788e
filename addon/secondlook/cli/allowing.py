"""`secondlook allow`: a rule that lets something through whatever the lists say."""

from typing import Annotated

import typer

from secondlook.cli.options import ConfigOption, JsonOption, StateOption
from secondlook.cli.rulemaking import make_rule

app = typer.Typer(add_completion=False)


@app.command()
def allow(
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="See below.", show_default=False)],
    duration: Annotated[
        str | None,
        typer.Option("--for", metavar="DURATION", help="For so long (10m, 1h, 1d); default: always."),
    ] = None,
    client: Annotated[
        str | None, typer.Option("--client", metavar="CLIENT", help="For this address, network or user only.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Shown wherever it is.")
    ] = None,
    config: ConfigOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Allow a URL, host or file whatever the lists say; in force within a second.

    SUBJECT is a host (with its subdomains), =host (it alone), a URL ending in / (that and all below),
    another URL (exactly that), /a regular expression/ on the canonical form, or the SHA-256 of a file.
    """
    make_rule("allow", subject, duration, client, reason, config, state, as_json=as_json)
