"""Each command's help is in our words and ends with examples, and each example can be typed."""

import importlib
import re
import shlex

import pytest
from typer.main import get_command

from e2e.processes import command
from secondlook.cli.examples import EXAMPLES, with_examples
from secondlook.cli.parameters import with_plain_parameters
from secondlook.cli.program import COMMANDS


def commands():
    def below(command, path):
        yield path, command
        for name, inner in getattr(command, "commands", {}).items():
            yield from below(inner, f"{path} {name}")

    for name, (module, _) in COMMANDS.items():
        command = get_command(importlib.import_module(f"secondlook.cli.{module}").app)
        yield from below(with_plain_parameters(with_examples(command, name)), name)


KNOWN = dict(commands())


@pytest.mark.parametrize("path", sorted(set(KNOWN) - {"helper"}))  # that one has no Typer
def test_a_help_cuts_no_line_and_shows_no_type_of_python(path, monkeypatch):
    monkeypatch.setattr(
        "typer.core.HAS_RICH", False
    )  # as `secondlook.cli` has it, where Typer is imported later
    with KNOWN[path].make_context(f"secondlook {path}", [], resilient_parsing=True) as context:
        shown = KNOWN[path].get_help(context)
    assert shown.startswith(f"Usage: secondlook {path} ")
    assert not re.search(r"(?<!\])\.\.\.\n|<\w+|list\[|\[\[|[{}]", shown)


def test_every_command_has_examples_and_no_example_is_of_none():
    assert set(KNOWN) == set(EXAMPLES) | {"helper"}  # that one is started by Squid


@pytest.mark.parametrize("example", sorted({line for lines in EXAMPLES.values() for line in lines}))
def test_an_example_can_be_typed(example):
    name, *words = shlex.split(example.partition(" > ")[0])
    while words and f"{name} {words[0]}" in KNOWN:
        name = f"{name} {words.pop(0)}"
    assert "--help" not in words
    with KNOWN[name].make_context(name, words) as context:
        assert not context.args


@pytest.mark.parametrize("words", [["allow", "--help"], ["help", "allow"]])
def test_the_help_shows_them_line_by_line(words):
    shown = command(*words).stdout
    assert "Examples:\n    secondlook allow example.org --for 1h\n    secondlook allow https" in shown
