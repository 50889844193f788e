"""`secondlook server`: run a Smart Protection Server, feed it, publish, look into it."""

from collections.abc import Callable

import typer

from secondlook.cli.server import entries, feeding, looking, running

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Run and feed a Smart Protection Server.")
COMMANDS: dict[str, Callable[..., None]] = {
    "run": running.run,
    "import": feeding.import_,
    "publish": feeding.publish,
    "list": entries.list_entries,
    "add": entries.add,
    "except": entries.except_,
    "remove": entries.remove,
    "check": looking.check,
    "rollback": looking.rollback,
    "status": looking.status,
}
for name, command in COMMANDS.items():
    app.command(name)(command)
