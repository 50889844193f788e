"""Machinery of every test: where the shared data lies, and the public suffixes."""

import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from secondlook.suffix import PublicSuffixes

settings.register_profile("project", deadline=None)  # a busy machine is no fault
settings.load_profile("project")

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


@pytest.fixture(scope="session")
def repository() -> Path:
    """The top of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The small real excerpts that are kept with the tests."""
    return REPOSITORY / "tests" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path | None:
    """The large real data beside the repository, or None where there is none."""
    return SHARED_DATA if SHARED_DATA.is_dir() else None


@pytest.fixture(scope="session")
def suffixes() -> "PublicSuffixes":
    """The public suffixes, loaded once."""
    from secondlook.suffix import load_suffixes

    return load_suffixes()


def read_lines(path: Path) -> Iterator[str]:
    """Give the lines of a text file, compressed with xz or not."""
    with lzma.open(path, "rb") if path.suffix == ".xz" else path.open("rb") as file:
        for line in file:
            yield line.decode("utf-8", "replace").rstrip("\r\n")
