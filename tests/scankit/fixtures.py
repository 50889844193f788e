"""One clamd for all tests of a session that only ask it, one that lies, and a program without YARA-X."""

import sys
from collections.abc import Iterator

import pytest

from scankit.clamd import LyingClamd, RealClamd, real_clamd
from secondlook.scan.rule_set import engine_version


@pytest.fixture(scope="session")
def clamd() -> Iterator[RealClamd]:
    with real_clamd() as daemon:
        yield daemon


@pytest.fixture
def liar() -> Iterator[LyingClamd]:
    with LyingClamd() as daemon:
        yield daemon


@pytest.fixture
def no_yara(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "yara_x", None)  # as if it were not installed
    engine_version.cache_clear()
    yield
    engine_version.cache_clear()
