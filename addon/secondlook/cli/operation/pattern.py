"""`secondlook pattern`: the local lists: what is in force, how old, from where."""

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from secondlook.cli.caller import typed
from secondlook.cli.context import CommandContext, when_bare, with_context, with_known_context
from secondlook.cli.options import Text, flag, option
from secondlook.cli.output import (
    duration_text,
    fail,
    generation_text,
    plain_value,
    print_line,
    print_list,
    print_marked,
    working,
)
from secondlook.ground.errors import PatternError
from secondlook.ground.instant import rfc3339

if TYPE_CHECKING:
    from secondlook.agent.pattern.change import ListStatus
    from secondlook.agent.pattern.source import UpdateOutcome

app = typer.Typer(add_completion=False, help="The local lists: what is in force, how old, from where.")
COLUMNS = ("what", "list", "entries", "generation", "tier", "server", "confirmed")


@app.command()
@when_bare(app)
@with_known_context
def status(context: CommandContext) -> None:
    """Show the lists in force: entries, generation, server, age, and what is wrong."""
    from secondlook.agent.pattern import change
    from secondlook.server.feeds import rule_versions

    now = time.time()
    found = change.status(context.state, now=now, title=context.list_title)
    titles = {} if context.as_json else context.list_titles()

    def record(each: "ListStatus") -> dict[str, object]:
        return {
            "list": each.name,
            "entries": each.entries,
            "generation": each.generation,
            "tier": each.tier,
            "server": each.server,
            "confirmed": rfc3339(now - each.age_s),
            "age_s": round(each.age_s, 3),
            "file": each.file,
            "sha256": each.sha256,
        }

    def row(each: "ListStatus") -> tuple[object, ...]:
        ago = f"{duration_text(each.age_s)} ago"
        title = titles.get(each.name)
        return title, each.name, each.entries, each.generation, each.tier, each.server, ago

    empty = f"no lists yet; they come when a server is reached (`{typed('pattern update')}`)"
    print_list(found.lists, record, COLUMNS, row, as_json=context.as_json, empty=empty)
    if context.as_json:
        return
    if found.lists:
        print_line(f"{found.entries:,} entries, {generation_text(found.generation)}")
    of_rules = (rule_versions.rollback_text(name, folder) for name, folder in context.settings.rule_feeds)
    for alert in (*found.alerts, *(notice for notice in of_rules if notice is not None)):
        print_marked("attention:", f" {alert}", "doubtful")


@app.command()
@with_context
def update(
    context: CommandContext,
    accept_shrink: Annotated[
        bool, flag("--accept-shrink", "Also when a list shrinks far, or is offered no more.")
    ] = False,
    force: Annotated[
        bool, flag("--force", "Also what `pattern rollback` gave up, and rules of a feed that shrank.")
    ] = False,
) -> None:
    """Ask the servers for news now, and for what is damaged here, and report."""
    import asyncio

    from secondlook.agent.pattern import change
    from secondlook.agent.pattern.files import FOLDER
    from secondlook.scan import rule_keeper
    from secondlook.server.feeds import rule_versions

    change.set_damaged_stamp_aside(context.state / FOLDER)
    if force:
        change.forget_rollback(context.state, now=time.time(), keep=context.settings.pattern.keep)
        for _, folder in context.settings.rule_feeds:
            rule_versions.take_up_again(folder)
        rule_keeper.ask_for_look(context.state)
    with working("asking the servers for their lists"):
        outcomes = asyncio.run(_update(context, accept_shrink=accept_shrink))

    def row(each: "UpdateOutcome") -> tuple[object, ...]:
        taken = "; ".join(f"{name} {count:,}" for name, count in each.taken.items()) or "nothing new"
        refused = "; ".join(f"{name}: {why}" for name, why in each.refused.items())
        return each.server, each.generation, taken, refused, each.error

    columns, empty = ("server", "generation", "taken", "refused", "error"), "there is no server to ask"
    print_list(outcomes, plain_value, columns, row, as_json=context.as_json, empty=empty)
    if not context.as_json:
        _mention_rollback(context)
    if any(each.error or each.refused for each in outcomes):
        sys.exit(1)


async def _update(context: CommandContext, *, accept_shrink: bool) -> "Sequence[UpdateOutcome]":
    from secondlook.run.assembly.background.updates import make_updater
    from secondlook.run.assembly.check.asking import asking

    with context.ledger() as ledger:
        async with asking(context.settings, ledger) as parts:
            updater = make_updater(parts)
            await updater.verify()  # a damaged list has no news: it is fetched whole
            return await updater.update_now(accept_shrink=accept_shrink)


def _mention_rollback(context: CommandContext) -> None:
    """Point out what an update leaves out: what a rollback has given up."""
    from secondlook.agent.pattern import change
    from secondlook.agent.pattern.files import FOLDER, read_stamp

    stamp = read_stamp(context.state / FOLDER)
    if stamp is not None and (notice := change.held_text(stamp, context.list_title)):
        print_marked("attention:", f" {notice}", "doubtful")


@app.command()
@with_known_context
def verify(context: CommandContext) -> None:
    """Read every list whole and compare it with its checksum; exit status 1 when one is damaged."""
    from secondlook.agent.pattern import change

    started = time.monotonic()
    found = change.status(context.state, now=time.time())
    faults = {each.file: fault for each, fault in change.verify(context.state).items()}
    for each in found.lists:
        fault = faults.get(each.file)
        record = {"list": each.name, "entries": each.entries, "ok": fault is None, "fault": fault}
        context.report(record, f"{each.name}: {fault or 'in order'}")
    if not context.as_json:
        print_line(f"{found.entries:,} entries read in {time.monotonic() - started:.2f} s")
    if faults:
        sys.exit(1)


@app.command()
@with_known_context
def rollback(
    context: CommandContext,
    of_rules: Annotated[
        Text, option("--rules", "FEED", "The YARA rules of this feed, not the lists.")
    ] = None,
) -> None:
    """Put the lists before these back in force, until a server has others."""
    from secondlook.agent.pattern import change
    from secondlook.core.event import Event, EventKind

    if of_rules is not None:
        _roll_back_rules(context, of_rules)
        return
    stamp = change.rollback(context.state, now=time.time(), keep=context.settings.pattern.keep)
    if not stamp.lists:
        fail("there is no earlier pattern")
    kept_back = change.kept_text(stamp, context.list_title) or "nothing is kept back"
    text = f"rolled back to {generation_text(stamp.generation)}: {kept_back}"
    with context.ledger() as ledger:
        ledger.recorder.record(Event(id="", kind=EventKind.UPDATE, time=time.time(), detail=text))
    lines = [f"{generation_text(stamp.generation)} is in force again, until a server has another one"]
    if stamp.held:
        lines.append(f"  take the one that was given up after all with: {typed('pattern update --force')}")
    context.report({"generation": stamp.generation}, *lines)


def _roll_back_rules(context: CommandContext, feed: str) -> None:
    from secondlook.core.event import Event, EventKind
    from secondlook.scan import rule_keeper
    from secondlook.server.feeds import rule_versions

    folders = dict(context.settings.rule_feeds)
    if feed not in folders:
        known = f"expected one of {', '.join(folders)}" if folders else "there is no feed of `format: yara`"
        fail(f"--rules: {known}, got {feed}", status=2)
    try:
        now_in_force = rule_versions.roll_back(feed, folders[feed])
    except PatternError as error:
        fail(str(error))
    rule_keeper.ask_for_look(context.state)
    text = f"rolled back to {now_in_force.count} rules of {rfc3339(now_in_force.taken_at)}"
    with context.ledger() as ledger:
        ledger.recorder.record(Event(id="", kind=EventKind.UPDATE, time=time.time(), list=feed, detail=text))
    context.report(
        {"feed": feed, "rules": now_in_force.count, "taken_at": rfc3339(now_in_force.taken_at)},
        f"{feed}: {text}; in force as soon as they are compiled, until the feed has others",
        f"  take those that were given up after all with: {typed('pattern update --force')}",
    )
