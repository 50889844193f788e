"""A command where something is missing that most have: an output, an encoding, a name, a home, a folder to write."""

import os
import pwd
import subprocess

import pytest

from cli.calling import make_event, on, write_events
from e2e.processes import SECONDLOOK
from secondlook.cli.options import own_name
from secondlook.cli.program import run


@pytest.fixture
def nobody(monkeypatch):
    """A user of whom the system knows neither name nor home, as in a container."""

    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("closed", ["", ">&-", "2>&-", ">&- 2>&-"])
def test_an_output_may_be_closed(tmp_path, closed):
    on(tmp_path, "block", "a.example")
    script = f'exec "$@" {closed}'
    words = ["sh", "-c", script, "sh", *SECONDLOOK, "rules", "--state", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("a.example" in done.stdout) == (closed in {"", "2>&-"})


def test_what_an_encoding_lacks_is_written_in_its_own_way(tmp_path):
    on(tmp_path, "block", "a.example", "--reason", "schön")
    words = [*SECONDLOOK, "rules", "--state", str(tmp_path)]
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONIOENCODING": "ascii"}
    )
    assert "sch\\xf6n" in done.stdout


def test_a_user_without_a_home_is_told_what_to_name(nobody, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["secondlook", "rules", "list"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        run(["rules", "list"])
    assert "set HOME, or name the configuration with -c" in capsys.readouterr().err


def test_a_user_without_a_name_has_a_number(nobody):
    assert own_name() == f"user {os.geteuid()}"


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    done = on(tmp_path / "file" / "state", "setup", "ca", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("secondlook: cannot use the state folder ")
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_ends_each_command_in_one_way(tmp_path):
    state = tmp_path / "state"
    write_events(state, *(make_event(f"http://a.example/{number}") for number in range(1_000)))
    for words in (["log", "--limit", "1000"], ["check", "http://a.example/", "--offline"], ["setup", "pac"]):
        reading, writing = os.pipe()
        os.close(reading)
        words += ["--state", str(state)]
        done = subprocess.run([*SECONDLOOK, *words], stdout=writing, stderr=subprocess.PIPE, check=False)
        os.close(writing)
        assert (done.returncode, done.stderr) == (141, b""), words
