"""`secondlook quarantine`: files that were taken out of the download folders."""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated

import typer

from secondlook.cli.caller import typed
from secondlook.cli.completion import completed_id
from secondlook.cli.options import (
    CommandContext,
    ConfigOption,
    JsonOption,
    StateOption,
    UtcOption,
    known_context,
    when_bare,
)
from secondlook.cli.output import fail, print_json, print_line, print_table, size_told, time_told
from secondlook.ground.clock import SystemClock

if TYPE_CHECKING:
    from secondlook.agent.actions.quarantine import Quarantine

RecordArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="As `quarantine list` shows it.",
        autocompletion=completed_id(lambda ledger: (record.id for record in ledger.quarantine.all())),
    ),
]

app = typer.Typer(add_completion=False, help="Files that were taken out of the download folders.")
COLUMNS = ("id", "state", "file", "size", "threat", "list", "moved", "proxy", "detail")


@app.command("list")
@when_bare(app)
def list_files(
    config: ConfigOption = None,
    state: StateOption = None,
    utc: UtcOption = False,
    as_json: JsonOption = False,
) -> None:
    """List quarantined files, restored and deleted ones too."""
    from secondlook.ledger.log.shape import quarantine_json

    context = known_context(config, state)
    with context.ledger_to_read() as ledger:
        records = ledger.quarantine.all()
    if as_json:
        for record in records:
            print_json(quarantine_json(record))
        return
    rows = (
        (
            record.id,
            record.state,
            record.path,
            size_told(record.size),
            record.threat,
            record.list,
            time_told(record.moved_at, utc=utc),
            record.proxy,
            record.detail,
        )
        for record in records
    )
    print_table(COLUMNS, rows, empty="no file was ever quarantined")


@app.command()
def restore(
    record_id: RecordArgument,
    config: ConfigOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a file back, byte for byte, and allow it from now on."""
    context = known_context(config, state)
    path = _on_file(context, lambda quarantine: quarantine.restore(record_id))
    if as_json:
        print_json({"restored": record_id, "path": str(path)})
        return
    print_line(f"restored {path}; it is allowed from now on (see `{typed('rules list')}`)")


@app.command()
def delete(
    record_id: RecordArgument,
    config: ConfigOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a quarantined file for good."""
    context = known_context(config, state)
    _on_file(context, lambda quarantine: quarantine.delete(record_id))
    if as_json:
        print_json({"deleted": record_id})
    else:
        print_line(f"deleted {record_id}")


def _on_file[Done](
    context: CommandContext, act: "Callable[[Quarantine], Coroutine[None, None, Done]]"
) -> Done:
    import asyncio

    from secondlook.agent.actions.quarantine import Quarantine, QuarantineError
    from secondlook.run.assembly.second_look import QUARANTINE_FOLDER

    settings = context.settings
    with context.ledger() as ledger:
        quarantine = Quarantine(
            context.state / QUARANTINE_FOLDER,
            ledger.quarantine,
            ledger.rules,
            SystemClock(),
            folders=settings.downloads.folders,
            proxy=settings.proxy_name,
            shared=settings.shares_ledger,
        )
        try:
            return asyncio.run(act(quarantine))
        except QuarantineError as error:
            fail(str(error), hint=f"`{typed('quarantine list')}` shows the files with their ids")
