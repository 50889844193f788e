"""Who called a command: what is printed goes to it, and its terminal and its way of calling count."""

import os
import shutil

import pytest

from cli.calling import called
from secondlook.cli import caller
from secondlook.ground.program_name import program_name


def test_without_a_caller_the_streams_are_those_of_this_process(capsys):
    caller.write("an answer")
    caller.write("a fault", "err")
    assert tuple(capsys.readouterr()) == ("an answer", "a fault")


def test_a_caller_gets_what_is_printed_with_the_stream_it_belongs_to(capsys):
    written = []
    token = caller.CALLER.set(caller.Caller(None, lambda *each: written.append(each), None, {}, "sl"))
    try:
        caller.write("an answer")
        caller.write("a fault", "err")
    finally:
        caller.CALLER.reset(token)
    assert written == [("out", "an answer"), ("err", "a fault")]
    assert tuple(capsys.readouterr()) == ("", "")


def test_a_command_is_named_as_whoever_calls_can_type_it():
    assert caller.typed("status") == f"{program_name()} status"
    with called(80, {}):
        assert caller.typed("status") == "sl status"


@pytest.mark.parametrize(("given", "terminal", "width"), [(None, False, 99), (40, True, 40)])
def test_the_callers_terminal_counts_and_its_width(monkeypatch, given, terminal, width):
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((99, 9)))
    assert (caller.on_terminal(), caller.columns()) == (False, 99)
    with called(given, {}):
        assert (caller.on_terminal(), caller.columns()) == (terminal, width)


def test_the_environment_of_a_terminal_is_the_callers(monkeypatch):
    monkeypatch.setenv("TERM", "here")
    assert caller.environ()["TERM"] == "here"
    with called(80, {"TERM": "there"}):
        assert caller.environ() == {"TERM": "there"}
