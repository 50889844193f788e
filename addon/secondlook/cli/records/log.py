"""`secondlook log`: the event log, newest last; filtered, followed, as JSON Lines or CSV."""

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from secondlook.cli.caller import on_terminal, write
from secondlook.cli.completion import completed
from secondlook.cli.options import (
    CommandContext,
    ConfigOption,
    JsonOption,
    StateOption,
    UtcOption,
    client_option,
    instant_from,
    known_context,
)
from secondlook.cli.output import fail, fail_as_none_of, print_json, print_result, print_table, time_text
from secondlook.core.event import Event, EventKind
from secondlook.core.neutralize import inert
from secondlook.core.rules.client import ClientNameError, recorded_client
from secondlook.core.verdict import Action, Stage, Threat

if TYPE_CHECKING:
    from secondlook.ledger.log.event_log import EventLog
    from secondlook.ledger.log.filter import EventFilter

app = typer.Typer(add_completion=False)
COLUMNS = ("time", "kind", "class", "what", "client", "stage", "list or rule", "threat", "id")
WHOLE = ("time", "id")
SPARE = ("id", "class", "threat", "stage")  # what a narrow terminal does without
NO_TITLES: Mapping[str, str] = {}


def _several(option: str, given: list[str] | None, known: Iterable[str]) -> tuple[str, ...] | None:
    if not given:
        return None
    words = tuple(word.strip() for text in given for word in text.split(",") if word.strip())
    allowed = tuple(known)
    for word in words:
        if word not in allowed:
            fail_as_none_of(option, allowed, word)
    return words


@app.command()
def log(
    config: ConfigOption = None,
    state: StateOption = None,
    decision: Annotated[
        list[str] | None,
        typer.Option(
            "--decision",
            metavar="allow|block|flag",
            help="May be repeated.",
            autocompletion=completed(Action),
        ),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind", metavar="KIND", help=", ".join(EventKind), autocompletion=completed(EventKind)
        ),
    ] = None,
    stage: Annotated[
        list[str] | None,
        typer.Option("--stage", metavar="STAGE", help=", ".join(Stage), autocompletion=completed(Stage)),
    ] = None,
    threat: Annotated[
        list[str] | None,
        typer.Option("--threat", metavar="THREAT", help=", ".join(Threat), autocompletion=completed(Threat)),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option("--host", metavar="HOST", help="This host; *.example.org for subdomains too."),
    ] = None,
    client: Annotated[str | None, client_option("Of this address or user.", recorded_client)] = None,
    proxy: Annotated[
        str | None,
        typer.Option("--proxy", metavar="NAME", help="Of this one of those that share the ledger."),
    ] = None,
    gateway: Annotated[
        str | None,
        typer.Option("--gateway", metavar="NAME", help="Asked by this gateway: its name or address."),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="1d|TIME", help="Not before; how long ago, or when.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="1h|TIME", help="Before.")] = None,
    search: Annotated[
        str | None, typer.Option("--search", metavar="TEXT", help="Words that must all occur.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Only the newest N.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with new events as they come.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values with a header.")] = False,
    erase_client: Annotated[
        str | None,
        typer.Option("--erase-client", metavar="CLIENT", help="Delete for good what was kept of a client."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Erase without asking.")] = False,
    utc: UtcOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show the event log, newest last. On a terminal only the newest 100, unless `--limit` asks for more."""
    if erase_client is not None or yes:
        chosen = (decision, kind, stage, threat, host, client, proxy, gateway, since, until, search, limit)
        filtered = follow or as_csv or any(value is not None for value in chosen)
        _erase(known_context(config, state), erase_client, filtered=filtered, yes=yes, as_json=as_json)
        return
    if as_csv and as_json:
        fail("expected --csv or --json, got both", status=2)
    if host is not None and not host.strip():
        fail("expected a host after --host, got nothing", status=2)
    decisions, kinds = _several("--decision", decision, Action), _several("--kind", kind, EventKind)
    stages, threats = _several("--stage", stage, Stage), _several("--threat", threat, Threat)
    begun, ended = instant_from(since, "--since"), instant_from(until, "--until")
    # all mistakes are answered by now, without the ledger's modules
    from secondlook.core.url.canonical import host_filter
    from secondlook.ledger.log.filter import EventFilter

    wanted = EventFilter(
        decision=decisions,
        kind=kinds,
        stage=stages,
        threat=threats,
        host=host_filter(host) if host is not None else None,
        client=client,
        proxy=proxy,
        gateway=gateway,
        since=begun,
        until=ended,
        search=search,
    )
    context = known_context(config, state)
    if limit is None and on_terminal() and not (as_csv or as_json):
        limit = 100
    _show(context, wanted, limit, follow=follow, as_csv=as_csv, as_json=as_json, utc=utc)


def _show(
    context: CommandContext,
    wanted: "EventFilter",
    limit: int | None,
    *,
    follow: bool,
    as_csv: bool,
    as_json: bool,
    utc: bool,
) -> None:
    import asyncio

    from secondlook.ledger.log.shape import event_json

    titles = cache(context.list_titles)  # not looked for before a row names a list

    def row(event: Event) -> tuple[object, ...]:
        return _row(event, titles() if event.list and on_terminal() else NO_TITLES, utc=utc)

    with context.ledger_to_read() as ledger:
        printer = _csv_printer() if as_csv else None
        cursor = ledger.events.end() if follow else None
        events: Iterable[Event]
        if limit is None:
            events = ledger.events.export(wanted, upto=cursor)
        else:
            newest = ledger.events.export(wanted, newest_first=True, upto=cursor)
            events = reversed(list(islice(newest, limit)))
        if as_json:
            for event in events:
                print_json(event_json(event))
        elif printer is not None:
            for event in events:
                printer(event)
        elif follow:
            for event in events:
                _print_plain(row(event))
        else:
            empty = "no events" + _because(wanted)
            print_table(COLUMNS, map(row, events), empty=empty, whole=WHOLE, spare=SPARE)
        if cursor is not None:
            sys.stdout.flush()
            asyncio.run(_follow(ledger.events, wanted, cursor, row, as_json=as_json, printer=printer))


def _erase(context: CommandContext, client: str | None, *, filtered: bool, yes: bool, as_json: bool) -> None:
    if client is None:
        fail("--yes is for --erase-client", status=2)
    if filtered:
        fail("--erase-client takes no filter: everything that names the client goes", status=2)
    try:
        name = recorded_client(client)
    except ClientNameError as error:
        fail(f"--erase-client: {error}", status=2)
    if not yes:
        if not sys.stdin.isatty():
            fail(f"this deletes for good what was kept of {name}", hint="add --yes to do it", status=2)
        typer.confirm(f"Delete for good everything that was kept of {inert(name)}?", abort=True)
    with context.ledger() as ledger:
        gone = ledger.upkeep.erase_client(name)
    lines = [f"erased {name}: {gone:,} events; nothing that is kept names it any more, except rules"]
    if aside := ", ".join(path.name for path in sorted(context.state.glob("*.damaged*"))):
        lines.append(f"what was damaged and set aside may name it, and is yours to delete: {aside}")
    print_result({"client": name, "events": gone}, *lines, as_json=as_json)


async def _follow(
    log: "EventLog",
    wanted: "EventFilter",
    cursor: str,
    row: Callable[[Event], tuple[object, ...]],
    *,
    as_json: bool,
    printer: Callable[[Event], None] | None,
) -> None:
    from secondlook.ledger.log.shape import event_json

    async for event in log.follow(wanted, after=cursor):
        if as_json:
            print_json(event_json(event))
        elif printer is not None:
            printer(event)
        else:
            _print_plain(row(event))
        sys.stdout.flush()


def _because(wanted: "EventFilter") -> str:
    from secondlook.ledger.log.filter import EventFilter

    return " yet" if wanted == EventFilter() else " that fit"


def _row(event: Event, titles: Mapping[str, str] = NO_TITLES, *, utc: bool = False) -> tuple[object, ...]:
    what = event.url or event.filename or event.host or event.sha256 or event.detail
    return (
        time_text(event.time, utc=utc),
        event.kind,
        event.cls,
        what,
        event.client,
        event.stage,
        titles.get(event.list, event.list) if event.list else event.rule,
        event.threat,
        event.id,
    )


def _print_plain(row: tuple[object, ...]) -> None:
    cells = ("-" if value is None else inert(str(getattr(value, "value", value))) for value in row)
    write("\t".join(cells) + "\n")


def _csv_printer() -> Callable[[Event], None]:
    from secondlook.ledger.log.shape import csv_lines

    lines = csv_lines(())
    write(next(lines))

    def print_event(event: Event) -> None:
        _, line = csv_lines((event,))
        write(line)

    return print_event
