"""Flags that another version wrote keep nothing else back, and wait for a program that can read them."""

import errno
import json
import os

import pytest

from ledgerkit.samples import START, identity_of, make_flag
from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine.journal import Journal
from secondlook.ledger.ledger import Ledger, LedgerOptions
from secondlook.ledger.queue import unread_flags
from secondlook.ledger.queue.journal_record import flag_record
from secondlook.ledger.queue.unread_flags import UnreadFlags

pytestmark = pytest.mark.anyio

QUIET = LedgerOptions(background=False, journal_bytes=1 << 20)


def record_of(name, client="10.0.0.1"):
    return json.loads(json.dumps(flag_record(*make_flag(name, client=client))))


def newer(record):
    """Write a flag as a version might that has another class of use, and another name for a field."""
    flag = {**record["flag"], "class": "hologram", "why": record["flag"]["reason"]}
    return {**record, "flag": {name: value for name, value in flag.items() if name != "reason"}}


def open_ledger(tmp_path, told):
    return Ledger.open(tmp_path / "ledger.sqlite3", QUIET, report=told.append)


def queued(ledger):
    return {entry.identity for entry in ledger.queue.walk()}


async def test_what_cannot_be_read_is_put_aside_and_the_rest_comes_in(tmp_path):
    told: list[str] = []
    ledger = open_ledger(tmp_path, told)
    strange = newer(record_of("two"))
    ledger.flags.journal.append(record_of("one"), strange, record_of("three"))
    assert ledger.flags.replay() == 2
    assert queued(ledger) == {identity_of("one"), identity_of("three")}
    assert not ledger.flags.journal.waiting()
    assert ledger.flags.unread.read() == [strange]
    assert ledger.flags.unread.path.stat().st_mode & 0o077 == 0
    assert [line for line in told if line.startswith("1 flags of the journal are strange to this version")]
    ledger.close()


async def test_a_program_that_can_read_it_brings_it_in_at_its_start(tmp_path):
    told: list[str] = []
    strange = newer(record_of("two"))
    UnreadFlags(tmp_path / "flags.journal").add([record_of("one"), strange])
    ledger = open_ledger(tmp_path, told)
    assert ledger.flags.replay() == 1
    assert queued(ledger) == {identity_of("one")}
    assert ledger.flags.unread.read() == [strange]
    assert ledger.flags.replay() == 0
    ledger.close()
    ledger.flags.unread.replace([record_of("three")])
    ledger = open_ledger(tmp_path, told)
    assert ledger.flags.replay() == 1
    assert not ledger.flags.unread.path.exists()
    ledger.close()


async def test_what_comes_twice_around_a_crash_is_kept_once(tmp_path):
    unread = UnreadFlags(tmp_path / "flags.journal")
    assert unread.add([newer(record_of("one"))]) == 1
    before = unread.read()
    assert unread.add([*before, newer(record_of("two"))]) == 1
    assert len(unread.read()) == 2


async def test_a_damaged_line_keeps_nothing_else_back(tmp_path, caplog):
    ledger = open_ledger(tmp_path, [])
    ledger.flags.unread.add([record_of("one")])
    ledger.close()
    with ledger.flags.unread.path.open("ab") as file:
        file.write(b"\xff\0damaged\n")
    ledger = open_ledger(tmp_path, [])
    ledger.flags.journal.append(record_of("two"))
    assert ledger.flags.replay() == 2
    assert queued(ledger) == {identity_of("one"), identity_of("two")}
    assert "is damaged" in caplog.text
    ledger.close()


async def test_where_it_is_full_the_journal_keeps_what_it_has(tmp_path):
    ledger = open_ledger(tmp_path, [])
    strange = newer(record_of("one"))
    ledger.flags.journal.append(strange)
    ledger.flags.unread = UnreadFlags(tmp_path / "flags.journal", most_bytes=8)
    with pytest.raises(LedgerError, match="full"):
        ledger.flags.replay()
    assert ledger.flags.journal.records() == [strange]
    ledger.close()


async def test_a_client_that_is_erased_leaves_there_what_protection_needs(tmp_path):
    ledger = open_ledger(tmp_path, [])
    own, others = newer(record_of("one", "10.0.0.1")), newer(record_of("two", "10.0.0.12"))
    by_user = newer(record_of("three", "10.0.0.12"))
    by_user["event"]["user"] = "10.0.0.1"  # whatever a name looks like
    report = {"note": ["flagged for 10.0.0.1"], "hashes": "00"}
    ledger.flags.unread.add([own, others, by_user, report])
    ledger.upkeep.erase_client("10.0.0.1")
    left = ledger.flags.unread.read()
    assert left[0]["flag"].keys() == own["flag"].keys() - {"client", "url", "host"}
    assert left[0]["event"].keys() == own["event"].keys() - {"client", "url", "host", "method"}
    assert left[1] == others
    assert "three.example" not in json.dumps(left[2])
    assert left[3] == {"note": ["flagged for (erased)"], "hashes": "00"}
    content = ledger.flags.unread.path.read_text()
    assert '"10.0.0.1"' not in content
    assert "one.example" not in content
    ledger.close()


async def test_a_client_is_not_erased_while_another_process_brings_its_flags_in(tmp_path):
    ledger = open_ledger(tmp_path, [])
    ledger.flags.journal.append(record_of("one", "ann"))
    with Journal(tmp_path / "flags.journal").replaying() as alone:
        assert alone
        with pytest.raises(LedgerError, match="try again"):
            ledger.upkeep.erase_client("ann")
    ledger.upkeep.erase_client("ann")
    assert queued(ledger) == {identity_of("one")}
    assert not any(entry.clients or entry.url for entry in ledger.queue.walk())
    ledger.close()


async def test_what_cannot_be_read_from_the_disk_or_written_keeps_the_journal_not_back(tmp_path, monkeypatch):
    told: list[str] = []
    path = tmp_path / "flags.journal.unread"
    path.mkdir()
    ledger = open_ledger(tmp_path, told)
    ledger.flags.journal.append(record_of("one"))
    assert ledger.flags.replay() == 1
    assert any("at the next start" in line for line in told)
    ledger.close()
    path.rmdir()
    waiting = [record_of("two"), newer(record_of("three"))]
    UnreadFlags(tmp_path / "flags.journal").add(waiting)
    ledger = open_ledger(tmp_path, told)
    ledger.flags.journal.append(record_of("four"))
    with monkeypatch.context() as full:
        full.setattr(unread_flags, "write_whole", no_room)
        assert ledger.flags.replay() == 2
    assert queued(ledger) == {identity_of(name) for name in ("one", "two", "four")}
    assert ledger.flags.unread.read() == waiting
    ledger.close()
    ledger = open_ledger(tmp_path, told)
    ledger.flags.replay()
    assert {entry.count for entry in ledger.queue.walk()} == {1}
    assert ledger.flags.unread.read() == waiting[1:]
    ledger.close()


def no_room(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("size", [1 << 70, -1])
async def test_what_can_be_read_and_not_stored_keeps_nothing_else_back(tmp_path, size):
    ledger = open_ledger(tmp_path, [])
    strange = record_of("two")
    strange["flag"]["size"] = size
    ledger.flags.journal.append(record_of("one"), strange, record_of("three"))
    assert ledger.flags.replay() == 2
    assert queued(ledger) == {identity_of("one"), identity_of("three")}
    assert ledger.flags.unread.read() == [strange]
    ledger.upkeep.erase_client("10.0.0.1")
    ledger.close()


async def test_what_the_engine_alone_refuses_is_put_aside_alone(tmp_path):
    """No reader knows every bound of an engine."""
    ledger = open_ledger(tmp_path, [])
    ledger.store.commit_now(
        lambda connection: connection.exec_driver_sql(
            "CREATE TRIGGER picky BEFORE INSERT ON flagged WHEN new.host = 'two.example' "
            "BEGIN SELECT RAISE(ABORT, 'not this one'); END"
        )
    )
    records = [record_of(name) for name in ("one", "two", "three", "four")]
    ledger.flags.journal.append(*records)
    assert ledger.flags.replay() == 3
    assert queued(ledger) == {identity_of(name) for name in ("one", "three", "four")}
    assert ledger.flags.unread.read() == [records[1]]
    assert not ledger.flags.journal.waiting()
    ledger.close()


async def test_a_journal_full_of_what_is_strange_fits_in(tmp_path):
    small = LedgerOptions(background=False, journal_bytes=1 << 17)
    ledger = Ledger.open(tmp_path / "ledger.sqlite3", small, report=lambda _: None)
    spacious = ledger.flags.unread
    ledger.flags.unread = UnreadFlags(tmp_path / "flags.journal", most_bytes=1 << 17)
    for _ in range(2):
        while ledger.flags.journal.has_room():
            ledger.flags.journal.append(newer(record_of(os.urandom(8).hex())))
        assert ledger.flags.replay() == 0
        assert ledger.flags.journal.has_room()
        ledger.flags.unread = spacious  # by itself it takes more than is in the journal at once
    ledger.close()


async def test_a_client_is_erased_where_no_more_may_wait(tmp_path):
    ledger = open_ledger(tmp_path, [])
    ledger.flags.unread = UnreadFlags(tmp_path / "flags.journal", most_bytes=8)
    ledger.flags.journal.append(newer(record_of("one", "ann")), record_of("two", "ann"))
    ledger.upkeep.erase_client("ann")
    assert ["client" in record["flag"] for record in ledger.flags.unread.read()] == [False]
    assert not ledger.flags.journal.waiting()
    assert b"ann" not in ledger.flags.journal.path.read_bytes()
    ledger.close()


async def test_what_is_added_leaves_what_waits_where_it_is(tmp_path):
    """Thousands may wait, and more come some hundred at a time."""
    unread = UnreadFlags(tmp_path / "flags.journal")
    unread.add([newer(record_of("one"))])
    before = unread.path.stat()
    unread.add([newer(record_of("two"))])
    assert unread.path.stat().st_ino == before.st_ino
    assert len(unread.read()) == 2


async def test_a_line_that_a_crash_tore_costs_no_other(tmp_path):
    unread = UnreadFlags(tmp_path / "flags.journal")
    one, two = newer(record_of("one")), newer(record_of("two"))
    unread.add([one, two])
    os.truncate(unread.path, unread.path.stat().st_size - 40)
    assert unread.add([one, two]) == 1  # both are still in the journal
    assert unread.read() == [one, two]


async def test_they_have_an_end(tmp_path):
    """Each by its own time; what shows none by when the last one came."""
    ledger = open_ledger(tmp_path, [])
    old, young, timeless = newer(record_of("old")), newer(record_of("young")), {"flag": {"when": "long ago"}}
    young["event"]["time"] += 10.0
    ledger.flags.unread.add([old, young, timeless])
    ledger.flags.forget_unread(before=START + 5)
    assert ledger.flags.unread.read() == [young, timeless]
    os.utime(ledger.flags.unread.path, (START, START))
    ledger.flags.forget_unread(before=START + 5)
    assert ledger.flags.unread.read() == [young]
    ledger.upkeep.sweep()
    assert not ledger.flags.unread.path.exists()
    ledger.close()


async def test_nothing_that_waits_stays_young(tmp_path):
    """However often the program is started, and whatever shows no time, or one in another unit."""
    in_ms = newer(record_of("two"))
    in_ms["event"]["time"] *= 1000
    UnreadFlags(tmp_path / "flags.journal").add([record_of("one"), {"flag": {"when": "long ago"}}, in_ms])
    os.utime(tmp_path / "flags.journal.unread", (START, START))
    ledger = open_ledger(tmp_path, [])
    assert ledger.flags.replay() == 1
    ledger.flags.forget_unread(before=START + 5)
    assert not ledger.flags.unread.path.exists()
    ledger.close()
