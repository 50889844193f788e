"""A restore leaves what was or all that is new, touches no running proxy, and says why it does not go (10 s)."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from e2e import coded, prepared
from e2e.processes import SECONDLOOK
from ledgerkit.postgres import PostgresServer, find_binaries
from ledgerkit.rows import all_rows, put_rows
from secondlook.config.agent import Settings
from secondlook.config.source import load_settings
from secondlook.ledger.engine.database import find_place
from secondlook.ledger.engine.migration import migrate
from secondlook.ledger.engine.tables import metadata
from secondlook.run.backup import restoring
from secondlook.run.backup.archive import BackupError
from secondlook.run.backup.making import make_backup
from secondlook.run.backup.restoring import Wanted, check_backup, restore_backup
from secondlook.run.supervisor.runfile import UNFINISHED_FILE, StateLock, write_run_file


def no_passphrase() -> str:
    raise AssertionError("it is not encrypted")


def fill(state: Path, mark: str, numbers: range) -> None:
    """Make a state whose files say `mark`."""
    for name in (
        "site.key",
        "ca/mitmproxy-ca.pem",
        "server/own.json",
        "pattern/confirmed.json",
        "quarantine/a",
    ):
        (state / name).parent.mkdir(parents=True, exist_ok=True)
        (state / name).write_text(mark)
    migrate(find_place(state / "ledger.sqlite3"))
    put_rows(find_place(state / "ledger.sqlite3"), list(metadata.sorted_tables), numbers)


def marks(state: Path) -> dict[str, str]:
    names = ("site.key", "ca/mitmproxy-ca.pem", "server/own.json", "pattern/confirmed.json", "quarantine/a")
    return {name: (state / name).read_text() for name in names if (state / name).exists()}


@pytest.fixture
def old(tmp_path) -> Path:
    """The state that was backed up, with its configuration."""
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "proxy.yaml").write_text("feeds: []\nstate: st\n")
    fill(folder / "st", "old", range(1, 4))
    return folder


@pytest.fixture
def backup(old, tmp_path) -> Path:
    make_backup(load_settings(old / "proxy.yaml"), old / "proxy.yaml", tmp_path / "b", quarantine=True)
    return tmp_path / "b"


def test_on_a_new_machine_everything_is_there(backup, old, tmp_path):
    config = tmp_path / "new" / "proxy.yaml"
    done = restore_backup(backup, Wanted(config, None), no_passphrase)
    state = tmp_path / "new" / "st"
    assert (done.settings.state, done.config, done.aside) == (state, config, [])
    assert config.read_bytes() == (old / "proxy.yaml").read_bytes()
    assert marks(state) == dict.fromkeys(marks(old / "st"), "old")
    assert {each.name for each in state.iterdir()} == {
        "site.key", "ca", "server", "pattern", "quarantine", "ledger.sqlite3", "lock",
    }  # fmt: skip
    assert all(each.stat().st_mode & 0o077 == 0 for each in (state, *state.rglob("*")))
    assert all_rows(find_place(state / "ledger.sqlite3")) == all_rows(find_place(old / "st/ledger.sqlite3"))


def test_what_was_there_is_set_aside_whole(backup, tmp_path):
    state, config = tmp_path / "here", tmp_path / "own.yaml"
    config.write_text("feeds: []\nstate: here\n")
    fill(state, "new", range(5, 9))
    for name in ("review.json", "flags.journal", "setup.json", "ledger.sqlite3-wal"):
        (state / name).touch()  # the last is a WAL that must not meet another's file
    rows = all_rows(find_place(state / "ledger.sqlite3"))
    done = restore_backup(backup, Wanted(config, state), no_passphrase)
    assert marks(state) == dict.fromkeys(marks(state), "old")
    assert len(all_rows(find_place(state / "ledger.sqlite3"))["events"]) == 3
    (aside,) = done.aside
    assert aside.parent == state
    assert marks(aside) == dict.fromkeys(marks(state), "new")
    assert all_rows(find_place(aside / "ledger.sqlite3")) == rows
    assert (aside / "own.yaml").read_text() == "feeds: []\nstate: here\n"
    assert config.read_text() == "feeds: []\nstate: st\n"
    left = {each.name for each in state.iterdir()}
    assert "setup.json" in left  # what was set up on this machine is not the backup's to say
    assert left.isdisjoint({"review.json", "flags.journal", ".restore", UNFINISHED_FILE})
    again = restore_backup(backup, Wanted(config, state), no_passphrase)
    assert again.aside[0] != aside
    assert marks(aside)  # still


def test_settings_and_quarantine_stay_on_request(old, tmp_path):
    make_backup(load_settings(old / "proxy.yaml"), old / "proxy.yaml", tmp_path / "b")
    config = tmp_path / "own.yaml"
    config.write_text("feeds: []\nstate: here\n")
    fill(tmp_path / "here", "new", range(0))
    done = restore_backup(tmp_path / "b", Wanted(config, None, keep_settings=True), no_passphrase)
    assert done.config is None
    assert done.settings.state == tmp_path / "here"
    assert config.read_text() == "feeds: []\nstate: here\n"
    assert marks(tmp_path / "here")["site.key"] == "old"
    assert marks(tmp_path / "here")["quarantine/a"] == "new"


def test_a_running_proxy_is_left_alone(backup, tmp_path):
    state = tmp_path / "here"
    fill(state, "new", range(0))
    lock = StateLock(state)
    before = sorted(state.rglob("*"))
    with pytest.raises(BackupError, match=rf"Second Look runs on {state}; stop it, then restore"):
        restore_backup(backup, Wanted(None, state), no_passphrase)
    write_run_file(state, {"pid": os.getppid()})
    assert sorted(set(state.rglob("*")) - {state / "run.json"}) == before
    assert marks(state)["site.key"] == "new"
    lock.release()


@pytest.mark.parametrize("cut", [0.3, 0.9, 0.999])
def test_one_that_was_cut_changes_nothing(backup, tmp_path, cut):
    state = tmp_path / "here"
    fill(state, "new", range(1, 3))
    before = {path: path.stat().st_mtime_ns for path in state.rglob("*") if path.is_file()}
    data = backup.read_bytes()
    backup.write_bytes(data[: int(len(data) * cut)])
    with pytest.raises(BackupError, match="cut or altered"):
        restore_backup(backup, Wanted(None, state), no_passphrase)
    after = {path: path.stat().st_mtime_ns for path in state.rglob("*") if path.is_file()}
    assert {path: after[path] for path in before} == before
    assert {path.name for path in after.keys() - before.keys()} <= {"lock"}


def test_a_backup_of_a_newer_program_is_refused_in_words(old, tmp_path, monkeypatch):
    from secondlook.run.backup import making

    for name, value in (("HEAD", "9999"), ("FORMAT", 2)):
        with monkeypatch.context() as patch:
            patch.setattr(making, name, value)
            make_backup(Settings(state=old / "st"), None, tmp_path / "b", replace=True)
        for use in (
            lambda: check_backup(tmp_path / "b", no_passphrase),
            lambda: restore_backup(tmp_path / "b", Wanted(None, tmp_path / "here"), no_passphrase),
        ):
            with pytest.raises(
                BackupError, match=r"newer than this program.*upgrade the program, then restore"
            ):
                use()
    assert not (tmp_path / "here").exists()


def test_a_configuration_that_fits_nothing_here_is_told(old, tmp_path):
    (old / "proxy.yaml").write_text("state: st\nlisten: ${NO_SUCH_PORT}\n")
    make_backup(Settings(state=old / "st"), old / "proxy.yaml", tmp_path / "b")
    config = tmp_path / "new.yaml"
    told = r"proxy\.yaml:2: listen: environment variable NO_SUCH_PORT is not set; --keep-settings restores"
    with pytest.raises(BackupError, match=told):
        restore_backup(tmp_path / "b", Wanted(config, None), no_passphrase)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["b", "old"]
    restore_backup(tmp_path / "b", Wanted(config, tmp_path / "here", keep_settings=True), no_passphrase)
    assert marks(tmp_path / "here")["site.key"] == "old"


BREAK = """
import os, sys
from pathlib import Path
from secondlook.run.backup import restoring
moves = 0
rename = Path.rename
def breaking(path, target):
    global moves
    moves += 1
    if moves == int(sys.argv[3]):
        os._exit(9)
    return rename(path, target)
Path.rename = breaking
restoring.restore_backup(Path(sys.argv[1]), restoring.Wanted(None, Path(sys.argv[2])), str)
"""


@pytest.mark.parametrize("at", [1, 4, 9])
def test_a_crash_midway_is_seen_at_the_start_and_mended_by_the_same_restore(backup, tmp_path, at):
    state = tmp_path / "here"
    fill(state, "new", range(5, 9))
    done = coded.run(BREAK, backup, state, at)
    assert done.returncode == 9, done.stderr
    assert (state / UNFINISHED_FILE).exists()
    start = prepared.run([*SECONDLOOK, "run", "--state", str(state)])
    assert start.returncode == 1
    assert "was broken off" in start.stderr
    kept = [path for path in state.glob("before-restore-*/site.key") if path.read_text() == "new"]
    assert kept or (state / "site.key").read_text() == "new"
    restore_backup(backup, Wanted(None, state), no_passphrase)
    assert marks(state) == dict.fromkeys(marks(state), "old")
    assert len(all_rows(find_place(state / "ledger.sqlite3"))["events"]) == 3
    assert not (state / UNFINISHED_FILE).exists()
    assert any(path.read_text() == "new" for path in state.glob("before-restore-*/site.key"))


@pytest.fixture(scope="module")
def postgres():
    binaries = find_binaries()
    if binaries is None:
        assert not os.environ.get("CI"), "PostgreSQL's server programs are needed"
        pytest.skip("PostgreSQL's server programs are not installed")
    server = PostgresServer(binaries)
    server.start()
    yield server
    server.remove()


def no_space(_state: Path) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_ledger_in_postgresql_goes_out_and_into_an_empty_one(old, tmp_path, postgres, monkeypatch):
    first, second = postgres.database(), postgres.database()
    migrate(find_place(first))
    put_rows(find_place(first), list(metadata.sorted_tables), range(1, 20))
    config = tmp_path / "pg.yaml"
    config.write_text(f"feeds: []\nstate: pg\nledger: {first}\n")
    shutil.copytree(old / "st", tmp_path / "pg")
    (tmp_path / "pg/ledger.sqlite3").unlink()
    make_backup(load_settings(config), config, tmp_path / "b")
    assert check_backup(tmp_path / "b", no_passphrase)["ledger"] == "postgresql"
    (tmp_path / "new").mkdir()
    with pytest.raises(BackupError, match=r"database .* is not empty; name a new one"):
        restore_backup(tmp_path / "b", Wanted(tmp_path / "new/proxy.yaml", None), no_passphrase)
    assert not (tmp_path / "new/pg").exists()
    # a member of a fleet comes back to the database that the others use
    shared = all_rows(find_place(first))
    back = Wanted(tmp_path / "new/proxy.yaml", None, keep_ledger=True)
    restore_backup(tmp_path / "b", back, no_passphrase)
    assert marks(tmp_path / "new/pg")["ca/mitmproxy-ca.pem"] == "old"
    assert not (tmp_path / "new/pg/ledger.sqlite3").exists()
    assert all_rows(find_place(first)) == shared
    with pytest.raises(BackupError, match="the ledger here is a file of this proxy alone"):
        restore_backup(
            tmp_path / "b", Wanted(None, tmp_path / "f", keep_settings=True, keep_ledger=True), no_passphrase
        )
    other = tmp_path / "new/proxy.yaml"
    other.write_text(f"feeds: []\nstate: st\nledger: {second}\n")
    restore_backup(tmp_path / "b", Wanted(other, None, keep_settings=True), no_passphrase)
    assert all_rows(find_place(second)) == all_rows(find_place(first))
    assert not (tmp_path / "new/st/ledger.sqlite3").exists()
    # one that was broken off after the database was filled is repeated, while nobody else wrote there
    third = postgres.database()
    other.write_text(f"feeds: []\nstate: third\nledger: {third}\n")
    wanted = Wanted(other, None, keep_settings=True)
    for meanwhile in ([], [metadata.tables["tallies"]]):
        with monkeypatch.context() as patch:
            patch.setattr(restoring, "_Aside", no_space)
            with pytest.raises(BackupError, match="No space left"):
                restore_backup(tmp_path / "b", wanted, no_passphrase)
        put_rows(find_place(third), meanwhile, range(30, 31))
        if meanwhile:
            with pytest.raises(BackupError, match=r"database .* is not empty; name a new one"):
                restore_backup(tmp_path / "b", wanted, no_passphrase)
            continue
        restore_backup(tmp_path / "b", wanted, no_passphrase)
        assert all_rows(find_place(third)) == all_rows(find_place(first))
        assert not (tmp_path / "new/third" / UNFINISHED_FILE).exists()
        (tmp_path / "new/third" / UNFINISHED_FILE).touch()  # of the next
    # and back into a file
    restore_backup(tmp_path / "b", Wanted(None, tmp_path / "file", keep_settings=True), no_passphrase)
    assert all_rows(find_place(tmp_path / "file/ledger.sqlite3")) == all_rows(find_place(first))


def test_a_ledger_of_its_own_place_is_replaced_there(backup, tmp_path):
    place = tmp_path / "elsewhere" / "l.db"
    place.parent.mkdir()
    migrate(find_place(place))
    put_rows(find_place(place), [metadata.tables["tallies"]], range(1, 3))
    config = tmp_path / "own.yaml"
    config.write_text(f"feeds: []\nstate: here\nledger: sqlite:///{place}\n")
    done = restore_backup(backup, Wanted(config, None, keep_settings=True), no_passphrase)
    assert len(all_rows(find_place(place))["events"]) == 3
    aside = [path for path in done.aside if path.parent == place.parent]
    assert {path.name.partition(".before-restore-")[0] for path in aside} >= {"l.db", "l.db-wal"}


@pytest.mark.parametrize("linked", [False, True])
def test_what_root_restores_belongs_to_whom_the_state_belongs(backup, tmp_path, linked):
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    state = tmp_path / "here"
    state.mkdir()
    if linked:
        (tmp_path / "link").symlink_to(state)
    (state / "site.key").touch()
    for path in (state, state / "site.key"):
        os.chown(path, 65534, 65534)
    (aside,) = restore_backup(
        backup, Wanted(None, tmp_path / "link" if linked else state), no_passphrase
    ).aside
    assert (aside / "site.key").exists()
    owners = {path.name: path.stat().st_uid for path in state.rglob("*")}
    assert set(owners.values()) == {65534}, owners


@pytest.mark.parametrize(("before", "after"), [(0o640, 0o640), (0o664, 0o660)])
def test_the_configuration_keeps_mode_and_place(backup, tmp_path, before, after):
    """A service reads it by its group, and a link leads to where others keep it; not all read its secrets."""
    own, config = tmp_path / "own.yaml", tmp_path / "proxy.yaml"
    own.write_text("feeds: []\nstate: here\nname: other\n")
    own.chmod(before)
    config.symlink_to(own)
    restore_backup(backup, Wanted(config, None), no_passphrase)
    assert config.is_symlink()
    assert own.read_text() == "feeds: []\nstate: st\n"
    assert own.stat().st_mode & 0o777 == after


def test_checking_writes_nothing(backup, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    facts = check_backup(backup, no_passphrase)
    assert facts["program"]
    assert json.dumps(facts)
    assert sorted(tmp_path.rglob("*")) == before
