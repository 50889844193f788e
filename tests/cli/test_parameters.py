"""Parameters that are read without pydantic get the values that Typer's own reading gives them."""

import runpy
import sys
from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from typer.main import get_command

from secondlook.cli import parameters
from secondlook.cli.parameters import with_plain_parameters

app = typer.Typer(add_completion=False)


@app.command()
def tried(
    subject: str,
    others: Annotated[list[str] | None, typer.Argument()] = None,
    reason: str | None = None,
    kind: Annotated[list[str] | None, typer.Option()] = None,
    loud: Annotated[str | None, typer.Option(callback=lambda text: text and text.upper())] = None,
    place: Annotated[Path | None, typer.Option()] = None,
    only: Annotated[Path | None, typer.Option(exists=True, dir_okay=False)] = None,
    places: Annotated[list[Path] | None, typer.Option()] = None,
    limit: Annotated[int | None, typer.Option(min=1)] = None,
    ratio: float = 0.5,
    quick: bool = False,
    slow: Annotated[bool, typer.Option("--slow/--fast")] = True,
    level: Literal["high", "low"] = "high",
) -> tuple[object, ...]:
    return subject, others, reason, kind, loud, place, only, places, limit, ratio, quick, slow, level


def outcome(command, words):
    try:
        return command.main(words, standalone_mode=False)
    except Exception as error:  # noqa: BLE001 - whatever Typer's own reading raises
        return type(error), error.format_message()


@pytest.mark.parametrize(
    "words",
    [
        "a",
        "a b c",
        "a --reason why",
        "a --reason=",
        "a --kind x",
        "a --kind x --kind y",
        "a --loud quiet",
        "a --place here",
        "a --place /proc/self/mem",
        "a --places here --places ./there/../x",
        "a --only /etc/passwd",
        "a --only /etc",
        "a --only /no/such/file",
        "a --fast",
        "a --quick=yes",
        "a --limit 3 --ratio 2 --quick",
        "",
        "a --reason",
        "a --nope",
    ],
)
def test_a_value_or_an_error_is_the_same(words):
    plain, own = with_plain_parameters(get_command(app)), get_command(app)
    assert outcome(plain, words.split()) == outcome(own, words.split())


@pytest.mark.parametrize("words", [[""], ["a", "b", ""], ["a", "--place", ""], ["a", "--places", ""]])
def test_an_empty_argument_or_path_is_refused_and_an_empty_text_is_not(words):
    command = with_plain_parameters(get_command(app))
    kind, told = outcome(command, words)
    assert issubclass(kind, typer.BadParameter)
    assert told.endswith(": expected a value, got nothing")
    assert outcome(command, ["a", "--reason", ""])[2] == ""


@pytest.mark.parametrize(
    "words", ["a --place here", "a --places here --places there", "a --only /no/such/file"]
)
def test_paths_are_read_where_typer_names_its_reading_otherwise(words, monkeypatch):
    expected = outcome(get_command(app), words.split())  # Typer itself needs the module
    monkeypatch.setitem(sys.modules, "typer._param_types", None)
    assert outcome(with_plain_parameters(get_command(app)), words.split()) == expected


def test_the_module_of_parameters_does_without_what_is_private_to_typer(monkeypatch):
    monkeypatch.setitem(sys.modules, "typer._param_types", None)
    assert "with_plain_parameters" in runpy.run_path(parameters.__file__)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("a --limit 0", "expected 1 or more, got '0'"),
        ("a --limit many", "expected a whole number, got 'many'"),
        ("a --ratio half", "expected a number, got 'half'"),
        ("a --level loud", "'loud' is not one of 'high', 'low'"),
    ],
)
def test_a_value_that_cannot_be_is_answered_in_plain_words(words, message):
    _, shown = outcome(with_plain_parameters(get_command(app)), words.split())
    assert shown.endswith(f": {message}")
