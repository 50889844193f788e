"""Which commands there are, which is wanted, and how what goes wrong ends."""

import os
import sys

import pytest

from secondlook.cli import program
from secondlook.ground.errors import ConfigError, LedgerError


@pytest.fixture
def completing(monkeypatch):
    """What is completed of such words, the last of which is typed; with what becomes of the words."""

    def set_up(*words: str, at: int | None = None) -> tuple[list[str], str]:
        monkeypatch.setenv("COMP_WORDS", "\n".join(words))
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1 if at is None else at))
        program._join_values()
        return os.environ["COMP_WORDS"].split("\n"), os.environ["COMP_CWORD"]

    return set_up


@pytest.mark.parametrize(
    ("words", "at", "joined", "last"),
    [
        (("sl", "log", "--kind", "=", "blo"), None, ["sl", "log", "--kind", "blo"], "3"),
        (("sl", "log", "--kind", "="), None, ["sl", "log", "--kind", ""], "3"),
        (("sl", "log", "--kind", "=", "x", "--st"), None, ["sl", "log", "--kind", "x", "--st"], "4"),
        (("sl", "log", "--kind", "=", "x", "--st"), 2, ["sl", "log", "--kind", "x", "--st"], "2"),
        (("sl", "--a", "=", "1", "--b", "=", "2"), None, ["sl", "--a", "1", "--b", "2"], "4"),
        (("sl", "block", "a", "=", "b"), None, ["sl", "block", "a", "=", "b"], "4"),
        (("sl", "log"), None, ["sl", "log"], "1"),
    ],
)
def test_what_bash_parts_at_a_sign_is_one_option_and_its_value(completing, words, at, joined, last):
    assert completing(*words, at=at) == (joined, last)


def test_where_nothing_is_completed_the_words_stay(monkeypatch):
    monkeypatch.delenv("COMP_CWORD", raising=False)
    monkeypatch.setenv("COMP_WORDS", "sl\n--kind\n=\nx")
    program._join_values()
    assert os.environ["COMP_WORDS"] == "sl\n--kind\n=\nx"


@pytest.mark.parametrize(
    ("comp_words", "arguments", "typed"),
    [("sl log --k", "sl other", ["log", "--k"]), ("", "sl log", ["log"]), ("", "", [])],
)
def test_a_shell_gives_what_is_typed_in_its_own_variable(monkeypatch, comp_words, arguments, typed):
    monkeypatch.setenv("COMP_WORDS", comp_words)
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", arguments)
    assert program._completed() == typed


def test_the_first_word_that_is_no_option_is_the_command():
    assert program._wanted(["--version", "log", "status"]) == "log"
    assert program._wanted(["--help"]) is None


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ConfigError("no such key"), 2, "secondlook: no such key\n"),
        (LedgerError("locked"), 1, "secondlook: locked\n"),
        (RuntimeError("Could not determine home directory."), 1, "set HOME, or name the configuration"),
    ],
)
def test_an_error_of_ours_is_said_in_one_line(monkeypatch, capsys, error, status, said):
    def fails(_command):
        raise error

    monkeypatch.setattr(program, "get_command", fails)
    with pytest.raises(SystemExit) as ended:
        program.run(["status"])
    assert ended.value.code == status
    assert said in capsys.readouterr().err


def test_another_error_is_not_hidden(monkeypatch):
    def fails(_command):
        raise RuntimeError("something else")

    monkeypatch.setattr(program, "get_command", fails)
    with pytest.raises(RuntimeError, match="something else"):
        program.run(["status"])


@pytest.mark.parametrize("name", ["log", "allow", "server"])
def test_only_the_command_that_is_wanted_is_imported(monkeypatch, name):
    """A listed one comes with its help line alone."""
    module = f"secondlook.cli.{program.COMMANDS[name][0]}"
    monkeypatch.delitem(sys.modules, module, raising=False)
    group = program.LazyGroup(name="secondlook")
    context = type("Context", (), {"resilient_parsing": False})()
    monkeypatch.setattr(sys, "argv", ["secondlook", "status"])
    listed = group.get_command(context, name)
    assert (listed.name, listed.help) == (name, program.COMMANDS[name][1])
    assert module not in sys.modules
    monkeypatch.setattr(sys, "argv", ["secondlook", name])
    assert group.get_command(context, name).name == name
    assert module in sys.modules
    assert group.get_command(context, "nothing") is None
    assert group.list_commands(context)[0] == "run"


def test_the_version_is_said_and_nothing_is_done(capsys):
    with pytest.raises(SystemExit) as ended:
        program.run(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("secondlook ")


def test_what_is_completed_is_joined_before_it_is_read(completing, monkeypatch):
    completing("sl", "log")
    monkeypatch.setenv("COMP_WORDS", "sl\nlog\n--kind\n=\nblo")
    monkeypatch.setenv("COMP_CWORD", "4")
    with pytest.raises(SystemExit):
        program.run(["--version"])
    assert os.environ["COMP_WORDS"] == "sl\nlog\n--kind\nblo"
