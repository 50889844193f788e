"""Each command's help ends with examples, and each example can be typed."""

import importlib
import shlex

import pytest
from typer.main import get_command

from e2e.processes import command
from secondlook.cli.examples import EXAMPLES, with_examples
from secondlook.cli.program import COMMANDS


def commands():
    def below(command, path):
        yield path, command
        for name, inner in getattr(command, "commands", {}).items():
            yield from below(inner, f"{path} {name}")

    for name, (module, _) in COMMANDS.items():
        command = get_command(importlib.import_module(f"secondlook.cli.{module}").app)
        yield from below(with_examples(command, name), name)


KNOWN = dict(commands())


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
