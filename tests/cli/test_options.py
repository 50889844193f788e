"""Options: how what is typed is read, and what is said of what cannot be."""

import io
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import typer

from secondlook.cli.options import (
    UnusableStateError,
    enterable_state,
    instant_from,
    own_name,
    read_secret,
    seconds_from,
    writable_state,
)
from secondlook.ground.errors import ConfigError


def test_durations_have_a_unit():
    assert (seconds_from("10m", "--for"), seconds_from(None, "--for")) == (600.0, None)
    with pytest.raises(ConfigError, match=r"--for: .*got '10'"):
        seconds_from("10", "--for")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-01-31T12:00:00Z", 1769860800.0),
        ("2026-01-31T13:00:00+01:00", 1769860800.0),
        ("2026-01-31T12:00:00", 1769860800.0),
        ("20260131", 1769817600.0),
        (None, None),
    ],
)
def test_an_instant_is_utc_where_nothing_else_is_said(text, at):
    assert instant_from(text, "--since") == at


def test_an_instant_may_be_so_long_ago(monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1_000_000.0)
    assert instant_from("1d", "--since") == 1_000_000.0 - 86_400


@pytest.mark.parametrize(("text", "said"), [("30", "30m, 30h or 30d"), ("soon", "got 'soon'")])
def test_what_is_no_instant_is_refused_with_what_would_be_one(text, said):
    with pytest.raises(ConfigError, match=f"--since: .*{said}"):
        instant_from(text, "--since")


def test_a_user_without_a_name_is_a_number(monkeypatch):
    def nameless():
        raise KeyError("no such user")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert own_name().startswith("user ")


def test_a_state_folder_is_made_for_its_owner_alone(tmp_path):
    state = tmp_path / "a" / "state"
    writable_state(state)
    assert state.stat().st_mode & 0o777 == 0o700
    assert list(state.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(UnusableStateError, match="choose another with --state"):
        writable_state(tmp_path / "file")


def test_a_secret_is_the_first_line_that_is_piped(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("s3cret\nmore\n\n"))
    assert read_secret("password", twice=True) == "s3cret"
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    with pytest.raises((SystemExit, typer.Exit)):
        read_secret("password", twice=True)
    assert "expected a password" in capsys.readouterr().err


@pytest.fixture
def closed_state():
    """The state of somebody, where this test is now somebody else."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        (state := Path(name) / "state").mkdir(0o700)
        (state / "server").mkdir()
        enterable_state(state)
        enterable_state(state / "to be made")
        own_name()  # what it imports may lie where only root can read
        if os.geteuid() == 0:
            os.chown(state, 4_000_000, 0)
            os.seteuid(65534)
        else:
            state.chmod(0)
        yield state
        os.seteuid(os.getuid())
        state.chmod(0o700)


def test_a_state_folder_of_somebody_else_is_refused_with_who_may_open_it(closed_state):
    owner = "user 4000000" if os.getuid() == 0 else own_name()
    with pytest.raises(UnusableStateError, match=f"{closed_state} is closed to .*: run this as {owner}, or"):
        enterable_state(closed_state)
    with pytest.raises(UnusableStateError, match=r"server is closed to .*: run this as root, or"):
        enterable_state(closed_state / "server")
