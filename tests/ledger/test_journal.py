"""The journal: invariants are that what was acknowledged is read back, in order, once, by somebody."""

import asyncio
import os
import resource
import signal
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2e import coded
from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine.journal import SIZE_BYTES, Journal

SIZE = 1 << 16


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "flags.journal"


def read_and_empty(journal: Journal) -> list[dict]:
    taken: list[dict] = []
    journal.replay(taken.extend)
    return taken


def test_what_was_appended_is_replayed_in_order_and_once(path):
    journal = Journal(path, size_bytes=SIZE)
    records = [{"n": number, "text": "ä\u0000" * number} for number in range(20)]
    for record in records[:10]:
        journal.append(record)
    journal.append(*records[10:])
    assert journal.waiting()
    assert read_and_empty(journal) == records
    assert not journal.waiting()
    assert read_and_empty(journal) == []
    journal.append({"n": "again"})
    assert journal.records() == [{"n": "again"}]
    journal.close()


def test_the_file_has_its_size_from_the_beginning(path):
    Journal(path, size_bytes=SIZE).close()
    assert path.stat().st_size == SIZE
    assert path.stat().st_blocks * 512 >= SIZE
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_record_is_synced_before_it_counts_as_written(path, monkeypatch):
    """What a power failure would leave is what was synced; the real sync runs, and the file is read at it."""
    journal = Journal(path, size_bytes=1 << 16)
    synced: list[bytes] = []

    def fdatasync(file: int) -> None:
        os.fsync(file)
        synced.append(path.read_bytes())

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    journal.append({"n": 1}, {"n": 2})
    assert [b'{"n":1}' in content and b'{"n":2}' in content for content in synced] == [True]
    journal.append({"n": 3})
    assert b'{"n":3}' in synced[-1]
    assert len(synced) == 2
    journal.close()


def test_another_process_sees_it(path):
    first, second = Journal(path, size_bytes=SIZE), Journal(path, size_bytes=SIZE)
    first.append({"by": 1})
    second.append({"by": 2})
    first.append({"by": 1})
    assert second.records() == [{"by": 1}, {"by": 2}, {"by": 1}]
    assert len(read_and_empty(second)) == 3
    first.append({"by": 3})
    assert second.records() == [{"by": 3}]
    first.close()
    second.close()


def test_nothing_is_emptied_when_taking_fails(path):
    journal = Journal(path, size_bytes=SIZE)
    journal.append({"n": 1})

    def refuse(_records):
        raise LedgerError("no")

    with pytest.raises(LedgerError, match="no"):
        journal.replay(refuse)
    assert journal.records() == [{"n": 1}]
    journal.close()


def test_what_is_appended_during_a_replay_is_taken_too(path):
    journal = Journal(path, size_bytes=SIZE)
    journal.append({"n": 1})
    taken: list[dict] = []

    def take(records):
        if not taken:
            journal.append({"n": 2})
        taken.extend(records)

    assert journal.replay(take) == 2
    assert taken == [{"n": 1}, {"n": 2}]
    assert not journal.waiting()
    journal.close()


def test_what_no_longer_counts_is_overwritten_when_asked(path):
    journal = Journal(path, size_bytes=1 << 16)
    journal.append({"n": "gone"}, {"n": "gone too"})
    read_and_empty(journal)
    assert b"gone" in path.read_bytes()
    journal.append({"n": "kept"})
    journal.scrub()
    assert b"gone" not in path.read_bytes()
    assert path.stat().st_size == 1 << 16
    journal.append({"n": "more"})
    assert read_and_empty(journal) == [{"n": "kept"}, {"n": "more"}]
    journal.close()


def test_only_one_replays_at_a_time(path):
    first, second = Journal(path, size_bytes=SIZE), Journal(path, size_bytes=SIZE)
    first.append({"n": 1})
    inner: list[int] = []
    first.replay(lambda _: inner.append(second.replay(lambda _: None)))
    assert inner == [0]
    first.close()
    second.close()


def test_a_full_journal_says_so_and_keeps_what_it_has(path):
    journal = Journal(path, size_bytes=4096)
    fits = (4096 - 64) // 40  # 24 bytes of head, 11 of content, rounded up to eight
    for count in range(fits):
        journal.append({"number": count % 10})
    with pytest.raises(LedgerError, match="full"):
        journal.append({"number": 0})
    assert [record["number"] for record in journal.records()] == [count % 10 for count in range(fits)]
    journal.close()


def test_records_at_the_limit_and_one_past_it(path):
    journal = Journal(path, size_bytes=1 << 18)
    overhead = len('{"t":""}')
    journal.append({"t": "x" * (65_536 - overhead)})
    with pytest.raises(LedgerError, match="too long"):
        journal.append({"t": "x" * (65_537 - overhead)})
    assert len(journal.records()) == 1
    journal.close()


@pytest.mark.anyio
async def test_one_bad_record_in_a_group_does_not_spoil_the_others(path):
    journal = Journal(path, size_bytes=1 << 18)
    records = [{"n": 1}, {"t": "x" * 70_000}, {"n": 2}]
    slots = [journal.submit(lambda record=record: record) for record in records]
    outcomes = await asyncio.gather(*[slot.answer for slot in slots], return_exceptions=True)
    assert [outcome is None for outcome in outcomes] == [True, False, True]
    assert journal.records() == [{"n": 1}, {"n": 2}]
    journal.close()


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 1200), value=st.integers(0, 255), length=st.integers(1, 40))
def test_damage_loses_no_more_than_the_records_it_touches(tmp_path_factory, at, value, length):
    path = tmp_path_factory.mktemp("journal") / "flags.journal"
    journal = Journal(path, size_bytes=4096)
    ends = [64]
    for number in range(12):
        journal.append({"n": number, "text": "abc"})
        ends.append(journal._end)
    journal.close()
    with path.open("r+b") as file:
        file.seek(64 + at)
        before = file.read(length)
        file.seek(64 + at)
        file.write(bytes([value]) * length)
    touched = {
        number
        for number in range(12)
        if any(
            ends[number] <= 64 + at + offset < ends[number + 1] and byte != value
            for offset, byte in enumerate(before)
        )
    }
    journal = Journal(path, size_bytes=4096)
    kept = [record["n"] for record in journal.records()]
    assert set(range(12)) - touched <= set(kept)
    journal.append({"n": "after"})
    assert journal.records()[-1] == {"n": "after"}
    journal.close()


def test_damage_in_a_long_journal_loses_no_more_than_what_it_touches(path):
    """Records of all lengths, so that they lie across whatever is read at once."""
    journal = Journal(path, size_bytes=2 << 20)
    places = []
    for number in range(40):
        places.append(journal._end)
        journal.append({"n": number, "text": "x" * (number * 9_973 % 65_000)})
    journal.close()
    damaged = {0, 7, 8, 39}
    with path.open("r+b") as file:
        for number in damaged:
            file.seek(places[number] + 10)
            file.write(b"damaged")
    journal = Journal(path, size_bytes=2 << 20)
    assert [record["n"] for record in journal.records()] == [n for n in range(40) if n not in damaged]
    assert [record["n"] for record in read_and_empty(journal)] == [n for n in range(40) if n not in damaged]
    journal.close()


def test_what_others_append_is_found_without_reading_the_whole_journal(path, monkeypatch):
    """Else each process of a family kept its size in memory, and read it for each flag, while a disk is slow."""
    first, second = Journal(path), Journal(path)
    second.append({"by": 2})
    lengths: list[int] = []
    read = os.pread

    def pread(file: int, length: int, at: int) -> bytes:
        lengths.append(length)
        return read(file, length, at)

    monkeypatch.setattr(os, "pread", pread)
    for number in range(3):
        second.append({"by": 2, "n": number})
        first.waiting()
        first.append({"by": 1, "n": number})
    taken: list[list[dict]] = []
    assert first.replay(taken.append) == 7
    second.append({"by": 2, "n": "after"})
    assert sum(lengths) < 4 * SIZE_BYTES  # once at the beginning, twice for what is replayed
    assert max(lengths) < SIZE_BYTES // 32
    first.close()
    second.close()


def test_a_long_journal_is_replayed_in_pieces(path):
    journal = Journal(path)
    journal.append(*[{"n": number} for number in range(1_500)])
    taken: list[list[dict]] = []
    assert journal.replay(taken.append) == 1_500
    assert [record["n"] for piece in taken for record in piece] == list(range(1_500))
    assert max(map(len, taken)) <= 512
    journal.close()


def test_a_file_that_is_no_journal_is_kept_aside(path):
    path.write_bytes(b"something else entirely" * 10)
    journal = Journal(path, size_bytes=4096)
    journal.append({"n": 1})
    assert journal.records() == [{"n": 1}]
    aside = path.with_name("flags.journal.damaged")
    assert aside.read_bytes().startswith(b"something else")
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600
    journal.close()


def test_a_smaller_journal_of_before_grows(path):
    journal = Journal(path, size_bytes=4096)
    journal.append({"n": 1})
    journal.close()
    journal = Journal(path, size_bytes=8192)
    assert path.stat().st_size == 8192
    assert journal.records() == [{"n": 1}]
    journal.close()


WRITERS = """
import sys
from pathlib import Path
from secondlook.ledger.engine.journal import Journal
journal = Journal(Path(sys.argv[1]), size_bytes=1 << 22)
number = 0
while True:
    journal.append({"by": sys.argv[2], "n": number})
    print(number, flush=True)
    number += 1
"""


def test_killed_writers_lose_nothing_that_was_acknowledged(path, tmp_path):
    Journal(path, size_bytes=1 << 22).close()
    processes = [coded.start(WRITERS, path, name, stdout=subprocess.PIPE) for name in "abc"]
    acknowledged: dict[str, int] = {}
    for name, process in zip("abc", processes, strict=True):
        for line in process.stdout:
            acknowledged[name] = int(line)
            if acknowledged[name] >= 60:
                break
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split()
        acknowledged[name] = max([acknowledged[name], *map(int, rest)])
        process.wait()
        process.stdout.close()
    journal = Journal(path, size_bytes=1 << 22)
    for name, last in acknowledged.items():
        numbers = [record["n"] for record in journal.records() if record["by"] == name]
        assert numbers[: last + 1] == list(range(last + 1))
        assert len(numbers) <= last + 2
    journal.close()


def test_a_disk_without_room_refuses_at_the_start(path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(LedgerError, match="flags journal"):
            Journal(path, size_bytes=SIZE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
