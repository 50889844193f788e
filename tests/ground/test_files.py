"""Files that change whole or not at all."""

import itertools
import os
from pathlib import Path

import pytest

from secondlook.ground import files
from secondlook.ground.files import give_to_owner, replacing, write_whole


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "kept.json"
    path.write_bytes(b"old")
    return path


def test_a_file_takes_its_place_when_it_is_whole(path):
    with replacing(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
        file.seek(0)
        assert file.read() == b"new"
        assert Path(file.name).parent == path.parent
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["kept.json"]


def test_what_fails_half_way_changes_nothing(path):
    def half():
        with replacing(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert path.read_bytes() == b"old"
    assert names(path.parent) == ["kept.json"]


@pytest.mark.parametrize("call", ["fsync", "open"])
def test_a_disk_that_fails_changes_nothing(path, monkeypatch, call):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, call, full)
    with pytest.raises(OSError, match=f"No space left on device: '{path}'"):
        write_whole(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert names(path.parent) == ["kept.json"]


def test_the_content_is_on_the_disk_before_the_name_is(path, monkeypatch):
    synced = []

    def fsync(descriptor):
        synced.append((os.fstat(descriptor).st_size, path.read_bytes()))

    monkeypatch.setattr(files.os, "fsync", fsync)
    write_whole(path, b"longer")
    assert synced == [(6, b"old")]
    write_whole(path, b"again", synced=False)
    assert len(synced) == 1


@pytest.mark.parametrize(("private", "mode"), [(True, 0o600), (False, 0o644)])
def test_a_private_file_is_its_owners_alone(path, private, mode):
    before = os.umask(0o022)
    try:
        write_whole(path, b"new", private=private)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


def test_two_writers_do_not_mix(path):
    with replacing(path) as first, replacing(path) as second:
        first.write(b"first")
        second.write(b"second, and longer")
    assert path.read_bytes() == b"first"
    assert names(path.parent) == ["kept.json"]


def test_what_a_killed_process_left_beside_is_no_obstacle(path, monkeypatch):
    monkeypatch.setattr(files, "_numbers", itertools.repeat(7))
    (path.parent / f".kept.json.{os.getpid()}.7").write_bytes(b"half of something longer")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["kept.json"]


def test_what_is_given_away_is_what_was_made_here_and_nothing_that_a_link_leads_to(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    state, outside = tmp_path / "state", tmp_path / "outside"
    (state / "in").mkdir(parents=True)
    outside.mkdir()
    for made in (state / "in" / "made", state / "shared", outside / "secret", outside / "linked"):
        made.touch()
    (state / "file").symlink_to(outside / "secret")
    (state / "in" / "folder").symlink_to(outside)
    (state / "in" / "hard").hardlink_to(outside / "linked")
    os.chown(state, 65534, 65533)
    os.chown(state / "shared", 65534, 4)
    give_to_owner(state, state)
    made, shared = (path.stat() for path in (state / "in" / "made", state / "shared"))
    assert (made.st_uid, made.st_gid) == (65534, 65533)
    assert (shared.st_uid, shared.st_gid) == (65534, 4)
    assert {path.stat().st_uid for path in (outside, *outside.iterdir())} == {0}
