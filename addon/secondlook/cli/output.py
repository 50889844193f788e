"""What commands print: tables on a terminal, plain columns when piped, one JSON object a line on request.

Everything that comes from outside (URLs, names, reasons) is printed in its inert form: no control
character of a hostile URL ever reaches the terminal.
"""

import dataclasses
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, tzinfo
from enum import Enum
from pathlib import Path
from typing import Any, Literal, NoReturn

from secondlook.cli.caller import CALLER, environ, on_terminal, write
from secondlook.cli.caller import columns as columns_of_terminal
from secondlook.core.neutralize import inert

type Tone = Literal["good", "bad", "doubtful"]
_COLOURS: dict[Tone, str] = {"good": "32", "bad": "1;31", "doubtful": "33"}  # readable on dark and on light
_LONGEST_CELL = 240  # in a table that is drawn
_LEGIBLE = 24  # characters that a column of a table needs at least, where its cells are longer


def fail(message: str, *, hint: str | None = None, status: int = 1) -> NoReturn:
    """Show an error and what to do next on standard error, and end."""
    for line in message.splitlines() or [""]:
        write(f"secondlook: {inert(line)}\n", "err")
    if hint:
        write(f"  {inert(hint)}\n", "err")
    sys.exit(status)


def fail_as_none_of(option: str, known: Iterable[str], got: str) -> NoReturn:
    """Show that a value is none of those that an option takes, with the one that was probably meant."""
    from difflib import get_close_matches

    words = tuple(known)
    near = get_close_matches(got, words, n=1)
    hint = f"did you mean {near[0]}?" if near else None
    fail(f"{option}: expected one of {', '.join(words)}, got {got}", hint=hint, status=2)


@contextmanager
def working(on: str) -> Iterator[None]:
    """Show on a terminal what takes its time, until it is done."""
    shown = CALLER.get() is None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    line = f"{on} …"
    if shown:
        sys.stderr.write(f"{line}\r")
        sys.stderr.flush()
    try:
        yield
    finally:
        if shown:
            sys.stderr.write(f"{' ' * len(line)}\r")
            sys.stderr.flush()


@contextmanager
def progress(doing: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on a terminal; what is given is called with how much more is done."""
    if not sys.stderr.isatty():
        yield lambda _more: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=total)
        yield lambda more: bar.advance(task, more)


def plain_value(value: object) -> Any:
    """Turn a value of ours into what JSON knows: digests in hexadecimal, enums by their value."""
    match value:
        case bytes():
            return value.hex()
        case Enum():
            return value.value
        case Path():
            return str(value)
        case Mapping():
            return {str(key): plain_value(inner) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain_value(inner) for inner in value]
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {
                field.name: plain_value(getattr(value, field.name)) for field in dataclasses.fields(value)
            }
        case _:
            return value


def print_json(record: object) -> None:
    """Print a mapping or a dataclass as JSON on one line; what is beyond ASCII is escaped, so it is inert."""
    write(json.dumps(plain_value(record)) + "\n")


def print_line(text: str = "") -> None:
    """Print one line of plain text, inert."""
    write(inert(text) + "\n")


def print_result(record: Mapping[str, object], *lines: str, as_json: bool) -> None:
    """Print what came of a command: a record as JSON, or lines for people."""
    if as_json:
        print_json(record)
    else:
        for line in lines:
            print_line(line)


def print_marked(mark: str, text: str, tone: Tone) -> None:
    """Print one line of plain text that begins with a word in a colour, where a terminal takes colours."""
    shown = inert(mark)
    write((f"\x1b[{_COLOURS[tone]}m{shown}\x1b[0m" if _styled() else shown) + inert(text) + "\n")


def _styled() -> bool:
    """Whether bold type and colours are wanted: on a terminal that has them, and https://no-color.org."""
    around = environ()
    return on_terminal() and not around.get("NO_COLOR") and around.get("TERM", "dumb") != "dumb"


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    empty: str,
    whole: Sequence[str] = ("id",),
    spare: Sequence[str] = (),
) -> None:
    """Print rows: a table on a terminal, tab-separated lines when piped; `empty` is shown for none.

    Cells of the columns `whole` are never broken over two lines, so that they can be copied. A terminal too
    narrow for a legible table does without the columns `spare`, first the first; one that is too narrow for
    this too gets one paragraph a row, in which each value stands behind its column's name.
    """
    texts = [[_cell(value) for value in row] for row in rows]
    if not on_terminal():
        if texts:
            write("\t".join(columns) + "\n")
        for row in texts:
            write("\t".join(row) + "\n")
        if not texts:
            write(empty + "\n", "err")
        return
    if not texts:
        write(empty + "\n")
        return
    width = columns_of_terminal()
    shown = list(columns)
    for column in ("", *spare):
        shown = [each for each in shown if each != column]
        places = [columns.index(each) for each in shown]
        cells = [[row[place] for place in places] for row in texts]
        if _legible_width(shown, cells, whole) <= width:
            columns, texts = shown, cells
            break
    else:
        _print_paragraphs(columns, texts, width)
        return
    # only a terminal needs Rich, which is slow to import
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    styled = _styled()
    table = Table(box=None, header_style="bold" if styled else "", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in whole)
    for row in texts:
        table.add_row(*(Text(_cut(cell)) for cell in row))
    drawn = io.StringIO()
    Console(file=drawn, force_terminal=styled, width=width, highlight=False, _environ=environ()).print(table)
    write(drawn.getvalue())


def print_list[T](
    items: Iterable[T],
    record: Callable[[T], Mapping[str, object]],
    columns: Sequence[str],
    row: Callable[[T], Sequence[object]],
    *,
    as_json: bool,
    empty: str,
    spare: Sequence[str] = (),
) -> None:
    """Print items: each as a `record` of JSON, or a table of which each is a `row`."""
    if as_json:
        for item in items:
            print_json(record(item))
    else:
        print_table(columns, map(row, items), empty=empty, spare=spare)


def time_text(at: float | None, *, utc: bool = False) -> str | None:
    """Write an instant for people: short, by the clock of whoever reads; piped, or with `utc`, exactly."""
    from secondlook.ground.instant import rfc3339

    if at is None or utc or not on_terminal():
        return rfc3339(at)
    zone = environ().get("TZ")
    own = zone == os.environ.get("TZ")  # a proxy that answers may have been started elsewhere
    local, now = (datetime.fromtimestamp(each, None if own else _zone(zone)) for each in (at, time.time()))
    if local.date() == now.date():
        return f"{local:%H:%M:%S}"
    return f"{local:%d %b %H:%M}" if local.year == now.year else f"{local:%Y-%m-%d %H:%M}"


def _zone(name: str | None) -> tzinfo | None:
    from zoneinfo import ZoneInfo

    return ZoneInfo(name) if name else None


def _legible_width(columns: Sequence[str], rows: Sequence[Sequence[str]], whole: Sequence[str]) -> int:
    needed = 2 * (len(columns) - 1)
    for column, *cells in zip(columns, *rows, strict=True):
        longest = max(map(len, (*column.split(), *cells)))
        needed += longest if column in whole else min(longest, _LEGIBLE)
    return needed


def _print_paragraphs(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> None:
    """Fill lines with names and values; a value is never broken here, so that it can be copied."""
    for row in rows:
        line, indent = "", ""
        for column, cell in zip(columns, row, strict=True):
            pair = f"{column} {cell}"
            if cell == "-":
                continue
            if line and len(line) + 2 + len(pair) > width:
                write(line + "\n")
                line, indent = "", "  "
            line += ("  " if line else indent) + pair
        write(line + "\n")


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print names and values in two columns."""
    texts = [(name, _cell(value)) for name, value in facts]
    width = max((len(name) for name, _ in texts), default=0)
    for name, value in texts:
        write(f"{name:<{width}}  {value}\n")


def generation_text(generation: str | None) -> str:
    """Name the generation of the lists in force; not every server numbers its own."""
    return f"generation {generation}" if generation else "of no numbered generation"


def duration_text(seconds: float) -> str:
    """Write a duration in its two largest units: `3 d 4 h`, `12 min`, `5 s`."""
    left = round(abs(seconds))
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
        if len(parts) == 2 or (parts and unit == "min"):  # noqa: PLR2004
            break
    return " ".join(parts)


def _cut(cell: str) -> str:
    """Leave out the middle of what would fill a screen: an address may have thousands of characters."""
    return cell if len(cell) <= _LONGEST_CELL else f"{cell[: _LONGEST_CELL - 61]}…{cell[-60:]}"


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case int():
            return f"{value:,}"
        case list() | tuple():
            return ", ".join(_cell(inner) for inner in value)
        case _:
            return inert(str(plain_value(value)))
