"""One clamd for all tests of a session that only ask it, and one that lies."""

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
