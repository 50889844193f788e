"""Housekeeping: who checkpoints, what is written without anybody asking, what closing leaves behind."""

import sqlite3
import threading
import time
from concurrent.futures import CancelledError
from contextlib import closing

import psycopg
import pytest
import sqlalchemy as sa

from ledgerkit.contract import remembered
from ledgerkit.made import make_database
from ledgerkit.samples import START, identity_of, make_event, make_flag, make_visit
from ledgerkit.waiting import wait_until
from secondlook.core.event import EventKind
from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine.change import bump
from secondlook.ledger.ledger import EventFilter, Ledger, LedgerOptions
from secondlook.ledger.log import search
from secondlook.ledger.upkeep import housekeeping

pytestmark = pytest.mark.anyio


async def write_much(ledger: Ledger, count: int = 400) -> None:
    for number in range(count):
        await ledger.flags.flag(*make_flag(number, url=f"https://x.example/{'y' * 2000}/{number}"))


async def test_only_the_keeper_brings_the_wal_into_the_file(tmp_path, open_ledger, monkeypatch):
    monkeypatch.setattr(housekeeping, "CHECKPOINT_BYTES", 1 << 18)
    path = tmp_path / "ledger.sqlite3"
    worker = open_ledger(path)
    size = path.stat().st_size
    await write_much(worker)
    assert path.stat().st_size == size  # all of it is in the WAL
    assert path.with_name("ledger.sqlite3-wal").stat().st_size > 1 << 20
    open_ledger(path, keeper=True)
    wait_until(lambda: path.stat().st_size > size)


async def test_the_wal_begins_anew_beside_traffic_that_never_pauses(tmp_path, open_ledger, monkeypatch):
    """Brought in whole it begins anew by itself, unless a transaction began before that."""
    monkeypatch.setattr(housekeeping, "CHECKPOINT_BYTES", 0)
    monkeypatch.setattr(housekeeping, "LONG_BYTES", 4 << 20)
    path = tmp_path / "ledger.sqlite3"
    ledger = open_ledger(path, keeper=True, background=False)
    ledger.store.commit_now(lambda connection: bump(connection, "rules"))
    try_once, modes = ledger.upkeep._checkpoint, []
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("PRAGMA wal_autocheckpoint=0")

    def tried(path, mode):
        modes.append(mode)
        if mode != "PASSIVE":
            return try_once(path, mode)
        writer.execute("BEGIN IMMEDIATE")
        brought_in = try_once(path, mode)
        writer.execute("UPDATE changes SET counter = counter + 1")
        writer.execute("COMMIT")
        return brought_in

    ledger.upkeep._checkpoint = tried
    for _ in range(20):
        await write_much(ledger, 10)
        ledger.upkeep._checkpointed_at -= 1.0
        ledger.upkeep.checkpoint(whole=False)
    writer.close()
    assert path.with_name("ledger.sqlite3-wal").stat().st_size < 8 << 20
    assert 1 <= modes.count("RESTART") < 20


async def test_a_worker_that_closes_leaves_the_wal_alone(tmp_path):
    path = tmp_path / "ledger.sqlite3"
    ledger = Ledger.open(path, LedgerOptions(journal_bytes=4096, deadline_s=60.0))
    size = path.stat().st_size
    await write_much(ledger, 60)
    ledger.close()
    assert path.stat().st_size == size
    ledger = Ledger.open(path, LedgerOptions(journal_bytes=4096, background=False))
    assert ledger.queue.count()[0] == 60
    ledger.close()


async def test_counts_and_history_are_written_without_anybody_asking(place, open_ledger, monkeypatch):
    monkeypatch.setattr(housekeeping, "FLUSH_S", 0.1)
    first, second = open_ledger(place), open_ledger(place)
    first.counts.tally(EventKind.CHECK, "allow", "pattern", at=START)
    event = make_event(EventKind.CHECK)
    first.history.remember(make_visit((identity_of("a"),), event))
    wait_until(lambda: second.statistics.hourly(START, START)[0].checked == 1)
    wait_until(lambda: len(remembered(second)) == 1)


async def test_closing_writes_what_waits(place, open_ledger, tmp_path):
    ledger = Ledger.open(
        place, LedgerOptions(journal_bytes=4096, deadline_s=60.0), journal=tmp_path / "x.journal"
    )
    for number in range(3000):
        ledger.recorder.record(make_event(EventKind.BLOCKED, START + number))
    ledger.counts.tally(EventKind.CHECK, "allow", "pattern", at=START)
    ledger.history.remember(make_visit((identity_of("a"),), make_event(EventKind.CHECK)))
    ledger.close()
    again = open_ledger(place)
    assert sum(1 for _ in again.events.export(EventFilter())) == 3000
    assert again.statistics.hourly(START, START + 3000)[0].checked > 0
    assert len(remembered(again)) == 1


async def test_a_closed_ledger_says_so(tmp_path):
    ledger = Ledger.open(tmp_path / "ledger.sqlite3", LedgerOptions(journal_bytes=4096, deadline_s=60.0))
    ledger.close()
    with pytest.raises((LedgerError, CancelledError), match="closed"):
        ledger.store.commit_now(lambda _: None)


async def test_a_mistake_in_one_job_does_not_hurt_the_others(place, open_ledger):
    ledger = open_ledger(place)

    def wrong(_connection):
        raise ValueError("mine")

    futures = [ledger.store.writer.submit(work) for work in (lambda _: 1, wrong, lambda _: 2)]
    flag = ledger.flags.flag(*make_flag("one"))
    await flag
    assert futures[0].result(60) == 1
    assert futures[2].result(60) == 2
    with pytest.raises(ValueError, match="mine"):
        futures[1].result(60)
    assert ledger.trouble is None
    assert ledger.queue.count()[0] == 1


async def test_an_event_that_no_row_can_hold_is_dropped_alone(place, open_ledger):
    told: list[str] = []
    ledger = open_ledger(place)
    ledger.store.writer._report = told.append
    good = [make_event(EventKind.BLOCKED, START + number) for number in range(20)]
    for number, event in enumerate(good):
        ledger.recorder.record(event)
        if number == 10:
            ledger.recorder.record(make_event(EventKind.BLOCKED, START, size=1 << 70))
    wait_until(lambda: ledger.recorder.dropped == 1)
    wait_until(lambda: len(ledger.events.page().events) == 20)
    assert "could not be written" in told[0]


def test_a_fault_inside_does_not_end_the_housekeeping(place, open_ledger, monkeypatch):
    monkeypatch.setattr(housekeeping, "FLUSH_S", 0.1)
    ledger = open_ledger(place, background=False)
    told: list[str] = []
    ledger.store.report = told.append
    replay = ledger.flags.replay

    def breaks_once() -> int:
        monkeypatch.setattr(ledger.flags, "replay", replay)
        raise sa.exc.OperationalError("VACUUM history", None, Exception("lock timeout"))

    monkeypatch.setattr(ledger.flags, "replay", breaks_once)
    event = make_event(EventKind.CHECK)
    ledger.history.remember(make_visit((identity_of("a"),), event))
    ledger.upkeep.start()
    wait_until(lambda: not ledger.history._unwritten)
    assert ledger.upkeep.faults == 1
    assert any("internal error" in line and "lock timeout" in line for line in told)


async def test_where_nothing_is_new_the_index_rests(tmp_path, open_ledger, monkeypatch):
    """To look is a transaction, and an idle proxy would do little else."""
    monkeypatch.setattr(housekeeping, "INDEX_REST_S", 3600.0)
    ledger = open_ledger(tmp_path / "ledger.sqlite3", background=False)
    writer, looks = ledger.store.writer, []
    submit = writer.submit
    monkeypatch.setattr(writer, "submit", lambda work, **how: looks.append(work) or submit(work, **how))
    await write_much(ledger, 3)
    for goes_on in (True, True, False, False):  # what was found; nothing; nothing is looked at any more
        looks.clear()
        ledger.upkeep._tick()
        assert bool(looks) is goes_on
    assert ledger.store.read(search.indexed_upto) > 0


@pytest.mark.parametrize("broken", ["search index", "journal"])
async def test_one_duty_that_always_fails_keeps_no_other_from_being_done(
    tmp_path, open_ledger, monkeypatch, broken
):
    monkeypatch.setattr(housekeeping, "FLUSH_S", 0.1)
    monkeypatch.setattr(housekeeping, "CHECKPOINT_BYTES", 1 << 18)
    path = tmp_path / "ledger.sqlite3"
    ledger = open_ledger(path, keeper=True, background=False)
    if broken == "journal":
        ledger.flags.journal.append({"event": {}, "flag": {"of": "another version"}})
    else:
        ledger.store.commit_now(lambda connection: connection.exec_driver_sql("DROP TABLE words_upto"))
    size = path.stat().st_size
    await write_much(ledger)
    ledger.history.remember(make_visit((identity_of("a"),), make_event(EventKind.CHECK)))
    ledger.upkeep.start()
    wait_until(lambda: path.stat().st_size > size)
    wait_until(lambda: not ledger.history._unwritten)
    ledger.store.commit_now(lambda _: None)  # what was taken up before is written
    assert [entry.identity for entry in await ledger.history.recall([identity_of("a")])] == [identity_of("a")]


@pytest.fixture
def read_one(tmp_path, open_ledger):
    """A ledger in which something was written, and somebody who reads in it: a backup, for one."""
    path = tmp_path / "ledger.sqlite3"
    ledger = open_ledger(path, keeper=True, background=False)
    ledger.store.commit_now(lambda connection: bump(connection, "rules"))
    ledger.store.commit_now(search.begin_merge)
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM events").fetchall()
    yield ledger, reader, path
    reader.close()


def test_who_waits_for_a_reader_holds_no_writer_up(read_one):
    ledger, reader, path = read_one
    try_once, tries = ledger.upkeep._checkpoint, []

    def tried(path, mode):
        done, held = try_once(path, mode)
        if mode == "TRUNCATE":
            tries.append(done)
        return done, held

    ledger.upkeep._checkpoint = tried
    waits = threading.Thread(target=ledger.upkeep.checkpoint, daemon=True)
    waits.start()
    with closing(sqlite3.connect(path, timeout=0.5, isolation_level=None)) as writer:
        while waits.is_alive() and len(tries) < 3:
            writer.execute("UPDATE changes SET counter = counter")  # within a flag's deadline
            time.sleep(0.01)
    reader.execute("COMMIT")
    waits.join()
    assert tries[0] is False
    assert path.with_name("ledger.sqlite3-wal").stat().st_size == 0


def test_the_daily_sweep_waits_for_no_reader_and_empties_the_wal_later(read_one, monkeypatch):
    monkeypatch.setattr(housekeeping, "WHOLE_S", 0.0)
    monkeypatch.setattr(housekeeping, "_CHECKPOINT_S", 0.0)
    ledger, reader, path = read_one
    merged_at = ledger.upkeep._merged_at
    ledger.upkeep.sweep(thorough=True)
    assert ledger.upkeep._merged_at > merged_at
    wal = path.with_name("ledger.sqlite3-wal")
    assert wal.stat().st_size > 0
    reader.execute("COMMIT")
    ledger.upkeep.checkpoint(whole=False)
    assert wal.stat().st_size == 0


def test_a_table_that_another_proxy_vacuums_is_left_to_it(postgres, open_ledger):
    url = make_database(postgres)
    ledger = open_ledger(url, background=False)
    with psycopg.connect(url) as another:
        another.execute("LOCK TABLE history IN SHARE UPDATE EXCLUSIVE MODE")
        ledger.upkeep.sweep(thorough=True)


def test_a_vacuum_that_fails_is_reported_and_leaves_every_reader_read_only(postgres, open_ledger):
    url = make_database(postgres)
    ledger = open_ledger(url, background=False)
    with psycopg.connect(url) as another:
        another.execute("ALTER TABLE shares RENAME TO elsewhere")
    with pytest.raises(LedgerError, match="shares"):
        ledger.upkeep._reclaim(everything=True)
    shown = ledger.store.read(
        lambda connection: connection.exec_driver_sql("SHOW default_transaction_read_only").scalar()
    )
    assert shown == "on"
