"""`secondlook server`: run a Smart Protection Server, feed it, publish, look into it."""

import getpass
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secondlook.cli.options import CONFIG_NAME, JsonOption, StateOption, open_place
from secondlook.cli.output import fail, plain_value, print_json, print_line, print_table
from secondlook.config import ServerSettings, load_server_settings
from secondlook.core.inert import inert
from secondlook.core.verdict import Risk, Threat
from secondlook.ledger.shape import rfc3339
from secondlook.server.store import ServerStore

if TYPE_CHECKING:
    from secondlook.server.importing import FileReport

SERVER_CONFIG_NAME = "server.yaml"
MOST_REJECTS_TOLD = 5
LISTED_EXIT = 10

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Run and feed a Smart Protection Server.")

ServerConfigOption = Annotated[
    Path | None,
    typer.Option("-c", "--config", metavar="FILE", help="The configuration; default: server.yaml here."),
]


@dataclass(frozen=True, slots=True)
class ServerPlace:
    """What a server command works on."""

    settings: ServerSettings
    store: ServerStore
    config: Path | None


def open_server(config: Path | None, state: Path | None, **options: object) -> ServerPlace:
    """Find a server's settings and store. Raises ConfigError.

    Without a configuration and without `--state` it is the embedded server of the proxy here; a proxy's
    state folder given by `--state` means its embedded server too.
    """
    found = config
    if found is None and Path(SERVER_CONFIG_NAME).is_file():
        found = Path(SERVER_CONFIG_NAME)
    if state is None and found is None and Path(CONFIG_NAME).is_file():
        state = open_place(None, None).state / "server"
    elif state is not None and _is_of_a_proxy(state):
        state = state / "server"
    settings = load_server_settings(found, state=state, **options)  # type: ignore[arg-type]
    try:
        settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        store = ServerStore(settings.state)
    except OSError as error:
        fail(
            f"cannot use the state folder {settings.state}: {error.strerror or error}",
            hint="choose another with --state",
        )
    return ServerPlace(settings, store, found)


def _is_of_a_proxy(state: Path) -> bool:
    return any((state / name).exists() for name in ("run.json", "ledger.sqlite3", "ca"))


@app.command()
def run(
    config: ServerConfigOption = None,
    listen: Annotated[
        list[str] | None,
        typer.Option("--listen", metavar="HOST:PORT", help="Where to listen; may be repeated."),
    ] = None,
    state: StateOption = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting by its dotted key.")
    ] = None,
) -> None:
    """Serve what is published; a new generation is taken up by itself. SIGTERM or Ctrl-C ends it."""
    place = open_server(config, state, listen=tuple(listen or ()), overrides=tuple(overrides or ()))
    # the server's own parts are slow to import and only this command needs them
    from secondlook.run.server_process import serve  # noqa: PLC0415

    sys.exit(serve(place.settings))


@app.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", show_default=False)],
    list_name: Annotated[
        str | None,
        typer.Option(
            "--list", metavar="NAME", help="mw-8b, se-8b, uws-8b, gc-32b, x-file-mw-8b, x-file-gc-32b …"
        ),
    ] = None,
    threat: Annotated[
        Threat, typer.Option("--threat", metavar="THREAT", help=", ".join(Threat))
    ] = Threat.MALWARE,
    risk: Annotated[
        Risk, typer.Option("--risk", metavar="RISK", help="dangerous, highly_suspicious or suspicious")
    ] = Risk.DANGEROUS,
    format_: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="auto: told by the content")
    ] = "auto",
    replace: Annotated[bool, typer.Option("--replace", help="The files become the whole list.")] = False,
    insist: Annotated[
        bool, typer.Option("--insist", help="Take entries that the known-good guard would hold back.")
    ] = False,
    config: ServerConfigOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read lists into the server; `server publish` puts them in force.

    Understands hosts files, domain lists, URL lists, digests, and the formats of the public feeds.
    """
    from secondlook.server.importing import import_files  # noqa: PLC0415 - imports numpy

    missing = [path for path in files if not path.is_file()]
    if missing:
        fail(f"cannot read {missing[0]}: not a file")
    if risk not in {Risk.DANGEROUS, Risk.HIGHLY_SUSPICIOUS, Risk.SUSPICIOUS}:
        fail(f"--risk: expected dangerous, highly_suspicious or suspicious, got {risk.value}", status=2)
    place = open_server(config, state)
    try:
        with _progress(files) as advance:
            report = import_files(
                place.store,
                files,
                who=getpass.getuser(),
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
        if as_json:
            print_json(_file_record(file))
        else:
            _tell_file(file)
    if any(file.refused for file in report.files):
        sys.exit(1)
    if not as_json:
        print_line("in force after: secondlook server publish")


def _file_record(file: "FileReport") -> dict[str, object]:
    return {
        "file": file.name,
        "format": file.format,
        "accepted": file.accepted,
        "distinct": file.distinct,
        "lists": dict(file.lists),
        "rejected": dict(file.rejected),
        "refused": file.refused,
        "source": file.source,
        "rejects": [plain_value(reject) for reject in file.rejects],
    }


def _tell_file(file: "FileReport") -> None:
    if file.refused:
        sys.stderr.write(f"secondlook: {inert(file.name)}: refused: {inert(file.refused)}\n")
        return
    lists = ", ".join(f"{count:,} in {name}" for name, count in file.lists.items()) or "nothing"
    print_line(f"{file.name} ({file.format}): {file.accepted:,} accepted: {lists}")
    for name, count in sorted(file.rejected.items()):
        print_line(f"  {count:,} rejected: {name}")
    for reject in list(file.rejects)[:MOST_REJECTS_TOLD]:
        print_line(f"    line {reject.line}: {reject.cls}: {reject.text}")


@app.command()
def publish(
    accept_shrink: Annotated[
        bool, typer.Option("--accept-shrink", help="Also when a list shrinks far below its last size.")
    ] = False,
    config: ServerConfigOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the next generation of everything imported; a running server takes it up by itself."""
    from secondlook.server.publishing import publish as make_generation  # noqa: PLC0415 - imports numpy

    place = open_server(config, state)
    report = make_generation(
        place.store, now=time.time(), settings=place.settings.publish, accept_shrink=accept_shrink
    )
    if as_json:
        print_json(
            {
                "generation": report.generation,
                "changed": report.changed,
                "entries": report.entries,
                "lists": dict(report.lists),
                "held_back": report.held_back,
                "held_back_examples": [list(example) for example in report.held_back_examples],
            }
        )
        return
    print_line(f"generation {report.generation:06d}" + ("" if report.changed else " (nothing has changed)"))
    print_table(("list", "entries"), report.lists.items(), empty="no list has entries")
    if report.held_back:
        print_line(f"{report.held_back:,} entries are held back: they would block known-good sites")
        by_source = Counter(source for source, _ in report.held_back_examples)
        for source, _count in by_source.most_common():
            texts = [text for name, text in report.held_back_examples if name == source]
            print_line(f"  {source}: {', '.join(texts[:MOST_REJECTS_TOLD])} …")


class _progress:  # noqa: N801 - a context manager used like a function
    """A progress bar over the files' bytes, on a terminal."""

    def __init__(self, files: list[Path]) -> None:
        self._total = sum(path.stat().st_size for path in files)
        self._done: dict[Path, int] = {}
        self._bar: object | None = None

    def __enter__(self) -> Callable[[Path, int], None] | None:
        if not sys.stderr.isatty():
            return None
        from rich.console import Console  # noqa: PLC0415 - only a terminal needs Rich
        from rich.progress import Progress  # noqa: PLC0415

        bar = Progress(console=Console(stderr=True), transient=True)
        bar.start()
        task = bar.add_task("reading", total=self._total)
        self._bar = bar

        def advance(path: Path, done: int) -> None:
            self._done[path] = done
            bar.update(task, completed=sum(self._done.values()))

        return advance

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()  # type: ignore[attr-defined]


@app.command("list")
def list_entries(
    list_name: Annotated[str | None, typer.Option("--list", metavar="NAME", help="Only this list.")] = None,
    search: Annotated[
        str | None, typer.Option("--search", metavar="TEXT", help="Only entries with this text.")
    ] = None,
    sources: Annotated[bool, typer.Option("--sources", help="The sources instead of their entries.")] = False,
    config: ServerConfigOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what was imported, with its source, who added it and when."""
    from secondlook.server import administration  # noqa: PLC0415 - imports numpy

    place = open_server(config, state)
    if sources:
        _list_sources(place, as_json=as_json)
        return
    try:
        found = administration.entries(place.store, list_name=list_name, search=search)
        if as_json:
            for each in found:
                print_json(
                    {
                        "entry": each.text,
                        "list": each.list,
                        "source": each.source,
                        "who": each.who,
                        "added": rfc3339(each.added_at),
                        "family": each.family,
                        "first_seen": rfc3339(each.first_seen),
                    }
                )
            return
        rows = ((each.text, each.list, each.source, each.who, rfc3339(each.added_at)) for each in found)
        columns = ("entry", "list", "source", "who", "added")
        print_table(columns, rows, empty="no entries; add some with `secondlook server import`")
    except ValueError as error:
        fail(str(error), status=2)


def _list_sources(place: ServerPlace, *, as_json: bool) -> None:
    found = place.store.sources()
    if as_json:
        for each in found:
            print_json(
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
                }
            )
        return
    rows = (
        (
            each.id,
            each.kind,
            each.list,
            each.format,
            sum(each.counts.values()),
            each.who,
            rfc3339(each.added_at),
        )
        for each in found
    )
    print_table(("id", "kind", "list", "format", "entries", "who", "added"), rows, empty="no sources")


@app.command()
def remove(
    identity: Annotated[
        str, typer.Argument(metavar="ENTRY|SOURCE", help="An own entry, or a source by id or name.")
    ],
    config: ServerConfigOption = None,
    state: StateOption = None,
) -> None:
    """Remove an own entry or exception, or everything of one source; `server publish` puts it in force."""
    from secondlook.server import administration  # noqa: PLC0415 - imports numpy

    place = open_server(config, state)
    try:
        removed = administration.remove(place.store, identity)
    except LookupError as error:
        fail(
            str(error.args[0]) if error.args else str(error),
            hint="`secondlook server list --sources` shows the sources; to take one entry of a feed out, "
            "use `secondlook server except`",
        )
    print_line(f"removed {removed}; in force after: secondlook server publish")


@app.command("add")
def add_entry(
    subject: Annotated[
        str, typer.Argument(metavar="SUBJECT", help="Host, URL, URL ending in /, or a digest.")
    ],
    list_name: Annotated[str, typer.Option("--list", metavar="NAME")] = "mw-8b",
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT")] = None,
    config: ServerConfigOption = None,
    state: StateOption = None,
) -> None:
    """Add one own entry; it beats the feeds. `server publish` puts it in force."""
    from secondlook.server import administration  # noqa: PLC0415 - imports numpy
    from secondlook.server.names import import_list  # noqa: PLC0415
    from secondlook.suffix import load_suffixes  # noqa: PLC0415

    place = open_server(config, state)
    try:
        entry = administration.add_entry(
            place.store,
            subject,
            target=import_list(list_name),
            suffixes=load_suffixes(),
            who=getpass.getuser(),
            now=time.time(),
            reason=reason,
        )
    except ValueError as error:
        fail(str(error), status=2)
    print_line(f"{entry.text} is in {entry.list} (id {entry.id}); in force after: secondlook server publish")


@app.command("except")
def add_exception(
    subject: Annotated[
        str, typer.Argument(metavar="SUBJECT", help="Host, URL, URL ending in /, or a digest.")
    ],
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT")] = None,
    config: ServerConfigOption = None,
    state: StateOption = None,
) -> None:
    """Take something out of the lists whatever the feeds say; `server publish` puts it in force."""
    from secondlook.server import administration  # noqa: PLC0415 - imports numpy
    from secondlook.suffix import load_suffixes  # noqa: PLC0415

    place = open_server(config, state)
    suffixes = load_suffixes()
    try:
        entry = administration.add_exception(
            place.store, subject, suffixes=suffixes, who=getpass.getuser(), now=time.time(), reason=reason
        )
    except ValueError as error:
        fail(str(error), status=2)
    print_line(f"{entry.text} is excepted (id {entry.id}); in force after: secondlook server publish")
    if place.store.current() is not None:
        for each in administration.still_listed_by(place.store, subject, suffixes=suffixes):
            print_line(f"  a wider entry goes on listing it: {each.expression} in {each.list}")


@app.command()
def check(
    subjects: Annotated[list[str], typer.Argument(metavar="SUBJECT…", help="URL, host or digest.")],
    config: ServerConfigOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell how the published generation lists something: which entry, which list, which feeds.

    Exit status 10 if any is listed, else 0.
    """
    from secondlook.server import administration  # noqa: PLC0415 - imports numpy
    from secondlook.suffix import load_suffixes  # noqa: PLC0415

    place = open_server(config, state)
    listed = False
    for subject in subjects:
        try:
            found = administration.check(place.store, subject, suffixes=load_suffixes())
        except ValueError as error:
            fail(str(error), status=2)
        listed = listed or bool(found)
        if as_json:
            print_json({"subject": subject, "listed": [plain_value(each) for each in found]})
            continue
        print_line(f"{subject}: {'listed' if found else 'not listed'}")
        for each in found:
            feeds = ", ".join(each.feeds)
            family = f", {each.family}" if each.family else ""
            print_line(f"  {each.expression} in {each.list} ({each.risk}{family}) by {feeds}")
    if listed:
        sys.exit(LISTED_EXIT)


@app.command()
def rollback(
    number: Annotated[
        int | None,
        typer.Argument(metavar="[GENERATION]", help="Default: the one before.", show_default=False),
    ] = None,
    config: ServerConfigOption = None,
    state: StateOption = None,
) -> None:
    """Serve an earlier generation again, until somebody publishes."""
    from secondlook.server import administration  # noqa: PLC0415 - imports numpy

    place = open_server(config, state)
    print_line(
        f"generation {administration.rollback(place.store, number):06d} is served until the next publish"
    )


@app.command()
def status(config: ServerConfigOption = None, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Show what is published, from which sources, and how the feeds are doing."""
    from secondlook.server import administration  # noqa: PLC0415 - imports numpy

    place = open_server(config, state)
    found = administration.status(place.store)
    if as_json:
        print_json(
            {
                "generation": found.generation,
                "created": rfc3339(found.created_at),
                "lists": found.lists,
                "kept": list(found.kept),
                "held": found.held,
                "sources": [source.name for source in found.sources],
                "own_entries": found.own_entries,
                "feeds": [plain_value(feed) for feed in found.feeds],
            }
        )
        return
    print_line(
        "nothing published yet"
        if found.generation is None
        else f"generation {found.generation:06d} of {rfc3339(found.created_at)}"
        + (" (held)" if found.held else "")
    )
    print_table(("list", "entries"), found.lists.items(), empty="no lists")
    _list_sources(place, as_json=False)
    for feed in found.feeds:
        good = rfc3339(feed.good_at) if feed.good_at else "never"
        print_line(
            f"feed {feed.name}: {feed.entries:,} entries, last good {good}"
            + (f"; {feed.error}" if feed.error else "")
        )
