"""`secondlook server import` and `publish`: files into the store, the store into a generation."""

import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secondlook.cli.caller import typed
from secondlook.cli.completion import completed
from secondlook.cli.options import Text, flag, option, own_name
from secondlook.cli.output import fail, plain_value, print_json, print_line, print_table, progress, working
from secondlook.cli.server.context import LISTS, ServerContext, with_server
from secondlook.core.lists.name import RISKS
from secondlook.core.neutralize import inert
from secondlook.core.verdict import Risk, Threat
from secondlook.server.store.names import THREATS

if TYPE_CHECKING:
    from secondlook.server.store.importing import FileReport

MOST_REJECTS_SHOWN = 5
LIST_EXAMPLES = "mw-8b, se-8b, uws-8b, gc-32b, x-file-mw-8b, x-file-gc-32b …"
RISK_CHOICE = "dangerous, highly_suspicious or suspicious"


def _formats(incomplete: str) -> list[str]:
    from secondlook.core.lists.feed_format import Format

    return completed(("auto", *Format))(incomplete)


@with_server
def import_(
    context: ServerContext,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="Lists of any of those forms.", show_default=False)
    ],
    list_name: Annotated[Text, option("--list", "NAME", LIST_EXAMPLES, completed(LISTS))] = None,
    threat: Annotated[
        Threat, option("--threat", "THREAT", ", ".join(THREATS), completed(THREATS))
    ] = Threat.MALWARE,
    risk: Annotated[Risk, option("--risk", "RISK", RISK_CHOICE, completed(RISKS.values()))] = Risk.DANGEROUS,
    format_: Annotated[
        str, option("--format", "FORMAT", "auto: recognized by the content", _formats)
    ] = "auto",
    replace: Annotated[bool, flag("--replace", "The files become the whole list.")] = False,
    insist: Annotated[
        bool, flag("--insist", "Take entries that the known-good guard would hold back.")
    ] = False,
) -> None:
    """Read lists into the server; `server publish` puts them in force.

    Understands hosts files, domain lists, URL lists, digests, and the formats of the public feeds.
    """
    from secondlook.server.store.importing import import_files

    missing = [path for path in files if not path.is_file()]
    if missing:
        fail(f"cannot read {missing[0]}: not a file")
    if risk not in RISKS.values():
        fail(f"--risk: expected {RISK_CHOICE}, got {risk.value}", status=2)
    try:
        with progress("reading", sum(path.stat().st_size for path in files)) as advance:
            report = import_files(
                context.store,
                files,
                who=own_name(),
                now=time.time(),
                list_name=list_name,
                threat=threat,
                risk=risk,
                fmt=format_,
                replace_list=replace,
                insist=insist,
                progress=advance,
            )
    except (OSError, ValueError) as error:
        fail(f"cannot import: {error}")
    for file in report.files:
        if context.as_json:
            print_json(_file_record(file, list_name))
        else:
            _print_file(file, list_name)
    if any(file.refused for file in report.files):
        sys.exit(1)
    if not context.as_json:
        print_line(f"in force after: {typed('server publish')}")


def _elsewhere(file: "FileReport", list_name: str | None) -> dict[str, int]:
    """Return what went to another list than the one that was named: hosts and URLs, or digests of files."""
    return {name: count for name, count in file.lists.items() if list_name and name != list_name}


def _file_record(file: "FileReport", list_name: str | None) -> dict[str, object]:
    return {
        "file": file.name,
        "format": file.format,
        "accepted": file.accepted,
        "distinct": file.distinct,
        "lists": dict(file.lists),
        "elsewhere": _elsewhere(file, list_name),
        "rejected": dict(file.rejected),
        "refused": file.refused,
        "source": file.source,
        "rejects": [plain_value(reject) for reject in file.rejects],
        "skipped": [{"member": member, "reason": reason} for member, reason in file.skipped],
    }


def _print_file(file: "FileReport", list_name: str | None) -> None:
    if file.refused:
        sys.stderr.write(f"secondlook: {inert(file.name)}: refused: {inert(file.refused)}\n")
        for member, reason in file.skipped:
            sys.stderr.write(f"  left out: {inert(member)}: {inert(reason)}\n")
        return
    lists = ", ".join(f"{count:,} in {name}" for name, count in file.lists.items()) or "nothing"
    print_line(f"{file.name} ({file.format}): {file.accepted:,} accepted: {lists}")
    for name, count in _elsewhere(file, list_name).items():
        kind = "digests of files" if name.startswith("x-file-") else "hosts or URLs"
        print_line(f"  {count:,} in {name}, not in {list_name}: {kind}")
    for name, count in sorted(file.rejected.items()):
        print_line(f"  {count:,} rejected: {name}")
    for reject in list(file.rejects)[:MOST_REJECTS_SHOWN]:
        print_line(f"    line {reject.line}: {reject.cls}: {reject.text}")
    for member, reason in file.skipped:
        print_line(f"  left out: {member}: {reason}")


@with_server
def publish(
    context: ServerContext,
    accept_shrink: Annotated[
        bool, flag("--accept-shrink", "Also when a list, or a feed, shrinks far below its last size.")
    ] = False,
) -> None:
    """Make the next generation of everything imported; a running server takes it up by itself."""
    from secondlook.config.own_hosts import own_hosts
    from secondlook.server.feeds.known_good import keep_own_hosts
    from secondlook.server.publish.publishing import publish as make_generation

    if context.is_configured:
        keep_own_hosts(context.store, own_hosts(context.settings))
    shrunk = _accepted(context) if accept_shrink else []
    with working("making the next generation"):
        report = make_generation(
            context.store, now=time.time(), settings=context.settings.publish, accept_shrink=accept_shrink
        )
    if context.as_json:
        print_json(report)
        return
    print_line(f"generation {report.generation:06d}" + ("" if report.changed else " (nothing has changed)"))
    for name in shrunk:
        print_line(f"the feed {name} shrank; what is left of it is taken with its next fetch")
    print_table(("list", "entries"), report.lists.items(), empty="no list has entries")
    if report.held_back:
        print_line(f"{report.held_back:,} entries are held back: they would block known-good sites or pages")
        for source, count in Counter(report.held_back_by).most_common():
            texts = [text for name, text in report.held_back_examples if name == source]
            more = " …" if count > MOST_REJECTS_SHOWN else ""
            print_line(f"  {count:,} of {source}: {', '.join(texts[:MOST_REJECTS_SHOWN])}{more}")


def _accepted(context: ServerContext) -> list[str]:
    from secondlook.server.feeds.feed_state import accept_shrunk
    from secondlook.server.store.store import FEEDS_FOLDER

    with context.store.writing():
        return accept_shrunk(context.store.root / FEEDS_FOLDER)
