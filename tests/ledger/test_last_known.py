"""A database that is away: what it said last is in force, flags are kept, and it takes over when it is back."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledgerkit.contract import confirm
from ledgerkit.postgres import PostgresServer, find_binaries
from ledgerkit.samples import START, identity_of, make_confirmed, make_event, make_flag, make_rule
from ledgerkit.waiting import wait_until
from secondlook.core.event import EventKind
from secondlook.core.rules.rule import Rule
from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine import writer
from secondlook.ledger.engine.database import find_place
from secondlook.ledger.last_known import LastKnown
from secondlook.ledger.ledger import EventFilter, Ledger, LedgerOptions

pytestmark = pytest.mark.anyio


def rule(name: str) -> Rule:
    return make_rule(
        id=name, action="block", subject=f"{name}.example", client="10.0.0.1", reason="as told", created=START
    )


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A PostgreSQL server that may be stopped."""
    binaries = find_binaries()
    assert binaries is not None, "PostgreSQL's server programs are needed"
    found = PostgresServer(binaries)
    found.start()
    yield found
    found.remove()


def opened(location: str, folder: Path, **options: object) -> Ledger:
    return Ledger.open(
        location,
        LedgerOptions(journal_bytes=1 << 18, known=folder / "known.sqlite3", **options),
        journal=folder / "flags.journal",
        report=lambda _: None,
    )


def read_all(ledger: Ledger) -> tuple[object, ...]:
    return (
        tuple(ledger.snapshots.rules()),
        tuple(ledger.snapshots.pauses()),
        {one.identity: one for one in ledger.snapshots.confirmed()},
    )


async def test_what_starts_while_the_database_is_away_works_by_what_it_said_last(
    server, tmp_path, monkeypatch
):
    monkeypatch.setattr(writer, "STEADY_S", 0.0)
    location = server.database()
    keeper = opened(location, tmp_path, keeper=True)
    keeper.rules.add(rule("first"))
    keeper.pauses.add(5, client="10.0.0.2")
    for number in range(3):
        await confirm(keeper, make_confirmed(number), make_event(EventKind.CONFIRMED))
    read_all(keeper)
    await keeper.confirmed.withdraw(identity_of(1), make_event(EventKind.WITHDRAWN))
    said = read_all(keeper)
    assert len(said[2]) == 2
    keeper.close()
    server.stop(signal.SIGQUIT)
    Ledger.look(
        location, LedgerOptions(known=tmp_path / "known.sqlite3")
    )  # settings may be read again meanwhile
    with pytest.raises(LedgerError):
        Ledger.look(location, LedgerOptions(known=tmp_path / "none.sqlite3"))
    service, worker = opened(location, tmp_path, keeper=True), opened(location, tmp_path)
    try:
        for ledger in (service, worker):
            version = ledger.snapshots.version()
            assert read_all(ledger) == said
            assert ledger.snapshots.version() == version
            assert "the rules read last stay in force" in ledger.trouble
            assert ledger.flags.takes_flags
            with pytest.raises(LedgerError):
                ledger.queue.count()
        for number in range(5):
            await worker.flags.flag(*make_flag(number))
        assert worker.flags.journaled == 5
        server.start()
        wait_until(lambda: worker.trouble is None and service.trouble is None)
        wait_until(lambda: not worker.flags.journal.waiting())
        assert worker.queue.count()[0] == 5
        service.rules.add(rule("second"))
        wait_until(lambda: worker.snapshots.version() != version)
        assert [one.id for one in worker.snapshots.rules()] == ["first", "second"]
        wait_until(lambda: service.events.page(EventFilter(kind="error")).events)
        (event,) = service.events.page(EventFilter(kind="error")).events
        assert "could not be written for" in event.detail
    finally:
        worker.close()
        service.close()


async def test_without_what_it_said_last_nothing_is_opened_without_the_database(tmp_path):
    with pytest.raises(LedgerError):
        opened(f"postgresql://tester@/nowhere?host={tmp_path}", tmp_path)


def test_what_another_database_said_is_not_taken(tmp_path):
    one, other = (find_place(f"postgresql://me:secret@db.example/{name}") for name in ("one", "other"))
    path = tmp_path / "known.sqlite3"
    kept = LastKnown(path, one)
    kept.keep_rules([rule("first")])
    assert kept.read() is None  # of the other topics nothing is known yet
    kept.keep_pauses([])
    kept.keep_confirmed({}, None)
    known = LastKnown(path, find_place("postgresql://you:changed@db.example/one")).read()
    assert known is not None
    assert [each.id for each in known.rules] == ["first"]
    assert LastKnown(path, other).read() is None
    LastKnown(path, other).keep_pauses([])
    assert kept.read() is None
    assert b"secret" not in path.read_bytes()
    assert b"first.example" not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600


def test_only_what_changed_is_written_and_what_is_damaged_is_made_anew(tmp_path):
    place = find_place("postgresql://db.example/one")
    kept = LastKnown(tmp_path / "known.sqlite3", place)
    entries = {identity_of(number): make_confirmed(number) for number in range(4)}
    kept.keep_rules([])
    kept.keep_pauses([])
    kept.keep_confirmed(entries, None)
    left = {identity: entry for identity, entry in entries.items() if identity != identity_of(2)}
    kept.keep_confirmed(left, [identity_of(2)])
    known = kept.read()
    assert {one.identity for one in known.confirmed} == set(left)
    (tmp_path / "known.sqlite3").write_bytes(b"<html>no database</html>" * 100)
    assert kept.read() is None
    for _ in range(2):  # the first finds the damage
        kept.keep_rules([rule("first")])
        kept.keep_pauses([])
        kept.keep_confirmed(left, [])
    known = kept.read()
    assert {one.identity for one in known.confirmed} == set(left)
    assert [one.id for one in known.rules] == ["first"]
