"""Ledgers for tests: SQLite in a folder, a real PostgreSQL server, and the fake for other rooms' tests."""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ledgerkit.fake import FakeLedger
from ledgerkit.made import make_database
from ledgerkit.postgres import PostgresServer, find_binaries
from secondlook.ledger.ledger import Ledger, LedgerOptions


class FakeClock:
    """A clock that stands still until it is told to move."""

    def __init__(self, at: float = 1_700_000_000.0) -> None:
        self.at = at
        self.ahead = 0.0  # of the wall clock, when somebody set it

    def now(self) -> float:
        return self.at + self.ahead

    def monotonic(self) -> float:
        return self.at

    def elapsed(self) -> float:
        return self.at


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    binaries = find_binaries()
    if binaries is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL's server programs are needed (Debian: apt install postgresql)")
        pytest.skip("PostgreSQL's server programs are not installed")
    server = PostgresServer(binaries)
    server.start()
    yield server
    server.remove()


type Opener = Callable[..., Ledger]


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a fresh ledger of each engine goes."""
    if request.param == "sqlite":
        return str(tmp_path / "ledger.sqlite3")
    return request.getfixturevalue("postgres").database()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty ledger of each engine is, or is copied to as it is opened (`ledgerkit.copied`)."""
    if request.param == "sqlite":
        return str(tmp_path / "ledger.sqlite3")
    return make_database(request.getfixturevalue("postgres"))


@pytest.fixture
def open_ledger(tmp_path: Path, clock: FakeClock) -> Iterator[Opener]:
    """Open ledgers; closed at the end in the opposite order."""
    opened: list[Ledger] = []
    numbers = itertools.count()

    def opener(location: str | Path, *, journal: Path | None = None, **options) -> Ledger:
        ledger = Ledger.open(
            location,
            LedgerOptions(**{"journal_bytes": 1 << 20, "deadline_s": 60.0, **options}),
            journal=journal or tmp_path / f"flags{next(numbers)}.journal",
            clock=clock,
            report=lambda _: None,
        )
        opened.append(ledger)
        return ledger

    yield opener
    for ledger in reversed(opened):
        ledger.close()


@pytest.fixture
def ledger(place: str, open_ledger: Opener) -> Ledger:
    """An open ledger of each engine."""
    return open_ledger(place)


@pytest.fixture(params=["sqlite", "postgresql", "fake"])
def any_ledger(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock):
    """What the query process sees: each engine, and the fake that stands for them."""
    if request.param == "fake":
        yield FakeLedger(clock)
        return
    opener: Opener = request.getfixturevalue("open_ledger")
    if request.param == "sqlite":
        yield opener(tmp_path / "ledger.sqlite3")
    else:
        yield opener(make_database(request.getfixturevalue("postgres")))
