"""`secondlook restore` as people and scripts meet it (5 s)."""

import json
import re

import pytest

from e2e.processes import command
from secondlook.config.agent import Settings
from secondlook.run.assembly.check.ledger_opening import ledger_of
from secondlook.run.backup import age
from secondlook.run.backup.making import make_backup


@pytest.fixture
def backup(tmp_path, monkeypatch):
    monkeypatch.setattr(age.Sealer.__init__, "__kwdefaults__", {"log2n": 10})  # little work for a passphrase
    with ledger_of(Settings(state=tmp_path / "old" / "state")):
        pass
    config = tmp_path / "old" / "proxy.yaml"
    config.write_text("state: state\nfeeds: []\n")
    make_backup(Settings(state=tmp_path / "old" / "state"), config, tmp_path / "b", passphrase="secret")
    (tmp_path / "p").write_text("secret\n")
    return tmp_path / "b"


def test_a_check_tells_what_it_is_and_a_wrong_passphrase_is_named(backup, tmp_path):
    told = command("restore", "--check", backup, "--passphrase-file", tmp_path / "p").stdout
    assert told.splitlines()[-1].split() == ["whole", "yes"]
    assert re.search(
        r"^made +\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z on .+, by Second Look ", told, re.MULTILINE
    )
    wrong = command("restore", "--check", backup, input="wrong\n", check=False)
    assert wrong.returncode == 1
    assert (
        wrong.stderr
        == f"secondlook: {backup}: the passphrase is wrong, or the beginning of the file was altered\n"
    )


def test_without_a_configuration_here_it_goes_where_this_user_has_them(backup, tmp_path, monkeypatch):
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    done = command("restore", backup, "--json", input="secret\n", cwd=tmp_path / "here")
    (told,) = map(json.loads, done.stdout.splitlines())
    own = tmp_path / "home" / "secondlook" / "proxy.yaml"
    assert (told["config"], told["state"]) == (str(own), str(own.parent / "state"))
    assert own.read_text() == "state: state\nfeeds: []\n"
    assert (own.parent / "state" / "ledger.sqlite3").exists()


def test_without_any_configuration_it_goes_where_the_proxy_looks_for_it(backup, tmp_path, monkeypatch):
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    make_backup(Settings(state=tmp_path / "old" / "state"), None, tmp_path / "bare")
    (tmp_path / "here").mkdir()
    done = command("restore", tmp_path / "bare", "--json", cwd=tmp_path / "here")
    assert json.loads(done.stdout)["state"] == str(tmp_path / "home" / "secondlook")
    assert (tmp_path / "home" / "secondlook" / "ledger.sqlite3").exists()
    assert not list((tmp_path / "here").iterdir())


def test_what_was_there_is_named(backup, tmp_path):
    config = tmp_path / "old" / "proxy.yaml"
    told = command("restore", backup, "-c", config, input="secret\n").stdout
    assert f"what was there is kept in {tmp_path}/old/state/before-restore-" in told
    kept = command("restore", backup, "-c", config, "--keep-settings", "--json", input="secret\n").stdout
    assert json.loads(kept)["config"] is None
