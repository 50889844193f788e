"""Secrets in files: whole or made anew, the same for all who ask at once. 0.2 s."""

import logging
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from secondlook.ground import files
from secondlook.ground.keyfile import KEY_BYTES, fault_of, read_or_make, write_once


def test_a_secret_is_made_once_for_its_owner_alone(tmp_path):
    path = tmp_path / "some.key"
    assert fault_of(path) is None
    key = read_or_make(path, meaning="nothing")
    assert len(key) == KEY_BYTES
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_or_make(path, meaning="nothing") == key
    assert [found.name for found in tmp_path.iterdir()] == ["some.key"]


@pytest.mark.parametrize("size", [0, 1, KEY_BYTES - 1, KEY_BYTES + 1])
def test_a_secret_of_another_size_is_never_taken(tmp_path, caplog, size):
    path = tmp_path / "some.key"
    path.write_bytes(b"k" * size)
    assert fault_of(path) == f"{path} has {size} bytes instead of {KEY_BYTES}"
    with caplog.at_level(logging.WARNING):
        key = read_or_make(path, meaning="everybody signs in again")
    assert len(key) == KEY_BYTES
    assert key[:16] != b"k" * 16
    assert path.read_bytes() == key
    assert caplog.messages == [
        f"{path} has {size} bytes instead of {KEY_BYTES}; a new one was made: everybody signs in again"
    ]


def test_what_is_there_is_not_overwritten(tmp_path):
    path = tmp_path / "some.key"
    write_once(path, b"first")
    write_once(path, b"second")
    assert path.read_bytes() == b"first"


def test_a_secret_that_could_not_be_written_whole_leaves_nothing(tmp_path, monkeypatch):
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        read_or_make(tmp_path / "some.key", meaning="nothing")
    assert list(tmp_path.iterdir()) == []


def _read(path: Path) -> bytes:
    return read_or_make(path, meaning="nothing")


def test_all_processes_that_replace_a_damaged_secret_get_the_same(tmp_path):
    path = tmp_path / "some.key"
    path.write_bytes(b"")
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("fork")) as pool:
        assert len(set(pool.map(_read, [path] * 16))) == 1
