"""The prose of the repository, and what it cites."""

import re
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel

from secondlook.config.fault_words import model_in

REPOSITORY = Path(__file__).parent.parent.parent
PACKAGE = REPOSITORY / "addon" / "secondlook"
HISTORY = ("CHANGELOG.md", "changelog.d/")  # what was true once
TABLES = ("docs/benchmarks.md", "docs/attacks.md")  # made by programs
GENERATED = ("_pb2.py", "_pb2.pyi")


class Prose(NamedTuple):
    """Text that people read: where it stands (path below the repository, first line), and what it says."""

    path: str
    line: int
    text: str


class Citation(NamedTuple):
    """One citation: its place, and what it names."""

    place: str
    names: tuple[str, ...]


@cache
def tracked() -> tuple[str, ...]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return tuple(name for name in listed.stdout.split("\n") if name and (REPOSITORY / name).is_file())


COMMENT = re.compile(r"(?:^|\s)(#:? .*)")
TEXT = re.compile(r"(\"{3}|'{3})(.*?)\1", re.DOTALL)
MEASUREMENT = re.compile(r'"(P\d[^"\n]*)"')


def prose_of_python(path: str, source: str) -> Iterator[Prose]:
    """Give docstrings (texts that begin a line), comments, and the names of measurements.

    By expressions, as reading a thousand files with `ast` takes three seconds.
    """
    for match in TEXT.finditer(source):
        before = source[source.rfind("\n", 0, match.start()) + 1 : match.start()]
        if not before.strip(" r"):
            yield Prose(path, source.count("\n", 0, match.start()) + 1, match[2])
    if path.startswith("bench/"):
        for match in MEASUREMENT.finditer(source):
            yield Prose(path, source.count("\n", 0, match.start()) + 1, match[1])
    comments: list[str] = []  # on lines that follow each other
    for number, line in enumerate([*source.split("\n"), ""], 1):
        if (found := COMMENT.search(line)) is not None:
            comments.append(found[1])
        elif comments:
            yield Prose(path, number - len(comments), "\n".join(comments))
            comments = []


@cache
def prose() -> tuple[Prose, ...]:
    found: list[Prose] = []
    for path in tracked():
        if path.startswith(HISTORY) or path in TABLES or path.endswith(GENERATED):
            continue
        if path.endswith(".py"):
            found += prose_of_python(path, (REPOSITORY / path).read_text())
        elif path.endswith((".md", ".proto", ".toml", ".yaml")) or path in {"Makefile", ".ci/run"}:
            found.append(Prose(path, 1, (REPOSITORY / path).read_text()))
    return tuple(found)


def citations(pattern: str, *, of: Callable[[str], bool] = lambda _: True) -> list[Citation]:
    """Find what matches, in the paths that are wanted; a blank of the pattern matches the end of a line too."""
    expression = re.compile(pattern.replace(" ", r"\s+(?:#\s*)?"))
    return [
        Citation(
            f"{path}:{line + text.count(chr(10), 0, match.start())}",
            tuple(re.sub(r"\s+", " ", group or "") for group in match.groups()),
        )
        for path, line, text in prose()
        if of(path)
        for match in expression.finditer(text)
    ]


def is_prose(path: str) -> bool:
    return path != "tests/mutants.toml"  # quotes code


def dangling(found: list[Citation], is_there: Callable[..., bool]) -> list[str]:
    return [f"{place}: {', '.join(names)}" for place, names in found if not is_there(*names)]


def places_of(model: type[BaseModel], seen: tuple[type[BaseModel], ...] = ()) -> set[str]:
    """Return the dotted places of all settings of a model, as `settings_shown` has those of a file."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        found.add(name)
        inner = model_in(field.annotation)
        if inner is not None and inner not in seen:
            found |= {f"{name}.{each}" for each in places_of(inner, (*seen, inner))}
    return found
