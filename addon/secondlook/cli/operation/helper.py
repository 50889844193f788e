"""`secondlook helper`, where it is only listed or asked for help: `cli.main` runs it without any of this."""

import typer

from secondlook.gateway.helper import USAGE

app = typer.Typer(add_completion=False)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def helper() -> None:
    """Answer Squid's questions about URLs (external_acl_type)."""
    typer.echo(USAGE)
