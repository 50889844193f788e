"""`secondlook check`: the whole check of URLs, files and digests, explained; nothing is recorded."""

import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from secondlook.cli.caller import typed, write
from secondlook.cli.context import CommandContext, with_context
from secondlook.cli.options import AsClientOption, flag
from secondlook.cli.output import Tone, duration_text, fail, print_facts, print_json, print_line, print_marked
from secondlook.cli.running_proxy import PATH_STARTS
from secondlook.core.neutralize import inert
from secondlook.run.supervisor.runfile import is_of_a_proxy, read_run_file
from secondlook.run.supervisor.settings_file import changed, changed_since_read

if TYPE_CHECKING:
    from secondlook.run.assembly.answers.explaining import Json
    from secondlook.run.assembly.check.parts import Parts

app = typer.Typer(add_completion=False)

BLOCKED_EXIT = 10
UNVERIFIABLE_EXIT = 11
NO_TITLES: Mapping[str, str] = {}
TONES: Mapping[str, Tone] = {"allow": "good", "block": "bad", "flag": "doubtful"}


@app.command()
@with_context
def check(
    context: CommandContext,
    subjects: Annotated[
        list[str], typer.Argument(metavar="SUBJECT…", help="URL, path of a file, or hex digest.")
    ],
    as_file: Annotated[bool, flag("--file", "Every SUBJECT is the path of a file.")] = False,
    offline: Annotated[bool, flag("--offline", "Ask no server.")] = False,
    client: AsClientOption = None,
) -> None:
    """Check URLs, files or digests and explain the decision; nothing is recorded.

    Exit status: 10 if any is blocked, else 11 if any cannot be verified, else 0.
    """
    import asyncio

    if not (is_of_a_proxy(context.state) or (context.state / "server").is_dir()):
        typer.echo(f"nothing of Second Look is in {context.state}: without its lists", err=True)
    if (running := read_run_file(context.state)) and changed_since_read(running):
        write(f"{inert(changed(running['invocation']['config'], typed('reload')))}\n", "err")
    if context.running is not None:
        records = [_explained(context.running.explain, _subject(text), client) for text in subjects]
    else:
        records = asyncio.run(_check(context, subjects, as_file=as_file, offline=offline, client=client))
    titles = {} if context.as_json else context.list_titles()
    for index, one in enumerate(records):
        if context.as_json:
            print_json(one)
        else:
            if index:
                print_line()
            print_check(one, titles)
    sys.exit(exit_of(records))


def exit_of(records: "Iterable[Json]") -> int:
    """Return the exit status for explained decisions: blocked counts more than unverifiable."""
    worst = 0
    for one in records:
        if one["decision"] == "block":
            return BLOCKED_EXIT
        worst = UNVERIFIABLE_EXIT if one["unverifiable"] else worst
    return worst


async def _check(
    context: CommandContext, subjects: list[str], *, as_file: bool, offline: bool, client: str | None
) -> "list[Json]":
    from secondlook.run.assembly.check.asking import asking

    with context.ledger_to_read() as ledger:
        async with asking(context.settings, ledger, offline=offline) as parts:
            return [await _check_one(parts, text, as_file=as_file, client=client) for text in subjects]


def _explained(explain: "Callable[[str, str | None], Json]", text: str, client: str | None) -> "Json":
    from secondlook.run.assembly.answers.explaining import NoSubjectError

    try:
        return explain(text, client)
    except NoSubjectError as error:
        _no_subject(error)


def _no_subject(error: ValueError) -> NoReturn:
    fail(f"{error}; there is no file of that name here either", status=2)


async def _check_one(parts: "Parts", text: str, *, as_file: bool, client: str | None) -> "Json":
    from secondlook.run.assembly.answers.explaining import (
        NoSubjectError,
        explained,
        explanation,
        subject_from,
    )

    path = Path(_subject(text))
    if (as_file or _is_meant_as_path(text)) and _is(path.is_dir):
        _fail_as_folder(text)
    if not (as_file or text.startswith(PATH_STARTS) or ("://" not in text and _is(path.is_file))):
        try:
            subject = subject_from(text, parts.suffixes)
        except NoSubjectError as error:
            _no_subject(error)
        return await explained(parts.checker, text, subject, client)
    from secondlook.run.assembly.answers.file_check import FileCheck

    if _is_endless(path):
        fail(f"cannot read the file {text}: it is a pipe or a device; write what comes from it to a file")
    async with aclosing(FileCheck.of(parts)) as files:
        try:
            found = await files.check(path, client)
        except (OSError, ValueError) as error:
            fail(f"cannot read the file {text}: {getattr(error, 'strerror', None) or error}")
    return explanation(text, found.subject, found.context, found.decision)


def _subject(text: str) -> str:
    if not text.strip():
        fail("expected a URL, the path of a file or a digest, got nothing", status=2)
    if text == "-":
        fail(
            f"standard input is not read, got '-': write it to a file; of addresses: xargs {typed('check')}",
            status=2,
        )
    return text


def _is_meant_as_path(text: str) -> bool:
    """Return whether a name is no digest, and no host's.

    Hosts have a dot. `wget -r` makes folders of their names, collections of samples of digests.
    """
    from secondlook.core.digest import digest_kind

    if digest_kind(text) is not None:
        return False
    first = text.partition("/")[0]
    return text.startswith(PATH_STARTS) or ("://" not in text and "." not in first.strip("."))


def _fail_as_folder(text: str) -> NoReturn:
    hint = f"`{typed('scan')} {quote(text)}` looks through it"
    if not text.startswith((".", *PATH_STARTS)):
        hint += f"; as a host: `{typed('check')} {quote(f'http://{text}')}`"
    fail(f"{text} is a folder", hint=hint, status=2)


def _is(kind: "Callable[[], bool]") -> bool:
    try:
        return kind()
    except (OSError, ValueError):
        return False


def _is_endless(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()


def _list_text(name: str | None, titles: Mapping[str, str]) -> str | None:
    return f"{titles[name]}, {name}" if name is not None and name in titles else name


def _is_bare(one: "Json") -> bool:
    """Return whether a subject is a name alone: whoever meant a file is to see that none was found."""
    return one["canonical"] is not None and "/" not in one["subject"]


def _taken_for(name: str) -> str:
    if Path(name).is_dir():
        return f"a host; the folder of this name here: {typed('scan')} {quote(name)}"
    return "a host; no file here has this name"


def print_check(one: "Json", titles: Mapping[str, str] = NO_TITLES) -> None:
    """Print an explained decision for people."""
    from secondlook.core.display import readable

    print_marked(one["decision"].upper(), f"  {one['subject']}", TONES[one["decision"]])
    facts = [
        ("because", one["reason"]),
        ("verdict", f"{one['verdict']}, {str(one['risk']).replace('_', ' ')}"),
        ("threat", one["threat"]),
        ("stage", one["stage"]),
        ("list", _list_text(one["list"], titles)),
        ("rule", one["rule"]),
        ("matched", one["expression"]),
        ("list age", duration_text(one["list_age_s"]) if one["list_age_s"] is not None else None),
        ("server", one["server"]),
        ("detail", one["detail"]),
        ("taken for", _taken_for(one["subject"]) if _is_bare(one) else None),
        ("canonical", one["canonical"]),
        ("reads as", readable(one["canonical"]) or None),
        ("took", f"{one['elapsed_ms']:.2f} ms"),
    ]
    print_facts((f"  {name}", value) for name, value in facts if value is not None)
    if one["expressions"]:
        print_line("  expressions  " + "  ".join(one["expressions"]))
    for step in one["stages"]:
        took = "" if step["elapsed_ms"] is None else f"  {step['elapsed_ms']:.2f} ms"
        detail = "" if step["detail"] is None else f"  {step['detail']}"
        print_line(f"    {step['stage']:<12}  {step['outcome']:<12}{detail}{took}".rstrip())
