"""Flags that another version wrote keep nothing else back, and wait for a program that can read them."""

import json

import pytest

from ledgerkit.samples import identity_of, make_flag
from secondlook.ground.errors import LedgerError
from secondlook.ledger.ledger import Ledger, LedgerOptions
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
    assert [
        line for line in told if line.startswith("1 flags of the journal were written by another version")
    ]
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


async def test_a_client_that_is_erased_is_named_there_no_more(tmp_path):
    ledger = open_ledger(tmp_path, [])
    ledger.flags.unread.add([newer(record_of("one", "10.0.0.1")), newer(record_of("two", "10.0.0.12"))])
    ledger.upkeep.erase_client("10.0.0.1")
    clients = [record["flag"]["client"] for record in ledger.flags.unread.read()]
    assert clients == ["(erased)", "10.0.0.12"]
    assert '"10.0.0.1"' not in ledger.flags.unread.path.read_text()
    ledger.close()
