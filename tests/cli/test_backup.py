"""`secondlook backup` as people and scripts meet it (3 s)."""

import json
import signal
import subprocess
import tarfile

import pytest

from e2e.processes import SECONDLOOK, command, wait_for
from secondlook.config.agent import Settings
from secondlook.ground.lock import locked
from secondlook.run.assembly.check.ledger_opening import ledger_of


def test_it_says_what_it_wrote_and_what_that_gives_away(tmp_path):
    with ledger_of(Settings(state=tmp_path / "state")):
        pass
    (tmp_path / "p").write_text("secret\n")
    config = tmp_path / "proxy.yaml"
    config.write_text("state: state\n")
    plain = command("backup", tmp_path / "plain", "-c", config).stdout
    assert plain.splitlines()[0].startswith(f"wrote {tmp_path}/plain: ")
    assert "not encrypted: whoever reads it can pose as any site" in plain
    again = command("backup", tmp_path / "plain", "-c", config, check=False)
    assert (again.returncode, "exists already" in again.stderr) == (1, True)
    sealed = command("backup", tmp_path / "sealed", "-c", config, "--passphrase-file", tmp_path / "p")
    assert "not encrypted" not in sealed.stdout
    piped = command("backup", tmp_path / "piped", "-c", config, "--encrypt", "--json", input="secret\n")
    (told,) = map(json.loads, piped.stdout.splitlines())
    assert told == {
        "file": str(tmp_path / "piped"),
        "bytes": (tmp_path / "piped").stat().st_size,
        "files": told["files"],
        "encrypted": True,
        "quarantine": False,
        "settings": True,
    }
    for name in ("sealed", "piped"):
        assert (tmp_path / name).read_bytes().startswith(b"age-encryption.org/v1\n-> scrypt ")
        command("restore", "--check", tmp_path / name, input="secret\n")


def test_the_configuration_of_the_package_is_nobodys_own(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with ledger_of(Settings(state=tmp_path / "secondlook")):
        pass
    command("backup", "b", cwd=tmp_path)
    with tarfile.open(tmp_path / "b") as tar:
        assert "settings/proxy.yaml" not in tar.getnames()


@pytest.fixture
def terminal():
    """Let programs end with their terminal, though the tests themselves may run under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("before", "number", "status"),
    [([], signal.SIGTERM, 143), ([], signal.SIGHUP, 129), (["nohup"], signal.SIGHUP, 0)],
)
@pytest.mark.usefixtures("terminal")
def test_one_that_is_ended_leaves_nothing(tmp_path, before, number, status):
    state, folder = tmp_path / "state", tmp_path / "backups"
    folder.mkdir()
    with ledger_of(Settings(state=state)):
        pass
    (state / "pattern").mkdir()
    with locked(state / "pattern" / "lock"):
        words = [*before, *SECONDLOOK, "backup", str(folder / "b"), "--state", str(state)]
        making = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: next(folder.glob(".b.*"), None), "what it is written to")
        making.send_signal(number)
        if status:
            assert making.wait(60) == status
    assert making.wait(60) == status
    assert [each.name for each in folder.iterdir()] == ([] if status else ["b"])
