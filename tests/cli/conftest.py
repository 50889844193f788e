"""The commands are forked from a prepared process, as those of the stories are."""

from pathlib import Path

import pytest

from e2e import prepared

prepared.allow()


@pytest.fixture(scope="session")
def plain_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with settings that say no more than how little is to be written for each ledger."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "proxy.yaml").write_text("ledger: {journal: 256 KiB}\n")
    return folder


@pytest.fixture(autouse=True)
def plain_settings(plain_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin where settings say little: each command would read the shipped ones, for 60 ms."""
    monkeypatch.chdir(plain_folder)


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"
