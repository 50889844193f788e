"""The commands are forked from a prepared process, as those of the stories are."""

from pathlib import Path

import pytest

from e2e import prepared

prepared.allow()


@pytest.fixture(scope="session")
def empty_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder in which nothing is found."""
    return tmp_path_factory.mktemp("empty")


@pytest.fixture(autouse=True)
def without_settings(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin where no settings lie: those of the repository would be read by every command, a tenth of a second."""
    monkeypatch.chdir(empty_folder)


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"
