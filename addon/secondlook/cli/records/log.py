"""`secondlook log`: the event log, newest last; filtered, followed, as JSON Lines or CSV."""

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from secondlook.cli.caller import on_terminal, write
from secondlook.cli.completion import some_of
from secondlook.cli.context import CommandContext, with_known_context
from secondlook.cli.options import Text, Texts, UtcOption, client_option, flag, instant_from, option
from secondlook.cli.output import fail, print_json, print_table, time_text
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


@app.command()
@with_known_context
def log(
    context: CommandContext,
    decision: Annotated[Texts, some_of(Action, "allow|block|flag", "May be repeated.")] = None,
    kind: Annotated[Texts, some_of(EventKind, "KIND")] = None,
    stage: Annotated[Texts, some_of(Stage, "STAGE")] = None,
    threat: Annotated[Texts, some_of(Threat, "THREAT")] = None,
    host: Annotated[Text, option("--host", "HOST", "This host; *.example.org for subdomains too.")] = None,
    client: Annotated[Text, client_option("Of this address or user.", recorded_client)] = None,
    proxy: Annotated[Text, option("--proxy", "NAME", "Of this one of those that share the ledger.")] = None,
    gateway: Annotated[
        Text, option("--gateway", "NAME", "Asked by this gateway: its name or address.")
    ] = None,
    since: Annotated[Text, option("--since", "1d|TIME", "Not before; how long ago, or when.")] = None,
    until: Annotated[Text, option("--until", "1h|TIME", "Before.")] = None,
    search: Annotated[Text, option("--search", "TEXT", "Words that must all occur.")] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Only the newest N.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with new events as they come.")
    ] = False,
    as_csv: Annotated[bool, flag("--csv", "Comma-separated values with a header.")] = False,
    erase_client: Annotated[
        Text, option("--erase-client", "CLIENT", "Delete for good what was kept of a client.")
    ] = None,
    yes: Annotated[bool, flag("--yes", "Erase without asking.")] = False,
    utc: UtcOption = False,
) -> None:
    """Show the event log, newest last. On a terminal only the newest 100, unless `--limit` asks for more."""
    if erase_client is not None or yes:
        chosen = (decision, kind, stage, threat, host, client, proxy, gateway, since, until, search, limit)
        filtered = follow or as_csv or any(value is not None for value in chosen)
        _erase(context, erase_client, filtered=filtered, yes=yes)
        return
    if as_csv and context.as_json:
        fail("expected --csv or --json, got both", status=2)
    if host is not None and not host.strip():
        fail("expected a host after --host, got nothing", status=2)
    begun, ended = instant_from(since, "--since"), instant_from(until, "--until")
    if begun is not None and ended is not None and (begun >= ended or since == until):
        fail(
            f"no time lies between --since {since} and --until {until}",
            hint="--since names the earlier end, as a greater age or as the earlier time",
            status=2,
        )
    # all mistakes are answered by now, without the ledger's modules
    from secondlook.core.url.canonical import host_filter
    from secondlook.ledger.log.filter import EventFilter

    wanted = EventFilter(
        decision=_any_of(decision),
        kind=_any_of(kind),
        stage=_any_of(stage),
        threat=_any_of(threat),
        host=host_filter(host) if host is not None else None,
        client=client,
        proxy=proxy,
        gateway=gateway,
        since=begun,
        until=ended,
        search=search,
    )
    if limit is None and on_terminal() and not (as_csv or context.as_json):
        limit = 100
    _show(context, wanted, limit, follow=follow, as_csv=as_csv, utc=utc)


def _any_of(words: Texts) -> tuple[str, ...] | None:
    return None if words is None else tuple(words)


def _show(
    context: CommandContext,
    wanted: "EventFilter",
    limit: int | None,
    *,
    follow: bool,
    as_csv: bool,
    utc: bool,
) -> None:
    import asyncio

    titles = cache(context.list_titles)  # not looked for before a row names a list

    def row(event: Event) -> tuple[object, ...]:
        return _row(event, titles() if event.list and on_terminal() else NO_TITLES, utc=utc)

    def print_row(event: Event) -> None:
        _print_plain(row(event))

    with context.ledger_to_read() as ledger:
        show: Callable[[Event], None] | None = None  # one by one, as they come
        if context.as_json:
            show = _print_as_json
        elif as_csv:
            show = _csv_printer()
        elif follow:
            show = print_row
        cursor = ledger.events.end() if follow else None
        events: Iterable[Event]
        if limit is None:
            events = ledger.events.export(wanted, upto=cursor)
        else:
            newest = ledger.events.export(wanted, newest_first=True, upto=cursor)
            events = reversed(list(islice(newest, limit)))
        if show is None:
            empty = "no events" + _because(wanted)
            print_table(COLUMNS, map(row, events), empty=empty, whole=WHOLE, spare=SPARE)
            return
        for event in events:
            show(event)
        if cursor is not None:
            sys.stdout.flush()
            asyncio.run(_follow(ledger.events, wanted, cursor, show))


def _erase(context: CommandContext, client: str | None, *, filtered: bool, yes: bool) -> None:
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
    context.report({"client": name, "events": gone}, *lines)


async def _follow(log: "EventLog", wanted: "EventFilter", cursor: str, show: Callable[[Event], None]) -> None:
    async for event in log.follow(wanted, after=cursor):
        show(event)
        sys.stdout.flush()


def _print_as_json(event: Event) -> None:
    from secondlook.ledger.log.shape import event_json

    print_json(event_json(event))


def _because(wanted: "EventFilter") -> str:
    from secondlook.ledger.log.filter import EventFilter

    return " yet" if wanted == EventFilter() else " that fit"


def _row(event: Event, titles: Mapping[str, str] = NO_TITLES, *, utc: bool = False) -> tuple[object, ...]:
    return (
        time_text(event.time, utc=utc),
        event.kind,
        event.cls,
        event.url or event.filename or event.host or event.sha256 or _happened(event),
        event.client,
        event.stage,
        titles.get(event.list, event.list) if event.list else event.rule,
        event.threat,
        event.id,
    )


def _happened(event: Event) -> str | None:
    if event.kind is not EventKind.SERVER or not event.detail:
        return event.detail
    from secondlook.core.display import server_change

    change = server_change(event.detail)
    return f"{event.server} {change}" if event.server else change


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
