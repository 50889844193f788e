"""One clamd for all tests of a session that only ask it; what YARA-X made ends in the thread that made it."""

import gc
from collections.abc import Iterator

import pytest

from scankit.clamd import LyingClamd, RealClamd, real_clamd


@pytest.fixture(scope="session")
def clamd() -> Iterator[RealClamd]:
    with real_clamd() as daemon:
        yield daemon


@pytest.fixture
def liar() -> Iterator[LyingClamd]:
    with LyingClamd() as daemon:
        yield daemon


@pytest.fixture
def ends_here() -> Iterator[None]:
    """Collect what an expected error keeps alive: YARA-X's compilers and scanners may end in no other thread."""
    yield
    gc.collect()
