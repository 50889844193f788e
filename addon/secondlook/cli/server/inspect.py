"""`secondlook server check`, `rollback` and `status`: look into what is published, and go back."""

import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from secondlook.cli.caller import typed
from secondlook.cli.output import plain_value, print_json, print_line, print_marked, print_table
from secondlook.cli.server.context import ServerContext, with_server
from secondlook.cli.server.entries import list_sources
from secondlook.core.neutralize import inert
from secondlook.ground.instant import rfc3339
from secondlook.run.supervisor.runfile import is_of_a_proxy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secondlook.server.administration import FeedStatus, Listed, ServerStatus
    from secondlook.server.publish.generation import Generation
    from secondlook.server.valkey.inspection import InValkey

LISTED_EXIT = 10
UNUSABLE_EXIT = 2


@with_server
def check(
    context: ServerContext,
    subjects: Annotated[list[str], typer.Argument(metavar="SUBJECT…", help="URL, host or digest.")],
) -> None:
    """Show how the published generation lists something: which entry, which list, which feeds.

    Exit status 10 if any is listed, else 2 if any is no URL, host or digest, else 0.
    """
    listed = unusable = False
    for subject in subjects:
        try:
            found = _checked(context, subject)
        except ValueError as error:
            sys.stderr.write(f"secondlook: {inert(str(error))}\n")
            unusable = True
            continue
        listed = listed or bool(found)
        if context.as_json:
            print_json({"subject": subject, "listed": [plain_value(each) for each in found]})
            continue
        print_line(f"{subject}: {'listed' if found else 'not listed'}")
        for each in found:
            feeds = ", ".join(each.feeds)
            family = f", {each.family}" if each.family else ""
            print_line(f"  {each.expression} in {each.list} ({each.risk}{family}) by {feeds}")
    if listed or unusable:
        sys.exit(LISTED_EXIT if listed else UNUSABLE_EXIT)


@with_server
def rollback(
    context: ServerContext,
    number: Annotated[
        int | None,
        typer.Argument(metavar="[GENERATION]", help="Default: the one before.", show_default=False),
    ] = None,
) -> None:
    """Serve an earlier generation again, until somebody publishes."""
    from secondlook.server import administration

    served = administration.rollback(context.store, number)
    text = f"generation {served:06d} is served until the next publish"
    context.report({"generation": served, "held": True}, text)


def _valkey(store: str, own: "Generation | None") -> "InValkey | None":
    """Look at what a Valkey store serves; None where there is none."""
    import asyncio

    from secondlook.server.service import FILES

    if store == FILES:
        return None
    from secondlook.server.valkey.inspection import look  # of an extra

    return asyncio.run(look(store, own))


def _checked(context: ServerContext, subject: str) -> "list[Listed]":
    """Check in what is served: a server with a Valkey store serves what that holds, not its own folder."""
    import asyncio

    from secondlook.server import administration
    from secondlook.server.service import FILES
    from secondlook.suffix import load_suffixes

    store = context.settings.store
    if store == FILES:
        return administration.check(context.store, subject, suffixes=load_suffixes())
    from secondlook.server.valkey import inspection  # of an extra

    return asyncio.run(inspection.check(store, subject, suffixes=load_suffixes()))


@with_server
def status(context: ServerContext) -> None:
    """Show what is published, from which sources, and how the feeds are doing."""
    from secondlook.server.replica.state import read_replication_state
    from secondlook.server.staleness import stale_since

    found, stored = _served(context)
    since = stale_since(
        context.settings,
        context.store,
        found.created_at or 0.0,
        time.time(),
        read_replication_state(context.store) if context.settings.upstream else None,
    )
    alerts = _feed_alerts(context)
    if context.as_json:
        print_json({**_status_json(found, stored), "stale": since is not None, "alerts": alerts})
        return
    _print_published(found, stored)
    if since is not None:
        print_line(f"stale: nothing came in since {rfc3339(since)} (publish.stale_after)")
    for line in found.upstream:
        print_line(f"upstream: {line}")
    list_sources(context)
    _print_feeds(found.feeds, alerts)


def _served(context: ServerContext) -> "tuple[ServerStatus, InValkey | None]":
    """Return the state of what is served, whatever lies in the folder, and of a Valkey store."""
    from secondlook.server import administration

    found = administration.status(context.store, context.settings.publish.key)
    stored = _valkey(context.settings.store, found.published)
    if stored is None or stored.generation is None:
        return found, stored
    served = replace(
        found,
        generation=stored.generation,
        created_at=stored.created_at,
        lists=dict(stored.lists or {}),
        key=found.key or stored.key,
    )
    return served, stored


def _status_json(found: "ServerStatus", stored: "InValkey | None") -> dict[str, object]:
    return {
        "generation": found.generation,
        "created": rfc3339(found.created_at),
        "lists": found.lists,
        "kept": list(found.kept),
        "held": found.held,
        "held_back": None if found.held_back is None else sum(each.count for each in found.held_back),
        "held_back_by": {each.source: each.count for each in found.held_back or ()},
        "rolled_back": list(found.rolled_back),
        "valkey": None if stored is None else {"holds": stored.holds, "trouble": stored.trouble},
        "sources": [source.name for source in found.sources],
        "own_entries": found.own_entries,
        "feeds": [
            plain_value(feed)
            | {"good_at": rfc3339(feed.good_at or None), "due_at": rfc3339(feed.due_at or None)}
            for feed in found.feeds
        ],
        "key": found.key,
        "upstream": list(found.upstream),
    }


def _print_published(found: "ServerStatus", stored: "InValkey | None") -> None:
    print_line(
        "nothing published yet"
        if found.generation is None
        else f"generation {found.generation:06d} of {rfc3339(found.created_at)}"
        + (" (held)" if found.held else "")
        + (" in the Valkey store" if stored is not None and stored.generation is not None else "")
    )
    print_table(("list", "entries"), found.lists.items(), empty="no lists")
    for held in found.held_back or ():
        print_line(held.summary())
    if found.key:
        print_line(
            f"key {found.key}: agents and replicas that are given it take only what this publisher signed"
        )
    elif not found.upstream:
        print_line(f"key: made with the first publication (`{typed('server publish')}`)")
    if stored is not None and stored.trouble:
        print_line(f"store: {stored.trouble}")


def _print_feeds(feeds: "Sequence[FeedStatus]", alerts: "Sequence[str]") -> None:
    for feed in feeds:
        good = rfc3339(feed.good_at) if feed.good_at else "never"
        entries = "entry" if feed.entries == 1 else "entries"
        print_line(
            f"feed {feed.name}: {feed.entries:,} {entries}, last good {good}"
            + (f"; {feed.off or feed.error}" if feed.off or feed.error else "")
        )
    for alert in alerts:
        print_marked("attention:", f" {alert}", "doubtful")


def _feed_alerts(context: ServerContext) -> list[str]:
    from secondlook.server.store.feed_alerts import feed_alerts

    if context.settings.upstream:  # a replica serves what that publishes, not what its folder kept
        return []
    named = bool(context.settings.feeds) or is_of_a_proxy(context.store.root.parent)  # by other settings
    return feed_alerts(context.store.root, named=named, others=False, now=time.time())
