"""`secondlook server list`, `add`, `except` and `remove`: entries, with who made them and when."""

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import typer

from secondlook.cli.caller import typed
from secondlook.cli.completion import completed
from secondlook.cli.options import Text, flag, option, own_name, seconds_from
from secondlook.cli.output import fail, print_list
from secondlook.cli.server.context import LISTS, ServerContext, with_server
from secondlook.core.neutralize import inert
from secondlook.ground.instant import rfc3339

if TYPE_CHECKING:
    from secondlook.server.administration import EntryRow
    from secondlook.server.store.manual_entries import ManualEntry


SOURCE_COLUMNS = ("id", "kind", "list", "format", "entries", "who", "added")


def in_force() -> str:
    """Return what puts a change in force."""
    return f"in force after: {typed('server publish')}"


SubjectArgument = Annotated[
    str,
    typer.Argument(
        metavar="SUBJECT", help="Host (with subdomains), URL ending in / (all below), URL, or a digest."
    ),
]
ReasonOption = Annotated[Text, option("--reason", "TEXT", "Shown in listings.")]
ForOption = Annotated[Text, option("--for", "DURATION", "For so long (1d, 2w); default: until removed.")]


@with_server
def list_entries(
    context: ServerContext,
    list_name: Annotated[Text, option("--list", "NAME", "Only this list.", completed(LISTS))] = None,
    search: Annotated[Text, option("--search", "TEXT", "Only entries with this text.")] = None,
    sources: Annotated[bool, flag("--sources", "The sources instead of their entries.")] = False,
    own: Annotated[bool, flag("--own", "Only own entries and exceptions.")] = False,
) -> None:
    """List entries and exceptions, with their source, who added them and when."""
    from secondlook.server import administration

    if sources:
        list_sources(context)
        return
    try:
        found = administration.entries(context.store, list_name=list_name, search=search, own_only=own)

        def row(each: "EntryRow") -> tuple[object, ...]:
            source = f"{each.source} (off)" if each.is_off else each.source
            return each.text, each.list, source, each.who, rfc3339(each.added_at), each.id, each.reason

        columns = ("entry", "list", "source", "who", "added", "id", "reason")
        empty = f"no entries; add some with `{typed('server import')}`"
        print_list(found, _entry_record, columns, row, as_json=context.as_json, empty=empty)
    except ValueError as error:
        fail(str(error), status=2)


def _entry_record(row: "EntryRow") -> dict[str, object]:
    return {
        "entry": row.text,
        "list": row.list,
        "source": row.source,
        "who": row.who,
        "added": rfc3339(row.added_at),
        "family": row.family,
        "first_seen": rfc3339(row.first_seen),
        "id": row.id,
        "reason": row.reason,
        "expires": rfc3339(row.expires_at),
        "off": row.is_off,
    }


def list_sources(context: ServerContext) -> None:
    """Show the sources of a store, with what was taken from each."""
    from secondlook.server.store.feeds_off import lists_off

    off = lists_off(context.store.root)
    found = (
        {
            "id": each.id,
            "name": each.name,
            "kind": each.kind,
            "list": each.list,
            "format": each.format,
            "who": each.who,
            "added": rfc3339(each.added_at),
            "counts": dict(each.counts),
            "rejected": dict(each.rejected),
            "licence": each.licence,
            "url": each.url,
            "off": each.kind == "feed" and each.name in off,
        }
        for each in context.store.sources()
    )

    def row(record: dict[str, Any]) -> tuple[object, ...]:
        kind = "feed (off)" if record["off"] else record["kind"]
        shown = {**record, "kind": kind, "entries": sum(record["counts"].values())}
        return tuple(shown[column] for column in SOURCE_COLUMNS)

    print_list(found, dict, SOURCE_COLUMNS, row, as_json=context.as_json, empty="no sources")


class _Made(TypedDict):
    who: str
    now: float
    reason: str | None
    expires_at: float | None


def _made_now(duration: str | None, reason: str | None) -> _Made:
    """Return by whom an entry is made, when, and until when. Raises ConfigError."""
    lasts, now = seconds_from(duration, "--for"), time.time()
    expires_at = None if lasts is None else now + lasts
    return {"who": own_name(), "now": now, "reason": reason, "expires_at": expires_at}


@with_server
def add(
    context: ServerContext,
    subject: SubjectArgument,
    list_name: Annotated[
        str,
        option("--list", "NAME", "mw-8b, se-8b, gc-32b, x-file-mw-8b …", completed(LISTS)),
    ] = "mw-8b",
    duration: ForOption = None,
    reason: ReasonOption = None,
) -> None:
    """Add one own entry; it beats the feeds. The same one again is replaced."""
    from secondlook.server import administration
    from secondlook.server.store.names import import_list
    from secondlook.suffix import load_suffixes

    made = _made_now(duration, reason)
    try:
        entry = administration.add_entry(
            context.store, subject, target=import_list(list_name), suffixes=load_suffixes(), **made
        )
    except ValueError as error:
        fail(str(error), status=2)
    text = f"{entry.text} is in {entry.list} (id {entry.id}){_until(entry)}; {in_force()}"
    context.report(_own_record(entry), text)


@with_server
def except_(
    context: ServerContext,
    subject: SubjectArgument,
    duration: ForOption = None,
    reason: ReasonOption = None,
) -> None:
    """Take something out of the lists, even if feeds list it; `server publish` puts it in force."""
    from secondlook.server import administration
    from secondlook.suffix import load_suffixes

    made = _made_now(duration, reason)
    suffixes = load_suffixes()
    try:
        entry = administration.add_entry(context.store, subject, target=None, suffixes=suffixes, **made)
    except ValueError as error:
        fail(str(error), status=2)
    published = context.store.current() is not None
    wider = administration.still_listed_by(context.store, subject, suffixes=suffixes) if published else []
    context.report(
        {**_own_record(entry), "still_listed_by": [each.expression for each in wider]},
        f"{entry.text} is excepted (id {entry.id}){_until(entry)}; {in_force()}",
        *(f"  a wider entry goes on listing it: {each.expression} in {each.list}" for each in wider),
    )


def _own_record(entry: "ManualEntry") -> dict[str, object]:
    return {
        "id": entry.id,
        "action": entry.action,
        "scope": entry.scope,
        "entry": entry.text,
        "list": entry.list,
        "who": entry.who,
        "added": rfc3339(entry.at),
        "reason": entry.reason,
        "expires": rfc3339(entry.expires_at),
    }


def _until(entry: "ManualEntry") -> str:
    return "" if entry.expires_at is None else f" until {rfc3339(entry.expires_at)}"


@with_server
def remove(
    context: ServerContext,
    identities: Annotated[
        list[str],
        typer.Argument(
            metavar="ENTRY|SOURCE…", help="An own entry or exception, an imported entry, or a source."
        ),
    ],
    list_name: Annotated[
        Text,
        option("--list", "NAME", "Only from this list.", completed(LISTS)),
    ] = None,
) -> None:
    """Remove entries (by id or text) or everything of a source; `server publish` puts it in force."""
    from secondlook.server.store.removal import remove as take_out
    from secondlook.suffix import load_suffixes

    missing = False
    for identity in identities:
        try:
            removed = take_out(context.store, identity, suffixes=load_suffixes(), list_name=list_name)
        except LookupError as error:
            sys.stderr.write(f"secondlook: {inert(str(error.args[0]))}\n")
            missing = True
            continue
        except ValueError as error:
            fail(str(error), status=2)
        record = {"subject": identity, "removed": removed}
        context.report(record, f"removed {removed}; {in_force()}")
    if missing:
        fail(
            "not everything was removed",
            hint=f"`{typed('server list --sources')}` shows the sources; to take one entry of a feed out, "
            f"use `{typed('server except')}`",
        )
