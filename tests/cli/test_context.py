"""What a command works on: by which options, and read when it is first asked for."""

from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from secondlook.cli.context import CommandContext, KnownContext, when_bare, with_context
from secondlook.ground.errors import ConfigError


def test_nothing_is_read_before_it_is_asked_for(tmp_path):
    context = CommandContext(tmp_path / "none.yaml", None)
    with pytest.raises(ConfigError):
        _ = context.settings


def test_who_only_reads_makes_nothing(tmp_path, capsys):
    place = tmp_path / "none"
    assert CommandContext(None, place).state == place
    with pytest.raises(SystemExit):
        _ = KnownContext(None, place).state
    assert f"nothing of Second Look is in {place}" in capsys.readouterr().err
    assert not place.exists()


def test_a_command_is_called_with_it_in_place_of_the_options_that_all_have(tmp_path):
    called = []
    app = typer.Typer()

    @app.command()
    @when_bare(app)
    @with_context
    def tried(
        context: CommandContext, words: Annotated[list[str] | None, typer.Option("--word")] = None
    ) -> None:
        called.append((context.state, context.as_json, words))
        context.report({"words": words}, "line one", "line two")

    place = tmp_path / "state"
    ran = CliRunner()
    assert (
        ran.invoke(app, ["tried", "--word", "a", "--word", "b", "--state", place]).output
        == "line one\nline two\n"
    )
    assert ran.invoke(app, ["--json", "--state", str(place)]).output == '{"words": null}\n'
    assert called == [(place, False, ["a", "b"]), (place, True, None)]
    shown = ran.invoke(app, ["tried", "--help"]).output
    assert all(option in shown for option in ("-c", "--config", "--state", "--json", "--word"))
