"""Running the platform's own tools: what they print, and why they failed."""

import pytest

from secondlook.setup import tool


@pytest.fixture
def program(tmp_path, monkeypatch):
    def make(script):
        path = tmp_path / "a-tool"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path.name

    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return make


def test_what_a_tool_prints_comes_back(program):
    name = program('printf "%s|" "$@"')
    assert tool.has(name)
    assert tool.run(name, "a b", "$HOME") == "a b|$HOME|"  # no shell between


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo first >&2; echo the reason >&2; exit 1", "a-tool: the reason"),
        ("echo the reason; exit 1", "a-tool: the reason"),
        ("exit 3", "a-tool: exit code 3"),
        ("printf 'caf\\351' >&2; exit 1", "a-tool: caf\ufffd"),
    ],
)
def test_why_a_tool_failed_is_its_last_line(program, script, why):
    with pytest.raises(tool.ToolError, match=f"^{why}$"):
        tool.run(program(script))


def test_a_tool_that_does_not_end_is_given_up(program, monkeypatch):
    monkeypatch.setattr(tool, "TIMEOUT_S", 0.05)
    with pytest.raises(tool.ToolError, match="did not end"):
        tool.run(program("while :; do :; done"))


def test_a_tool_that_is_missing_is_named():
    assert not tool.has("no-such-tool-here")
    with pytest.raises(tool.ToolError, match="no-such-tool-here is not installed"):
        tool.run("no-such-tool-here")


def test_windows_is_there_only_with_its_tools(program, monkeypatch):
    monkeypatch.setenv("WSL_DISTRO_NAME", "Debian")
    assert tool.windows() is None
    monkeypatch.setattr(tool, "has", lambda name: name == "reg.exe")
    assert tool.windows() == "Debian"


def test_a_command_is_written_as_a_person_types_it():
    assert tool.shown(["a", "b c"]) == 'a "b c"'
