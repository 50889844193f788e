"""`secondlook server findings`: what agents reported, to be approved or withdrawn."""

import time
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Annotated

import typer

from secondlook.cli.caller import typed
from secondlook.cli.context import when_bare
from secondlook.cli.output import fail, print_list
from secondlook.cli.server.context import ServerContext, with_server
from secondlook.cli.server.entries import in_force
from secondlook.ground.instant import rfc3339

if TYPE_CHECKING:
    from secondlook.server.findings.intake import Intake

app = typer.Typer(
    add_completion=False, help="What agents found and reported: list it, approve it, withdraw it."
)
COLUMNS = ("id", "state", "subject", "list", "found", "agent", "address", "times", "reported")
IdentitiesArgument = Annotated[
    list[str], typer.Argument(metavar="ID…", help="As `server findings` shows them.")
]


@app.command("list")
@when_bare(app)
@with_server
def list_findings(context: ServerContext) -> None:
    """List what agents reported: waiting for approval, withdrawn, and listed."""
    found = (
        {
            "id": each.id,
            "state": each.state,
            "subject": each.text,
            "list": each.list,
            "found": each.reason,
            "agent": each.agent,
            "address": each.address,
            "times": each.count,
            "reported": rfc3339(each.at),
        }
        for each in _intake(context).findings()
    )
    empty = "no agent reported anything"
    print_list(found, dict, COLUMNS, itemgetter(*COLUMNS), as_json=context.as_json, empty=empty)


@app.command()
@with_server
def approve(context: ServerContext, identities: IdentitiesArgument) -> None:
    """List findings that wait; `server publish` puts them in force."""
    intake = _intake(context)
    for entry in _decided(identities, intake.approve):
        record = {"id": entry.id, "subject": entry.text, "list": entry.list}
        context.report(record, f"{entry.text} is in {entry.list} (id {entry.id}); {in_force()}")


@app.command()
@with_server
def withdraw(context: ServerContext, identities: IdentitiesArgument) -> None:
    """Take findings back, waiting or listed; agents that report them again are refused."""
    intake = _intake(context)
    for finding in _decided(identities, intake.withdraw):
        record = {"id": finding.id, "subject": finding.text, "state": finding.state}
        context.report(record, f"{finding.text} is withdrawn (id {finding.id}); {in_force()}")


def _decided[T](identities: Sequence[str], decide: Callable[..., T]) -> Iterator[T]:
    """Decide about one finding after the other; ends with an error at the first that is not there."""
    for identity in identities:
        try:
            yield decide(identity, now=time.time())
        except LookupError as error:
            fail(str(error.args[0]), hint=f"`{typed('server findings')}` shows them")


def _intake(context: ServerContext) -> "Intake":
    from secondlook.server.findings.intake import Intake

    return Intake(context.store, context.settings.publish)
