"""`secondlook pattern`: the local lists: what is in force, how old, from where."""

import sys
import time
from typing import Annotated, Any

import typer

from secondlook.cli.caller import typed
from secondlook.cli.options import (
    CommandContext,
    ConfigOption,
    JsonOption,
    StateOption,
    known_context,
    open_context,
    when_bare,
)
from secondlook.cli.output import (
    duration_text,
    fail,
    generation_text,
    print_json,
    print_line,
    print_marked,
    print_result,
    print_table,
    working,
)
from secondlook.ground.errors import PatternError
from secondlook.ground.ulid import make_id

app = typer.Typer(add_completion=False, help="The local lists: what is in force, how old, from where.")
COLUMNS = ("what", "list", "entries", "generation", "tier", "server", "confirmed")


@app.command()
@when_bare(app)
def status(config: ConfigOption = None, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Show the lists in force: entries, generation, server, age, and what is wrong."""
    from secondlook.agent.pattern import change
    from secondlook.ledger.log.shape import rfc3339
    from secondlook.server.feeds import rule_versions

    context = known_context(config, state)
    now = time.time()
    found = change.status(context.state, now=now, title=context.list_title)
    if as_json:
        for each in found.lists:
            print_json(
                {
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
            )
        return
    titles = context.list_titles()
    rows = (
        (
            titles.get(each.name),
            each.name,
            each.entries,
            each.generation,
            each.tier,
            each.server,
            f"{duration_text(each.age_s)} ago",
        )
        for each in found.lists
    )
    print_table(
        COLUMNS, rows, empty=f"no lists yet; they come when a server is reached (`{typed('pattern update')}`)"
    )
    if found.lists:
        print_line(f"{found.entries:,} entries, {generation_text(found.generation)}")
    of_rules = (rule_versions.rollback_text(name, folder) for name, folder in context.settings.rule_feeds)
    for alert in (*found.alerts, *(notice for notice in of_rules if notice is not None)):
        print_marked("attention:", f" {alert}", "doubtful")


@app.command()
def update(
    accept_shrink: Annotated[
        bool,
        typer.Option("--accept-shrink", help="Also when a list shrinks far, or is offered no more."),
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Also what `pattern rollback` gave up, and rules of a feed that shrank."
        ),
    ] = False,
    config: ConfigOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the servers for news now, and for what is damaged here, and report."""
    import asyncio

    from secondlook.agent.pattern import change
    from secondlook.agent.pattern.files import FOLDER
    from secondlook.scan import rule_keeper
    from secondlook.server.feeds import rule_versions

    context = open_context(config, state)
    change.set_damaged_stamp_aside(context.state / FOLDER)
    if force:
        change.forget_rollback(context.state, now=time.time(), keep=context.settings.pattern.keep)
        for _, folder in context.settings.rule_feeds:
            rule_versions.take_up_again(folder)
        rule_keeper.ask_for_look(context.state)
    with working("asking the servers for their lists"):
        outcomes = asyncio.run(_update(context, accept_shrink=accept_shrink))
    if as_json:
        for each in outcomes:
            print_json(each)
    else:
        rows = (
            (
                each["server"],
                each["generation"],
                "; ".join(f"{name} {count:,}" for name, count in each["taken"].items()) or "nothing new",
                "; ".join(f"{name}: {why}" for name, why in each["refused"].items()),
                each["error"],
            )
            for each in outcomes
        )
        print_table(
            ("server", "generation", "taken", "refused", "error"), rows, empty="there is no server to ask"
        )
        _mention_rollback(context)
    if any(each["error"] or each["refused"] for each in outcomes):
        sys.exit(1)


async def _update(context: CommandContext, *, accept_shrink: bool) -> list[dict[str, Any]]:
    from secondlook.run.assembly.background.updates import make_updater
    from secondlook.run.assembly.check.asking import asking

    with context.ledger() as ledger:
        async with asking(context.settings, ledger) as parts:
            updater = make_updater(parts)
            await updater.verify()  # a damaged list has no news: it is fetched whole
            return [
                {
                    "server": each.server,
                    "generation": each.generation,
                    "taken": dict(each.taken),
                    "refused": dict(each.refused),
                    "error": each.error,
                }
                for each in await updater.update_now(accept_shrink=accept_shrink)
            ]


def _mention_rollback(context: CommandContext) -> None:
    """Point out what an update leaves out: what a rollback has given up."""
    from secondlook.agent.pattern import change
    from secondlook.agent.pattern.files import FOLDER, read_stamp

    stamp = read_stamp(context.state / FOLDER)
    if stamp is not None and (notice := change.held_text(stamp, context.list_title)):
        print_marked("attention:", f" {notice}", "doubtful")


@app.command()
def verify(config: ConfigOption = None, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Read every list whole and compare it with its checksum; exit status 1 when one is damaged."""
    from secondlook.agent.pattern import change

    context = known_context(config, state)
    started = time.monotonic()
    found = change.status(context.state, now=time.time())
    faults = {each.file: fault for each, fault in change.verify(context.state).items()}
    for each in found.lists:
        fault = faults.get(each.file)
        record = {"list": each.name, "entries": each.entries, "ok": fault is None, "fault": fault}
        print_result(record, f"{each.name}: {fault or 'in order'}", as_json=as_json)
    if not as_json:
        print_line(f"{found.entries:,} entries read in {time.monotonic() - started:.2f} s")
    if faults:
        sys.exit(1)


@app.command()
def rollback(
    of_rules: Annotated[
        str | None,
        typer.Option("--rules", metavar="FEED", help="The YARA rules of this feed, not the lists."),
    ] = None,
    config: ConfigOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put the lists before these back in force, until a server has others."""
    from secondlook.agent.pattern import change
    from secondlook.core.event import Event, EventKind

    context = known_context(config, state)
    if of_rules is not None:
        _roll_back_rules(context, of_rules, as_json=as_json)
        return
    stamp = change.rollback(context.state, keep=context.settings.pattern.keep)
    if not stamp.lists:
        fail("there is no earlier pattern")
    kept_back = change.kept_text(stamp, context.list_title) or "nothing is kept back"
    text = f"rolled back to {generation_text(stamp.generation)}: {kept_back}"
    with context.ledger() as ledger:
        now = time.time()
        ledger.recorder.record(Event(id=make_id(now), kind=EventKind.UPDATE, time=now, detail=text))
    lines = [f"{generation_text(stamp.generation)} is in force again, until a server has another one"]
    if stamp.held:
        lines.append(f"  take the one that was given up after all with: {typed('pattern update --force')}")
    print_result({"generation": stamp.generation}, *lines, as_json=as_json)


def _roll_back_rules(context: CommandContext, feed: str, *, as_json: bool) -> None:
    from secondlook.core.event import Event, EventKind
    from secondlook.ledger.log.shape import rfc3339
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
        now = time.time()
        ledger.recorder.record(
            Event(id=make_id(now), kind=EventKind.UPDATE, time=now, list=feed, detail=text)
        )
    print_result(
        {"feed": feed, "rules": now_in_force.count, "taken_at": rfc3339(now_in_force.taken_at)},
        f"{feed}: {text}; in force as soon as they are compiled, until the feed has others",
        f"  take those that were given up after all with: {typed('pattern update --force')}",
        as_json=as_json,
    )
