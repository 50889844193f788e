"""`secondlook quarantine`: files that were taken out of the download folders."""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated

import typer

from secondlook.cli.caller import typed
from secondlook.cli.completion import id_argument
from secondlook.cli.context import CommandContext, lists, with_known_context
from secondlook.cli.output import fail, print_list, time_text
from secondlook.ground.clock import SystemClock

if TYPE_CHECKING:
    from secondlook.agent.actions.quarantine import Quarantine
    from secondlook.core.event import QuarantineRecord
    from secondlook.ledger.ledger import Ledger

RecordArgument = Annotated[
    str, id_argument(lambda ledger: (record.id for record in ledger.quarantine.all()), "quarantine list")
]

app = typer.Typer(add_completion=False, help="Files that were taken out of the download folders.")
COLUMNS = ("id", "state", "file", "size", "threat", "list", "moved", "proxy", "detail")


@lists(app)
def list_files(ledger: "Ledger", *, utc: bool, as_json: bool) -> None:
    """List quarantined files, restored and deleted ones too."""
    from secondlook.core.display import size_text
    from secondlook.ledger.log.shape import quarantine_json

    def row(record: "QuarantineRecord") -> tuple[object, ...]:
        return (
            record.id,
            record.state,
            record.path,
            size_text(record.size),
            record.threat,
            record.list,
            time_text(record.moved_at, utc=utc),
            record.proxy,
            record.detail,
        )

    empty = "no file was ever quarantined"
    print_list(ledger.quarantine.all(), quarantine_json, COLUMNS, row, as_json=as_json, empty=empty)


@app.command()
@with_known_context
def restore(context: CommandContext, record_id: RecordArgument) -> None:
    """Put a file back, byte for byte, and allow it from now on."""
    path = _on_file(context, lambda quarantine: quarantine.restore(record_id))
    text = f"restored {path}; it is allowed from now on (see `{typed('rules list')}`)"
    context.report({"restored": record_id, "path": str(path)}, text)


@app.command()
@with_known_context
def delete(context: CommandContext, record_id: RecordArgument) -> None:
    """Delete a quarantined file for good."""
    _on_file(context, lambda quarantine: quarantine.delete(record_id))
    context.report({"deleted": record_id}, f"deleted {record_id}")


def _on_file[Done](
    context: CommandContext, act: "Callable[[Quarantine], Coroutine[None, None, Done]]"
) -> Done:
    import asyncio

    from secondlook.agent.actions.quarantine import Quarantine, QuarantineError
    from secondlook.run.assembly.background.second_look import QUARANTINE_FOLDER

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
