"""What must never be lost, with real disks and real processes: full disk, damage, kill -9, restarts."""

import asyncio
import json
import signal
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e import coded
from ledgerkit.contract import confirm
from ledgerkit.postgres import PostgresServer, find_binaries
from ledgerkit.samples import START, identity_of, make_confirmed, make_event, make_flag, make_rule
from ledgerkit.waiting import wait_until
from secondlook.core.event import EventKind
from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine import writer
from secondlook.ledger.ledger import EventFilter, Ledger, LedgerOptions

pytestmark = pytest.mark.anyio

OPTIONS = LedgerOptions(journal_bytes=1 << 18)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A real file system of 3 MiB, where the test may mount one; else a quota by another means."""
    folder = Path(tempfile.mkdtemp(prefix="sldisk"))
    mounted = (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], check=False, capture_output=True
        ).returncode
        == 0
    )
    if not mounted:
        folder.rmdir()
        pytest.skip("mounting a file system needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)
    folder.rmdir()


def fill(folder: Path) -> Path:
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65_536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return ballast


async def test_on_a_full_disk_the_journal_takes_the_flags_and_gives_them_back(small_disk):
    told: list[str] = []
    ledger = Ledger.open(small_disk / "ledger.sqlite3", OPTIONS, report=told.append)
    await ledger.flags.flag(*make_flag("before"))
    ballast = fill(small_disk)
    for number in range(100):
        await ledger.flags.flag(*make_flag(number))
    assert ledger.flags.journaled > 50
    assert ledger.trouble is not None
    assert "full" in ledger.trouble
    assert any("full" in line for line in told)
    ledger.recorder.record(make_event(EventKind.BLOCKED))  # late, not lost
    ballast.unlink()
    wait_until(lambda: ledger.queue.count()[0] == 101)
    wait_until(lambda: not ledger.flags.journal.waiting())
    wait_until(lambda: len(ledger.events.page(limit=500).events) == 102)
    assert ledger.trouble is None
    ledger.close()


async def test_a_disk_that_is_full_again_and_again_is_told_once(small_disk, monkeypatch):
    told: list[str] = []
    ledger = Ledger.open(small_disk / "ledger.sqlite3", OPTIONS, report=told.append)
    await ledger.flags.flag(*make_flag("before"))
    for turn in range(3):
        ballast, number = fill(small_disk), 0
        while ledger.trouble is None:
            await ledger.flags.flag(*make_flag(f"{turn} {number}"))
            number += 1
        ballast.unlink()
        wait_until(lambda: ledger.trouble is None)
    lines = [line for line in told if "writ" in line]
    assert len(lines) == 1, told
    assert lines[0].startswith("cannot write: ")
    monkeypatch.setattr(writer, "STEADY_S", 0.0)
    ledger.recorder.record(make_event(EventKind.BLOCKED))
    wait_until(lambda: "writing again" in told)
    ledger.close()


async def test_when_the_journal_is_full_too_the_flag_is_refused(small_disk):
    ledger = Ledger.open(
        small_disk / "ledger.sqlite3", LedgerOptions(journal_bytes=8192), report=lambda _: None
    )
    await ledger.flags.flag(*make_flag("before"))
    ballast = fill(small_disk)
    kept: list[bytes] = []
    refused: list[str] = []
    for number in range(60):
        try:
            await ledger.flags.flag(*make_flag(number))
        except LedgerError as error:
            refused.append(str(error))
        else:
            kept.append(identity_of(number))
    assert refused
    assert all("full" in line for line in refused)
    ballast.unlink()
    wait_until(lambda: not ledger.flags.journal.waiting())
    queued = {entry.identity for entry in ledger.queue.walk()}
    assert queued == {identity_of("before"), *kept}
    ledger.close()


async def test_a_ledger_that_may_not_grow_behaves_like_a_full_disk(tmp_path):
    ledger = Ledger.open(
        tmp_path / "ledger.sqlite3",
        LedgerOptions(journal_bytes=1 << 18, max_pages=80),
        report=lambda _: None,
    )
    for number in range(400):
        await ledger.flags.flag(*make_flag(number))
    assert ledger.flags.journaled
    ledger.close()
    ledger = Ledger.open(tmp_path / "ledger.sqlite3", OPTIONS, report=lambda _: None)
    wait_until(lambda: ledger.queue.count()[0] == 400)
    assert all(entry.count == 1 for entry in ledger.queue.walk())
    ledger.close()


async def test_a_flag_never_waits_past_its_deadline(tmp_path):
    ledger = Ledger.open(
        tmp_path / "ledger.sqlite3",
        LedgerOptions(journal_bytes=1 << 18, deadline_s=0.2),
        report=lambda _: None,
    )
    holder = sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await asyncio.gather(*[ledger.flags.flag(*make_flag(number)) for number in range(10)])
    assert ledger.flags.journaled == 10
    assert loop.time() - begun < 4.5  # the lock would be waited for 5 s
    await ledger.flags.flag(*make_flag("at once"))  # and the next does not wait at all
    holder.execute("COMMIT")
    holder.close()
    wait_until(lambda: not ledger.flags.journal.waiting() and ledger.queue.count()[0] == 11)
    # The commit that came too late and the journal both had these flags: each counts once.
    assert [entry.count for entry in ledger.queue.walk()] == [1] * 11
    ledger.close()


FLAGGER = """
import asyncio, sys
from pathlib import Path
from ledgerkit.samples import make_flag
from secondlook.ledger.ledger import Ledger, LedgerOptions

async def one(ledger, name):
    await ledger.flags.flag(*make_flag(name))
    print(name, flush=True)

async def main():
    location, journal, who = sys.argv[1:]
    ledger = Ledger.open(location, LedgerOptions(journal_bytes=1 << 22), journal=Path(journal), report=lambda _: None)
    number = 0
    while True:
        await asyncio.gather(*[one(ledger, f"{who}-{number + k}") for k in range(5)])
        number += 5

asyncio.run(main())
"""


def start_flagger(location: str, journal: Path, who: str) -> subprocess.Popen[str]:
    return coded.start(FLAGGER, location, journal, who, stdout=subprocess.PIPE)


def read_lines(process: subprocess.Popen[str], count: int) -> list[str]:
    return [process.stdout.readline().strip() for _ in range(count)]


def kill(process: subprocess.Popen[str]) -> list[str]:
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split("\n")
    process.wait()
    process.stdout.close()
    return [line for line in rest[:-1] if line]


def test_processes_killed_at_work_lose_no_committed_flag(place, tmp_path):
    journal = tmp_path / "shared.journal"
    done: set[str] = set()
    for attempt in range(3):
        processes = [start_flagger(place, journal, f"p{attempt}{name}") for name in "ab"]
        for process in processes:
            done.update(read_lines(process, 40))
        for process in processes:
            done.update(kill(process))
    ledger = Ledger.open(place, OPTIONS, journal=journal, report=lambda _: None)
    wait_until(lambda: not ledger.flags.journal.waiting())
    queued = {entry.identity for entry in ledger.queue.walk()}
    assert {identity_of(name) for name in done} <= queued
    assert ledger.upkeep.check() == []
    ledger.close()


def test_postgresql_restarted_under_load_loses_no_flag(tmp_path):
    binaries = find_binaries()
    assert binaries is not None, "PostgreSQL's server programs are needed"
    server = PostgresServer(binaries)
    server.start()
    try:
        location = server.database()
        Ledger.open(location, OPTIONS, journal=tmp_path / "x.journal", report=lambda _: None).close()
        journal = tmp_path / "shared.journal"
        processes = [start_flagger(location, journal, name) for name in "ab"]
        done: set[str] = set()
        for how in (signal.SIGINT, signal.SIGQUIT):
            for process in processes:
                done.update(read_lines(process, 30))
            server.stop(how)
            for process in processes:  # flags go on into the journal
                done.update(read_lines(process, 30))
            server.start()
        for process in processes:
            done.update(read_lines(process, 30))
        for process in processes:
            done.update(kill(process))
        ledger = Ledger.open(location, OPTIONS, journal=journal, report=lambda _: None)
        wait_until(lambda: not ledger.flags.journal.waiting())
        entries = list(ledger.queue.walk())
        assert {identity_of(name) for name in done} <= {entry.identity for entry in entries}
        assert {entry.count for entry in entries} == {1}
        ledger.close()
    finally:
        server.remove()


# -- damage ------------------------------------------------------------------------------------------


async def filled(path: Path) -> None:
    patient = LedgerOptions(
        journal_bytes=1 << 18, deadline_s=60.0
    )  # all is in the ledger, nothing in the journal
    ledger = Ledger.open(path, patient, report=lambda _: None)
    for number in range(50):
        await ledger.flags.flag(*make_flag(number))
    await confirm(ledger, make_confirmed("bad"), make_event(EventKind.CONFIRMED))
    await ledger.run(
        ledger.rules.add,
        make_rule(id="r1", action="block", subject="x.example", created=START),
    )
    await ledger.run(ledger.upkeep.checkpoint)
    ledger.close()


async def test_a_file_that_is_no_database_is_set_aside_and_said_so(tmp_path):
    path = tmp_path / "ledger.sqlite3"
    await filled(path)
    path.write_bytes(b"<html>not a database</html>" * 400)
    path.with_name("ledger.sqlite3-wal").unlink(missing_ok=True)
    journal = path.with_name("flags.journal")
    with pytest.raises(LedgerError, match=r"is damaged.*secondlook run.*sets it aside"):
        Ledger.open(path, OPTIONS)
    assert path.read_bytes().startswith(b"<html>")
    assert journal.exists()
    told: list[str] = []
    ledger = Ledger.open(path, LedgerOptions(journal_bytes=1 << 18, repair=True), report=told.append)
    assert "set aside as ledger.sqlite3.damaged-" in told[0]
    (aside,) = (file for file in tmp_path.glob("ledger.sqlite3.damaged-*") if file.suffix[-4:] != "-shm")
    assert aside.read_bytes().startswith(b"<html>")
    await ledger.flags.flag(*make_flag("after"))
    wait_until(lambda: len(ledger.events.page(EventFilter(kind="error")).events) == 1)
    ledger.close()


async def test_what_can_be_read_of_a_damaged_ledger_is_carried_over(tmp_path):
    path = tmp_path / "ledger.sqlite3"
    await filled(path)
    with sqlite3.connect(path) as raw:
        page = raw.execute("SELECT rootpage FROM sqlite_master WHERE name = 'events'").fetchone()[0]
    raw.close()
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    told: list[str] = []
    ledger = Ledger.open(path, LedgerOptions(journal_bytes=1 << 18, repair=True), report=told.append)
    assert "carried over: 50 of flagged" in told[0]
    assert ledger.queue.count()[0] == 50
    assert {client for entry in ledger.queue.walk() for client in entry.clients} == {"10.0.0.1"}
    assert [rule.id for rule in ledger.snapshots.rules()] == ["r1"]
    assert [entry.identity for entry in ledger.snapshots.confirmed()] == [identity_of("bad")]
    ledger.close()


async def test_a_process_that_had_the_damaged_file_open_turns_to_the_new_one(tmp_path):
    path = tmp_path / "ledger.sqlite3"
    worker = Ledger.open(path, OPTIONS, report=lambda _: None)
    await worker.flags.flag(*make_flag("before"))
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).rename(path.with_name(f"{path.name}.damaged-x{suffix}"))
    service = Ledger.open(path, OPTIONS, report=lambda _: None)
    await worker.flags.flag(*make_flag("after"))
    worker.recorder.record(make_event(EventKind.BLOCKED))
    wait_until(lambda: service.queue.count()[0] == 1)
    wait_until(lambda: len(service.events.page().events) == 2)
    assert [entry.identity for entry in worker.queue.walk()] == [identity_of("after")]
    worker.close()
    service.close()


async def test_flags_in_the_journal_survive_the_loss_of_the_ledger(tmp_path):
    path = tmp_path / "ledger.sqlite3"
    ledger = Ledger.open(path, LedgerOptions(journal_bytes=1 << 18, background=False), report=lambda _: None)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    await ledger.flags.flag(*make_flag("kept"))
    holder.close()
    assert ledger.flags.journaled == 1
    ledger.close()
    for file in tmp_path.glob("ledger.sqlite3*"):
        file.unlink()
    ledger = Ledger.open(path, OPTIONS, report=lambda _: None)
    wait_until(lambda: ledger.queue.count()[0] == 1)
    ledger.close()


async def test_events_past_the_bound_are_dropped_counted_and_told(tmp_path):
    told: list[str] = []
    ledger = Ledger.open(
        tmp_path / "ledger.sqlite3",
        LedgerOptions(journal_bytes=1 << 18, events_in_memory=10),
        report=told.append,
    )
    holder = sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    for number in range(40):
        ledger.recorder.record(make_event(at=START + number))
    assert ledger.recorder.dropped >= 10
    holder.execute("COMMIT")
    holder.close()
    wait_until(lambda: any("dropped" in line for line in told))
    wait_until(lambda: not ledger.store.writer.waiting)
    assert len(ledger.events.page().events) == 40 - ledger.recorder.dropped
    ledger.close()


def test_json_of_the_journal_survives_hostile_text(tmp_path):
    path = tmp_path / "ledger.sqlite3"
    ledger = Ledger.open(path, LedgerOptions(journal_bytes=1 << 18, background=False), report=lambda _: None)
    event, entry = make_flag("x", client="\x1b[31m\u202e\udc80\x00")
    from secondlook.ledger.queue.journal_record import flag_record

    ledger.flags.journal.append(json.loads(json.dumps(flag_record(event, entry))))
    assert ledger.flags.replay() == 1
    assert ledger.queue.count()[0] == 1
    ledger.close()
