"""Locks between processes."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from secondlook.ground.lock import locked, locked_folder, take_lock


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lock"


def test_a_lock_that_is_held_is_not_taken_twice(path):
    with locked(path), pytest.raises(BlockingIOError):
        take_lock(path, wait=False)
    os.close(take_lock(path, wait=False))


def test_a_folder_is_locked_itself(tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        with locked_folder(tmp_path), pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_missing_is_not_made(tmp_path):
    with pytest.raises(FileNotFoundError), locked_folder(tmp_path / "missing"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_refused_lock_leaves_no_descriptor_open(path):
    def opened():
        return sorted(each.name for each in Path("/proc/self/fd").iterdir())

    with locked(path):
        before = opened()
        with pytest.raises(BlockingIOError):
            take_lock(path, wait=False)
        assert opened() == before


HOLDER = """
import pathlib, signal, sys
from secondlook.ground.lock import take_lock
take_lock(pathlib.Path(sys.argv[1]))
print("held", flush=True)
signal.pause()
"""


def test_a_lock_ends_with_the_process_that_holds_it(path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, path],
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
    ) as holder:
        try:
            assert holder.stdout.readline() == b"held\n"
            with pytest.raises(BlockingIOError):
                take_lock(path, wait=False)
        finally:
            holder.kill()
    os.close(take_lock(path, wait=False))


def test_a_lock_file_is_its_owners_alone(path):
    with locked(path):
        assert path.stat().st_mode & 0o777 == 0o600
