"""`secondlook server`: run a Smart Protection Server, feed it, publish, look into it."""

from collections.abc import Callable

import typer

from secondlook.cli.server import entries, findings, inspect, publish, run

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Run and feed a Smart Protection Server.")
COMMANDS: dict[str, Callable[..., None]] = {
    "run": run.run,
    "import": publish.import_,
    "publish": publish.publish,
    "list": entries.list_entries,
    "add": entries.add,
    "except": entries.except_,
    "remove": entries.remove,
    "check": inspect.check,
    "rollback": inspect.rollback,
    "status": inspect.status,
}
for name, command in COMMANDS.items():
    app.command(name)(command)
app.add_typer(findings.app, name="findings")
