"""`secondlook queue`: what was let through unverified and waits for its second look."""

import sys
import time
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from secondlook.cli.caller import typed
from secondlook.cli.completion import id_argument
from secondlook.cli.context import CommandContext, lists, with_known_context
from secondlook.cli.output import (
    duration_text,
    fail,
    print_facts,
    print_json,
    print_line,
    print_list,
    time_text,
)

if TYPE_CHECKING:
    from secondlook.core.event import QueueEntry
    from secondlook.ledger.ledger import Ledger

app = typer.Typer(add_completion=False, help="What was let through unverified and waits for its second look.")
COLUMNS = ("id", "class", "what", "clients", "times", "first seen", "attempts", "next look", "because")


@lists(app)
def list_queue(ledger: "Ledger", *, utc: bool, as_json: bool) -> None:
    """List the flagged subjects, oldest first."""
    from secondlook.ledger.log.shape import queue_json

    now = time.time()

    def row(entry: "QueueEntry") -> tuple[object, ...]:
        return (
            entry.id,
            entry.cls,
            entry.url or entry.filename or entry.host or entry.sha256 or entry.identity.hex(),
            entry.clients,
            entry.count,
            time_text(entry.first_seen, utc=utc),
            entry.attempts,
            "now" if entry.next_attempt <= now else f"in {duration_text(entry.next_attempt - now)}",
            entry.reason,
        )

    empty = "nothing waits for a second look"
    print_list(ledger.queue.walk(), queue_json, COLUMNS, row, as_json=as_json, empty=empty)


@app.command()
@with_known_context
def show(
    context: CommandContext,
    entry_id: Annotated[
        str, id_argument(lambda ledger: (entry.id for entry in ledger.queue.walk()), "queue list")
    ],
) -> None:
    """Show one flagged subject with everything known about it."""
    from secondlook.ledger.log.shape import queue_json

    with context.ledger_to_read() as ledger:
        entry = ledger.queue.find(entry_id)
    if entry is None:
        fail(
            f"nothing with the id {entry_id} waits",
            hint=f"`{typed('queue list')}` shows what waits with its id",
        )
    if context.as_json:
        print_json(queue_json(entry))
        return
    print_facts(queue_json(entry).items())
    print_line("hashes asked about:")
    for full_hash in entry.hashes:
        print_line(f"  {full_hash.hex()}")


@app.command()
@with_known_context
def verify(context: CommandContext) -> None:
    """Take the second look at everything that waits, now, and report."""
    import asyncio

    report, left = asyncio.run(_verify(context))
    if context.as_json:
        print_json({**report, "waiting": left})
    else:
        print_facts([*report.items(), ("still waiting", left)])
    if report["error"]:
        sys.exit(1)


async def _verify(context: CommandContext) -> tuple[dict[str, object], int]:
    from secondlook.run.assembly.background.second_look import (
        make_notifier,
        make_quarantine,
        make_second_look,
    )
    from secondlook.run.assembly.check.asking import asking
    from secondlook.run.assembly.check.scanning import make_scanner

    with context.ledger() as ledger:
        async with asking(context.settings, ledger) as parts, AsyncExitStack() as closing:
            notifier = make_notifier(parts)
            quarantine = make_quarantine(context.settings, parts)
            scanner = make_scanner(parts)
            closing.push_async_callback(scanner.aclose)
            look = make_second_look(parts, notifier, quarantine, scanner)
            report = asdict(await look.rechecker.look(everything=True))
            if notifier is not None:
                await notifier.send_due()
            left, _, _ = ledger.queue.count()
        return report, left
