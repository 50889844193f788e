"""A hint names a command that can be typed as it stands."""

import ast
import re
import sys
from pathlib import Path

import pytest

import secondlook
from secondlook.cli import caller
from secondlook.cli.program import COMMANDS
from secondlook.ground.program_name import program_name, typed

PACKAGE = Path(secondlook.__file__).parent
# where the command is named, not printed for somebody to type on this machine as it stands
NAMED = {
    "cli/server/findings.py": "help",
    "config/query.py": "of a publisher, on another machine",
    "config/traffic.py": "what stands in place of an option",
    "config/value.py": "what makes such a value",
    "setup/service.py": "a mark in a file",
    "setup/squid.py": "a comment in a file",
}


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """Stand in a clone whose environment has the program; nothing is on the path."""
    script = tmp_path / "a clone" / ".venv" / "bin" / "secondlook"
    script.parent.mkdir(parents=True)
    script.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(script.parent / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.chdir(script.parents[2])
    return script


def on_path(tmp_path, target):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "secondlook").symlink_to(target)


def test_in_a_clone_the_way_to_its_environment_is_shown(clone):
    assert typed("setup ca on") == ".venv/bin/secondlook setup ca on"


def test_from_elsewhere_the_whole_way_is_shown(clone, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert program_name() == f"'{clone}'"  # a shell would take the space for an end
    elsewhere.rmdir()  # as a shell may stand in a folder that is gone
    assert program_name() == f"'{clone}'"
    monkeypatch.chdir("/")  # services stand here, whoever reads it does not
    assert program_name() == f"'{clone}'"


def test_what_a_shell_finds_is_shown_by_its_name(clone, tmp_path):
    on_path(tmp_path, clone)
    assert program_name() == "secondlook"


def test_another_installation_on_the_path_is_not_named(clone, tmp_path):
    other = tmp_path / "other"
    other.touch(mode=0o755)
    on_path(tmp_path, other)
    assert program_name() == ".venv/bin/secondlook"


def test_one_that_is_installed_apart_from_its_python_is_shown_as_it_was_called(clone, tmp_path, monkeypatch):
    own = clone.rename(tmp_path / "secondlook")
    monkeypatch.setattr(sys, "argv", [str(own)])
    assert program_name() == str(own)


def test_without_a_script_python_starts_it(clone, monkeypatch):
    clone.unlink()
    monkeypatch.setattr(sys, "argv", ["pytest"])
    assert program_name() == f"'{clone.parent}/python' -m secondlook"


def printed(path):
    text = path.read_text()
    if not re.search(r"\bsecondlook(?!\.)", text):
        return  # nothing but imports of it
    tree = ast.parse(text)
    prose = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in prose:
            yield from re.findall(rf"(?<![\w/])secondlook (?:{'|'.join(COMMANDS)})\b(?!: ).*", node.value)


def test_no_message_names_a_command_that_may_not_be_found():
    found = {
        str(path.relative_to(PACKAGE)): shown
        for path in PACKAGE.rglob("*.py")
        if path.name != "examples.py" and (shown := list(printed(path)))
    }
    assert {file: shown for file, shown in found.items() if "helper" not in file and file not in NAMED} == {}
    pages = [path for path in PACKAGE.rglob("*.html") if re.search(r"secondlook [a-z]+", path.read_text())]
    assert pages == []


def test_a_proxy_that_answers_shows_how_the_caller_calls_it(clone):
    token = caller.CALLER.set(caller.Caller(None, lambda _stream, _text: None, None, {}, "/opt/sl"))
    try:
        assert caller.typed("resume") == "/opt/sl resume"
    finally:
        caller.CALLER.reset(token)
    assert caller.typed("resume") == ".venv/bin/secondlook resume"
