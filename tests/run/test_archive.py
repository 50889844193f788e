"""The file of a backup: whole or an error that names it; nothing of it goes anywhere but into its folder."""

import gzip
import io
import json
import stat
import tarfile
import threading
from pathlib import Path

import pytest

from secondlook.run.backup import age
from secondlook.run.backup.archive import BackupError, Preface, Writer, unpack, writing

FACTS = {"format": 1, "settings": True}
CONTENT = bytes(range(256)) * 4000


@pytest.fixture(autouse=True)
def _little_work(monkeypatch):
    monkeypatch.setattr(age.Sealer.__init__, "__kwdefaults__", {"log2n": 10})


def make(path: Path, passphrase: str | None = None, **options) -> None:
    with writing(path, FACTS, passphrase, **({"replace": False} | options)) as writer:
        writer.add_bytes("settings/proxy.yaml", b"listen: 127.0.0.1:1\n")
        writer.add_bytes("state/ca/key", CONTENT)
        writer.add_bytes("state/empty", b"")


def read(path: Path, folder: Path | None = None, passphrase: str = "x") -> Preface:
    return unpack(path, lambda: passphrase, lambda _: folder)


@pytest.mark.parametrize("passphrase", [None, "x"])
def test_what_is_put_in_comes_out_for_its_owner_alone(tmp_path, passphrase):
    path, out = tmp_path / "b", tmp_path / "out"
    make(path, passphrase)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    preface = read(path, out)
    assert preface == Preface(FACTS, b"listen: 127.0.0.1:1\n")
    assert (out / "state/ca/key").read_bytes() == CONTENT
    assert (out / "state/empty").read_bytes() == b""
    assert stat.S_IMODE((out / "state/ca/key").stat().st_mode) == 0o600
    assert stat.S_IMODE((out / "state").stat().st_mode) == 0o700
    assert read(path) == preface  # without a folder it is only read


def test_tar_opens_one_that_is_not_encrypted(tmp_path):
    make(tmp_path / "b")
    with tarfile.open(tmp_path / "b") as tar:
        assert tar.getnames() == [
            "backup.json",
            "settings/proxy.yaml",
            "state/ca/key",
            "state/empty",
            "contents.json",
        ]


@pytest.mark.parametrize("passphrase", [None, "x"])
def test_one_that_was_cut_or_altered_is_named(tmp_path, passphrase):
    path, bad = tmp_path / "b", tmp_path / "bad"
    make(path, passphrase)
    data = path.read_bytes()
    cuts = [data[:length] for length in (0, 1, 20, len(data) // 2, len(data) - 9, len(data) - 1)]
    for at in (1, len(data) // 2, len(data) - 5):
        altered = bytearray(data)
        altered[at] ^= 0x10
        cuts.append(bytes(altered))
    for damaged in cuts:
        bad.write_bytes(damaged)
        with pytest.raises(BackupError, match=str(bad)):
            read(bad)


def members(path: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(path) as tar:
        return [(each.name, tar.extractfile(each).read()) for each in tar]


def pack(path: Path, files: list[tuple[str, bytes]], kind: bytes = tarfile.REGTYPE) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size, member.type = len(content), kind if name.startswith("odd") else tarfile.REGTYPE
            tar.addfile(member, io.BytesIO(content))


def test_whole_archives_that_do_not_hold_what_they_say_are_refused(tmp_path):
    path, bad = tmp_path / "b", tmp_path / "bad"
    make(path)
    whole = members(path)
    pack(bad, whole)
    assert read(bad).facts == FACTS  # so made, it is one
    wrong = json.dumps({**json.loads(whole[-1][1]), "state/empty": [0, "0" * 64]}).encode()
    for files, told in (
        (whole[:-1], "its end is missing"),
        ([*whole[:3], *whole[4:]], "not as it was put in: state/empty"),
        ([*whole[:3], ("state/more", b""), *whole[3:]], "not as it was put in: state/more"),
        ([*whole[:-1], ("contents.json", wrong)], "not as it was put in: state/empty"),
        ([*whole, ("state/late", b"")], "something comes after"),
        (whole[1:], "expected backup.json"),
        ([whole[0], *whole[2:]], "expected settings/proxy.yaml"),
        ([*whole[:2], ("../key", b""), *whole[2:]], r"'\.\./key'"),
        ([*whole[:2], ("/etc/key", b""), *whole[2:]], "'/etc/key'"),
        ([*whole[:2], ("state/./key", b""), *whole[2:]], r"'state/\./key'"),
        ([("backup.json", b"[]"), *whole[1:]], "have to be objects"),
        ([("backup.json", b"{}"), *whole[1:]], "cut or altered"),
    ):
        pack(bad, files)
        with pytest.raises(BackupError, match=told):
            read(bad, tmp_path / "out")
        assert not (tmp_path / "key").exists()
        for left in sorted((tmp_path / "out").rglob("*"), reverse=True):
            left.rmdir() if left.is_dir() else left.unlink()
    pack(bad, [*whole[:2], ("odd", b""), *whole[2:]], tarfile.SYMTYPE)
    with pytest.raises(BackupError, match="'odd'"):
        read(bad, tmp_path / "out")
    bad.write_bytes(gzip.compress(b"no tar" * 1000))
    with pytest.raises(BackupError, match="is no backup of Second Look"):
        read(bad)
    bad.write_bytes(b"# a text")
    with pytest.raises(BackupError, match=r"is no backup of Second Look.*\(it is not compressed\)"):
        read(bad)


def test_a_refusal_of_its_beginning_comes_before_anything_is_unpacked(tmp_path):
    make(tmp_path / "b")

    def refuse(_: Preface) -> Path:
        raise BackupError("not this one")

    with pytest.raises(BackupError, match=r"^not this one$"):
        unpack(tmp_path / "b", lambda: "", refuse)


def raise_midway(writer: Writer) -> None:
    writer.add_bytes("state/x", b"x")
    raise RuntimeError("gone")


def test_a_file_there_is_replaced_only_when_asked_and_only_by_a_whole_one(tmp_path):
    path = tmp_path / "b"
    path.write_bytes(b"old")
    with pytest.raises(BackupError, match=r"exists already; .* --replace"):
        make(path)
    with pytest.raises(RuntimeError, match="gone"), writing(path, FACTS, None, replace=True) as writer:
        raise_midway(writer)
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["b"]
    make(path, replace=True)
    assert read(path).facts == FACTS


def test_a_folder_that_takes_no_file_is_named(tmp_path):
    with pytest.raises(BackupError, match=f"cannot write the backup: there is no folder {tmp_path}/none"):
        make(tmp_path / "none" / "b")
    with pytest.raises(BackupError, match=f"cannot read the backup: {tmp_path}/none: No such file"):
        read(tmp_path / "none")


def test_a_disk_that_takes_no_more_is_no_fault_of_the_backup(tmp_path):
    def full(_):
        raise OSError(28, "No space left on device")

    make(tmp_path / "b")
    with pytest.raises(BackupError, match=f"cannot unpack the backup: {tmp_path}/b: No space left"):
        unpack(tmp_path / "b", str, full)


def test_files_that_go_or_grow_meanwhile(tmp_path):
    growing, path = tmp_path / "growing", tmp_path / "b"
    growing.write_bytes(b"a" * 3_000_000)

    def append() -> None:
        with growing.open("ab") as file:
            for _ in range(3_000):
                file.write(b"b" * 1_000)

    with writing(path, {"format": 1, "settings": False}, None, replace=False) as writer:
        assert not writer.add("state/gone", tmp_path / "gone")
        appender = threading.Thread(target=append)
        appender.start()
        assert writer.add("state/growing", growing)
        appender.join()
    read(path, tmp_path / "out")
    assert (tmp_path / "out/state/growing").read_bytes().startswith(b"a" * 3_000_000)
