"""Which files in the download folders are found, and what is never opened."""

import os
from hashlib import sha256
from pathlib import Path

import pytest

from secondlook.agent.actions import file_search
from secondlook.agent.actions.file_search import hash_of, search

DATA = b"bad" * 100_000
SIZE = len(DATA)
DIGEST = sha256(DATA).digest()


def found(*folders, size=SIZE, ending=""):
    result = search(folders, DIGEST, size, ending)
    for candidate in result.candidates:
        assert hash_of(candidate.fd) == candidate.digest == DIGEST
        candidate.close()
    return sorted(candidate.path.name for candidate in result.candidates), result.problems


def test_every_copy_is_found_by_its_bytes(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("one", "sub/two"):
        (tmp_path / name).write_bytes(DATA)
    (tmp_path / "same size").write_bytes(DATA[::-1])
    (tmp_path / "shorter").write_bytes(DATA[:-1])
    assert found(tmp_path) == (["one", "two"], [])
    assert found(tmp_path, size=None) == (["one", "two"], [])
    assert found(tmp_path, size=len(DATA) - 1) == ([], [])


def test_only_names_with_the_ending_are_looked_at(tmp_path):
    for name in ("a.BLOCKED", "a"):
        (tmp_path / name).write_bytes(DATA)
    assert found(tmp_path, ending=".blocked") == (["a.BLOCKED"], [])


def test_links_and_special_files_are_left_alone(tmp_path):
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "target").write_bytes(DATA)
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    (downloads / "link").symlink_to(tmp_path / "away" / "target")
    (downloads / "folder").symlink_to(tmp_path / "away")
    os.mkfifo(downloads / "pipe")
    assert found(downloads, size=None) == ([], [])


def test_a_folder_that_is_named_twice_is_searched_once(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "one").write_bytes(DATA)
    assert found(tmp_path, tmp_path / "sub", tmp_path) == (["one"], [])


@pytest.mark.parametrize(
    ("depth", "is_found"), [(file_search.DEEPEST, True), (file_search.DEEPEST + 1, False)]
)
def test_folders_are_searched_so_deep(tmp_path, depth, is_found):
    folder = tmp_path.joinpath(*["d"] * depth)
    folder.mkdir(parents=True)
    (folder / "one").write_bytes(DATA)
    assert (found(tmp_path)[0] == ["one"]) == is_found


def test_so_many_files_are_searched_and_the_rest_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(file_search, "MOST_FILES", 3)
    for number in range(3):
        (tmp_path / f"{number}").write_bytes(DATA)
    assert found(tmp_path) == (["0", "1", "2"], [])
    (tmp_path / "3").write_bytes(DATA)
    names, problems = found(tmp_path)
    assert len(names) == 3
    assert problems == ["more than 3 files in the download folders; the rest was not searched"]


def test_a_folder_that_is_not_there_is_reported(tmp_path):
    assert found(tmp_path / "missing") == (
        [], [f"{tmp_path / 'missing'}: folder not searched: no such file or directory"]
    )  # fmt: skip


def test_descriptors_do_not_leak(tmp_path):
    (tmp_path / "one").write_bytes(DATA)
    (tmp_path / "two").write_bytes(DATA[::-1])
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))
    found(tmp_path)
    assert len(list(descriptors.iterdir())) == before
