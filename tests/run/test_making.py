"""What goes into a backup and what stays out, and under whose locks (8 s)."""

import fcntl
import json
import os
import tarfile
import threading
from pathlib import Path

import pytest

from e2e import coded
from ledgerkit.rows import put_rows
from secondlook.config.agent import Settings
from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine.database import find_place
from secondlook.ledger.engine.journal import Journal
from secondlook.ledger.engine.migration import HEAD, migrate
from secondlook.ledger.engine.tables import metadata
from secondlook.run.backup import making
from secondlook.run.backup.archive import BackupError
from secondlook.run.backup.making import make_backup

FILES = {
    "ca/mitmproxy-ca.pem": b"key",
    "site.key": b"s" * 32,
    "outlets.json": b"{}",
    "new-room/of-somebody": b"1",
    "pattern/confirmed.json": b"{}",
    "pattern/mw-8b.0000000000000000.slh": b"no longer in force",
    "pattern/past/000001.json": b"{}",
    "pattern/lock": b"",
    "server/current": b"2\n",
    "server/publisher.key": b"key",
    "server/own.json": b"[]",
    "server/lock": b"1\n",
    "server/sources/0001-one/records": b"r",
    "server/sources/.0002-unfinished/records": b"r",
    "server/generations/000001/manifest.json": b"{}",
    "server/generations/000002/manifest.json": b"{}",
    "quarantine/abc": b"bad",
    "metrics/counter_1.db": b"1",
    "cache/answers-0": b"1",
    "spool/1": b"1",
    "judged/1": b"1",
    "setup.json": b"[]",
    "notices.json": b"{}",
    "notices.lock": b"",
    "run.json": b"{}",
    "last-run.json": b"{}",
    "lock": b"1 proxy\n",
    "ledger.sqlite3.lock": b"",
    "ledger.sqlite3.damaged-20260101T000000": b"old",
    "flags.journal.replay": b"",
    "flags.journal.unread": b"{}\n",
    "before-restore-20260101T000000Z/site.key": b"old",
    ".write-1": b"",
}
KEPT = {
    "ca/mitmproxy-ca.pem",
    "site.key",
    "outlets.json",
    "flags.journal.unread",
    "new-room/of-somebody",
    "pattern/confirmed.json",
    "server/current",
    "server/publisher.key",
    "server/own.json",
    "server/sources/0001-one/records",
    "server/generations/000002/manifest.json",
}


@pytest.fixture
def state(tmp_path) -> Path:
    folder = tmp_path / "state"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    place = find_place(folder / "ledger.sqlite3")
    migrate(place)
    put_rows(place, list(metadata.sorted_tables), range(1, 3))
    return folder


def held(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {each.name: tar.extractfile(each).read() for each in tar}


def test_what_cannot_be_had_again_is_in_it(state, tmp_path):
    config = tmp_path / "proxy.yaml"
    config.write_text("feeds: []\n")
    (state / "new-room" / "link").symlink_to("/nowhere")
    made = make_backup(Settings(state=state), config, tmp_path / "b")
    inside = held(tmp_path / "b")
    assert {name.removeprefix("state/") for name in inside if name.startswith("state/")} == KEPT
    assert {name for name in inside if not name.startswith("state/")} == {
        "backup.json", "settings/proxy.yaml", "ledger/ledger.sqlite3", "contents.json",
    }  # fmt: skip
    assert inside["settings/proxy.yaml"] == b"feeds: []\n"
    assert inside["state/ca/mitmproxy-ca.pem"] == b"key"
    facts = json.loads(inside["backup.json"])
    assert (facts["format"], facts["schema"], facts["ledger"]) == (1, HEAD, "sqlite")
    assert (facts["settings"], facts["quarantine"]) == (True, False)
    assert (made.files, made.bytes) == (len(inside) - 1, (tmp_path / "b").stat().st_size)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["b", "proxy.yaml", "state"]


def test_quarantined_files_go_in_on_request(state, tmp_path):
    made = make_backup(Settings(state=state), None, tmp_path / "b", quarantine=True)
    inside = held(tmp_path / "b")
    assert made.quarantine
    assert inside["state/quarantine/abc"] == b"bad"
    assert "settings/proxy.yaml" not in inside


def test_flags_that_wait_in_the_journal_are_in_it(state, tmp_path):
    journal = Journal(state / "flags.journal", size_bytes=1 << 16)
    journal.append({"id": "one"})
    make_backup(Settings(state=state), None, tmp_path / "b")
    (tmp_path / "copy").write_bytes(held(tmp_path / "b")["state/flags.journal"])
    copy = Journal(tmp_path / "copy", size_bytes=1 << 16)
    assert copy.records() == [{"id": "one"}]
    journal.close()
    copy.close()


@pytest.mark.parametrize("name", ["flags.journal", "pattern/lock", "server/lock"])
def test_it_waits_for_who_changes_what_it_copies(state, tmp_path, name):
    (state / "flags.journal").write_bytes(b"")
    holder = os.open(state / name, os.O_RDWR)
    fcntl.flock(holder, fcntl.LOCK_EX)
    done = threading.Event()

    def make() -> None:
        make_backup(Settings(state=state), None, tmp_path / "b")
        done.set()

    maker = threading.Thread(target=make)
    maker.start()
    try:
        assert not done.wait(1.0)  # it would be done by now
    finally:
        os.close(holder)
    maker.join()
    assert done.is_set()


def test_lists_of_a_damaged_stamp_stay_out(state, tmp_path):
    (state / "pattern/current.json").write_bytes(b"damaged")
    make_backup(Settings(state=state), None, tmp_path / "b")
    assert not [name for name in held(tmp_path / "b") if name.endswith(".slh")]


def test_where_there_is_no_ledger_nothing_is_made(tmp_path):
    with pytest.raises(BackupError, match=r"there is no ledger at .*none/ledger.sqlite3"):
        make_backup(Settings(state=tmp_path / "none"), None, tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_what_fails_midway_leaves_nothing(state, tmp_path):
    (state / "ledger.sqlite3-wal").unlink()
    (state / "ledger.sqlite3").write_bytes(b"no database at all" * 1000)
    with pytest.raises(LedgerError, match="damaged"):
        make_backup(Settings(state=state), None, tmp_path / "b")
    assert [each.name for each in tmp_path.iterdir()] == ["state"]


def test_a_full_disk_is_told_and_leaves_nothing(state, tmp_path):
    (state / "ca" / "random").write_bytes(os.urandom(2 << 20))
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from secondlook.config.agent import Settings\n"
        "from secondlook.run.backup.making import make_backup\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "try:\n"
        "    make_backup(Settings(state=Path(sys.argv[1])), None, Path(sys.argv[2]))\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    done = coded.run(code, state, tmp_path / "b")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"BackupError cannot write the backup: {tmp_path}/b: File too large")
    assert [each.name for each in tmp_path.iterdir()] == ["state"]


KILLED = """
import os, sys
from pathlib import Path
from secondlook.config.agent import Settings
from secondlook.run.backup import archive, making
put = archive.Writer._put
def putting(writer, name, *more):
    if name == making.LEDGER:
        os._exit(9)
    put(writer, name, *more)
archive.Writer._put = putting
if sys.argv[3] == "as it is copied":
    making.copy_out = lambda *_: os._exit(9)
making.make_backup(Settings(state=Path(sys.argv[1])), None, Path(sys.argv[2]), passphrase="x")
"""


@pytest.mark.parametrize("at", ["as it is copied", "as it is put in"])
def test_one_that_was_killed_leaves_no_copy_of_the_ledger(state, tmp_path, at):
    folder = tmp_path / "backups"
    folder.mkdir()
    done = coded.run(KILLED, state, folder / "b", at)
    assert done.returncode == 9, done.stderr
    if at == "as it is put in":
        assert not list(folder.rglob("ledger.sqlite3"))
        return
    assert list(folder.rglob("ledger.sqlite3"))  # which goes with the next backup, of any name
    with making._working(folder) as used:  # one that is being made meanwhile
        make_backup(Settings(state=state), None, folder / "c")
        assert list(folder.glob(".secondlook-backup-*")) == [used]


def test_one_is_made_on_a_drive_of_the_network(state, tmp_path, monkeypatch):
    """On NFS a file that is open when it is removed stays in its folder, under another name."""
    remove = os.unlink

    def removing(path: str | Path, *, dir_fd: int | None = None) -> None:
        status = os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
        if any(
            each.exists() and os.path.samestat(each.stat(), status)
            for each in Path("/proc/self/fd").iterdir()
        ):
            beside = Path(path).with_name(f".nfs{status.st_ino}")
            os.rename(path, beside, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
        else:
            remove(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", removing)
    make_backup(Settings(state=state), None, tmp_path / "b")
    assert held(tmp_path / "b")["ledger/ledger.sqlite3"].startswith(b"SQLite format 3")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["b", "state"]


def test_folders_that_lie_elsewhere_are_in_it_by_their_links(state, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("ca", "server", "pattern", "new-room"):
        (state / name).rename(elsewhere / name)
        (state / name).symlink_to(elsewhere / name)
    (state / "ca/again").symlink_to(state)  # goes round in a circle
    (tmp_path / "link").symlink_to(state)
    for at in (state, tmp_path / "link"):
        make_backup(Settings(state=at), None, tmp_path / "b", replace=True)
        names = {each.removeprefix("state/") for each in held(tmp_path / "b") if each.startswith("state/")}
        assert names == KEPT


def test_links_of_another_user_lead_only_to_what_is_that_users_own(state, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can make files for others")
    (tmp_path / "roots").mkdir()
    (tmp_path / "roots" / "secret").write_bytes(b"of root")
    own = tmp_path / "own"
    own.write_bytes(b"of the service")
    os.chown(own, 65534, 65534)
    for name, to in (("folder", "roots"), ("file", "roots/secret"), ("own", "own")):
        (state / name).symlink_to(tmp_path / to)
        os.chown(state / name, 65534, 65534, follow_symlinks=False)
    make_backup(Settings(state=state), None, tmp_path / "b")
    inside = held(tmp_path / "b")
    assert inside["state/own"] == b"of the service"
    assert b"of root" not in inside.values()
