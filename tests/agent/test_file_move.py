"""Moving a file by its inode: nothing is overwritten, and what is not the file that was hashed goes back."""

import os
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256

import pytest

from secondlook.agent.actions import file_move
from secondlook.agent.actions.file_move import (
    MoveError,
    delete_stored,
    discard,
    holders,
    put_away,
    rename_in_place,
    restore_stored,
)
from secondlook.agent.actions.file_search import search
from secondlook.core.event import QuarantineRecord

DATA = b"bad" * 1000
DIGEST = sha256(DATA)


@pytest.fixture
def downloads(tmp_path):
    folder = tmp_path / "downloads"
    folder.mkdir()
    return folder


@pytest.fixture
def store(tmp_path):
    return tmp_path / "quarantine"


@pytest.fixture
def candidate(downloads):
    """A file that was found, open."""
    (downloads / "a.exe").write_bytes(DATA)
    (downloads / "a.exe").chmod(0o755)
    [candidate] = search([downloads], DIGEST.digest(), len(DATA)).candidates
    yield candidate
    candidate.close()


def record(path, **more):
    made = QuarantineRecord(
        id="r1", state="moving", sha256=DIGEST.hexdigest(), size=len(DATA), path=str(path),
        stored_as=DIGEST.hexdigest(), mode=0o644, modified_at=1000.0, moved_at=2000.0,
    )  # fmt: skip
    return replace(made, **more)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_it_lies_in_a_private_folder_for_nobody_to_run(candidate, downloads, store):
    put_away(candidate, store, record(candidate.path))
    assert names(downloads) == []
    assert names(store) == [DIGEST.hexdigest()]
    assert (store / DIGEST.hexdigest()).stat().st_mode & 0o777 == 0o600
    assert store.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("act", [put_away, discard, rename_in_place], ids=lambda act: act.__name__)
def test_another_file_under_its_name_goes_back(candidate, downloads, store, act):
    candidate.path.unlink()
    candidate.path.write_bytes(b"mine")
    with pytest.raises(MoveError, match="another file stands under its name"):
        act(candidate, store, record(candidate.path)) if act is put_away else act(candidate)
    assert candidate.path.read_bytes() == b"mine"
    assert names(downloads) == ["a.exe"]


def test_a_file_with_other_names_is_copied_and_they_are_reported(candidate, downloads, store):
    os.link(candidate.path, downloads / "again.exe")
    [again] = [each for each in search([downloads], DIGEST.digest(), None).candidates if each.name == "a.exe"]
    note = put_away(again, store, record(again.path))
    again.close()
    assert note is not None
    assert "1 further name (hard link)" in note
    assert names(downloads) == ["again.exe"]
    assert (store / DIGEST.hexdigest()).stat().st_nlink == 1


def test_no_name_is_overwritten_by_a_rename(candidate, downloads):
    for taken in ("a.exe.blocked", "a.exe (2).blocked"):
        (downloads / taken).write_bytes(b"mine")
    path = rename_in_place(candidate)
    assert path.name == "a.exe (3).blocked"
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (DATA, 0o644)
    assert (downloads / "a.exe.blocked").read_bytes() == b"mine"


def test_a_name_that_leaves_no_room_for_the_suffix_is_cut(downloads):
    (downloads / ("a" * 255)).write_bytes(DATA)
    [candidate] = search([downloads], DIGEST.digest(), None).candidates
    path = rename_in_place(candidate)
    candidate.close()
    assert names(downloads) == [path.name] == ["a" * 240 + ".blocked"]


def test_a_file_that_is_given_back_overwrites_nothing(candidate, downloads, store):
    kept = record(candidate.path)
    put_away(candidate, store, kept)
    (downloads / "a.exe").write_bytes(b"mine")
    path = restore_stored(store, kept, keep=True)
    assert path == downloads / "a (2).exe"
    assert (path.read_bytes(), path.stat().st_mode & 0o777, path.stat().st_mtime) == (DATA, 0o644, 1000.0)
    assert names(store) == [DIGEST.hexdigest()], "others need it too"
    restore_stored(store, kept, keep=False)
    assert names(store) == []
    delete_stored(store, kept)


def test_a_file_is_given_back_though_an_earlier_try_was_killed(candidate, downloads, store):
    kept = record(candidate.path)
    put_away(candidate, store, kept)
    (downloads / f".second-look-{kept.id}").write_bytes(DATA[:10])
    assert restore_stored(store, kept, keep=False).read_bytes() == DATA
    assert names(downloads) == ["a.exe"]


def test_the_file_of_another_user_is_copied(candidate, downloads, store, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: candidate.status.st_uid + 1)
    put_away(candidate, store, record(candidate.path))
    assert names(downloads) == []
    assert (store / DIGEST.hexdigest()).stat().st_ino != candidate.status.st_ino


def test_what_fails_in_the_middle_puts_the_file_back(candidate, downloads, store, monkeypatch):
    def refused(*_):
        raise PermissionError("not the owner")

    monkeypatch.setattr(os, "fchmod", refused)
    with pytest.raises(PermissionError):
        put_away(candidate, store, record(candidate.path))
    assert (names(downloads), names(store)) == (["a.exe"], [])
    assert rename_in_place(candidate).name == "a.exe.blocked"


def test_stored_bytes_that_are_others_are_not_given_back(candidate, downloads, store):
    kept = record(candidate.path)
    put_away(candidate, store, kept)
    (store / kept.stored_as).write_bytes(DATA[::-1])
    with pytest.raises(MoveError, match="do not match their hash"):
        restore_stored(store, kept, keep=False)
    assert names(downloads) == []
    assert names(store) == [kept.stored_as]


def test_where_no_name_is_free_the_move_is_refused(candidate, downloads, monkeypatch):
    monkeypatch.setattr(file_move, "range", lambda *_: (1, 2), raising=False)
    for taken in ("a.exe.blocked", "a.exe (2).blocked"):
        (downloads / taken).write_bytes(b"mine")
    with pytest.raises(MoveError, match=r"no free name beside a\.exe\.blocked"):
        rename_in_place(candidate)


def test_who_has_it_open_is_named_and_we_are_not(candidate):
    assert holders(candidate.status) == []
    hold = "import sys; file = open(sys.argv[1]); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, candidate.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        [holder] = holders(candidate.status)
        other.stdin.close()
    assert holder.endswith(f"(process {other.pid})")
