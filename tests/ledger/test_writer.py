"""The writer: what is answered when, what a failure costs whom, and nothing else."""

import asyncio
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ledgerkit.samples import make_event, make_flag
from secondlook.core.event import Event, EventKind
from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine.database import find_place, make_engine
from secondlook.ledger.engine.writer import Amendment, Line, Writer

pytestmark = pytest.mark.anyio

NORMAL, FULL = 1, 2  # values of `PRAGMA synchronous`


def disk_error() -> Exception:
    return sa.exc.OperationalError("INSERT", None, sqlite3.OperationalError("disk I/O error"))


@dataclass
class Stage:
    """A writer over a real file, and what it was asked to store, with the setting in force then."""

    path: Path
    limit: int = 100
    fault: Callable[[], Exception] | None = None
    bad_kind: EventKind | None = None
    replaced: bool = False
    before_answer: Callable[[], None] = lambda: None
    stored: list[str] = field(default_factory=list)
    synchronous: list[int] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    ended: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        place = find_place(self.path)
        engine = make_engine(place)
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS kept (id TEXT)")
        self.writer = Writer(
            engine,
            place,
            self.store,
            self.store_flags,
            self.is_replaced,
            self.ended.append,
            limit=self.limit,
            report=self.told.append,
        )

    def store(self, connection: sa.Connection, lines: list[Line]) -> None:
        for line in lines:
            if isinstance(line, Event) and line.kind is self.bad_kind:
                raise ValueError(f"no {line.kind} here")
        self.keep(connection, [line.event_id if isinstance(line, Amendment) else line.id for line in lines])

    def store_flags(self, connection: sa.Connection, flags: list[Any]) -> None:
        self.keep(connection, [event.id for event, _ in flags])

    def keep(self, connection: sa.Connection, ids: list[str]) -> None:
        if self.fault is not None:
            raise self.fault()
        self.synchronous.append(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())
        for one in ids:
            connection.exec_driver_sql("INSERT INTO kept VALUES (?)", (one,))

    def is_replaced(self) -> bool:
        """Asked after each commit, before anybody is answered."""
        self.before_answer()
        return self.replaced

    def on_disk(self) -> list[str]:
        """What another connection sees: what is committed, in order."""
        raw = sqlite3.connect(self.path)
        try:
            return [row[0] for row in raw.execute("SELECT id FROM kept ORDER BY rowid")]
        finally:
            raw.close()

    def settle(self) -> None:
        """Wait until nothing waits, and what was taken last is committed."""
        while self.writer.waiting:
            self.writer.submit(lambda _: None).result(10.0)
        self.writer.submit(lambda _: None).result(10.0)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the thread busy, so that what comes meanwhile goes into one transaction."""
        begun, release = threading.Event(), threading.Event()

        def work(_: sa.Connection) -> None:
            begun.set()
            release.wait(10.0)

        future = self.writer.submit(work)
        assert begun.wait(10.0)
        yield
        release.set()
        future.result(10.0)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path / "ledger.sqlite3")
    yield stage
    stage.writer.close()


async def test_the_writer_goes_on_after_a_fault_inside(stage, caplog):
    healthy, stage.writer._ended = stage.writer._ended, lambda _committed: 1 / 0
    with stage.held():  # both in one transaction
        job = stage.writer.submit(lambda _: "done")
        slot = stage.writer.flag(*make_flag("one"))
    assert job.result(10.0) == "done"  # it was committed, and so it is answered
    await asyncio.wait_for(slot.answer, 60.0)
    stage.writer._ended = healthy
    assert stage.writer.submit(lambda _: "again").result(10.0) == "again"
    assert "ZeroDivisionError" in caplog.text


def test_events_that_a_stop_leaves_unwritten_are_counted_and_reported(stage):
    stage.fault = disk_error
    for _ in range(3):
        stage.writer.record(make_event())
    stage.writer.close()
    assert stage.writer.dropped == 3
    assert stage.told[-1] == "3 events are lost with this stop: they could not be written"


async def test_a_fault_before_the_answer_is_an_answer_too(stage, monkeypatch):
    monkeypatch.setattr(stage.writer, "_commit", lambda *_: 1 / 0)
    slot = stage.writer.flag(*make_flag("one"))
    with pytest.raises(LedgerError, match="internal error"):
        await asyncio.wait_for(slot.answer, 60.0)
    with pytest.raises(LedgerError, match="internal error"):
        stage.writer.submit(lambda _: None).result(10.0)
    monkeypatch.undo()
    stage.writer.submit(lambda _: None).result(10.0)


async def test_a_flag_is_answered_when_it_is_committed_and_not_before(stage):
    event, entry = make_flag("one")
    seen: list[tuple[bool, list[str]]] = []
    slot = stage.writer.flag(event, entry)
    stage.before_answer = lambda: seen.append((slot.answer.done(), stage.on_disk()))
    await slot.answer
    assert seen == [(False, [event.id])]


async def test_what_somebody_waits_for_is_synced_and_an_event_alone_is_not(stage):
    stage.writer.record(make_event())
    stage.writer.submit(lambda _: None, durable=False).result(10.0)
    await stage.writer.flag(*make_flag("one")).answer
    with stage.held():
        stage.writer.record(make_event())
        waits = stage.writer.submit(lambda _: None)
    waits.result(10.0)
    assert stage.synchronous == [NORMAL, FULL, FULL]


async def test_a_flag_that_could_not_be_committed_is_refused(stage):
    stage.fault = disk_error
    with pytest.raises(LedgerError, match="disk I/O error"):
        await stage.writer.flag(*make_flag("one")).answer
    assert stage.writer.failing
    assert len(stage.told) == 1
    assert stage.on_disk() == []
    stage.fault = None
    await stage.writer.flag(*make_flag("two")).answer
    assert not stage.writer.failing
    assert stage.writer.last_error is None


async def test_when_a_group_fails_every_flag_of_it_is_refused(stage):
    stage.fault = disk_error
    with stage.held():
        slots = [stage.writer.flag(*make_flag(number)) for number in range(5)]
    answers = await asyncio.gather(*(slot.answer for slot in slots), return_exceptions=True)
    assert [type(answer) for answer in answers] == [LedgerError] * 5
    assert stage.on_disk() == []


async def test_a_job_that_fails_by_itself_spoils_nothing_for_the_others(stage):
    def bad(connection: sa.Connection) -> None:
        connection.exec_driver_sql("INSERT INTO kept VALUES ('half')")
        raise ValueError("a mistake of this job")

    event, entry = make_flag("one")
    with stage.held():
        good = stage.writer.submit(lambda _: "done")
        mistaken = stage.writer.submit(bad)
        slot = stage.writer.flag(event, entry)
    await slot.answer
    assert good.result(10.0) == "done"
    with pytest.raises(ValueError, match="a mistake of this job"):
        mistaken.result(10.0)
    assert stage.on_disk() == [event.id]
    assert not stage.writer.failing


def test_an_event_that_cannot_be_written_is_dropped_alone(stage):
    stage.bad_kind = EventKind.ERROR
    good = [make_event(), make_event()]
    with stage.held():
        for event in (good[0], make_event(EventKind.ERROR), good[1]):
            stage.writer.record(event)
    stage.settle()
    assert stage.on_disk() == [event.id for event in good]
    assert stage.writer.dropped == 1
    assert stage.told == ["an event of kind error could not be written: no error here"]


def test_events_stay_in_order_in_memory_while_the_disk_fails(stage):
    stage.fault = disk_error
    events = [make_event() for _ in range(5)]
    with stage.held():
        for event in events:
            stage.writer.record(event)
    while not stage.writer.failing:
        with pytest.raises(LedgerError):
            stage.writer.submit(lambda _: None).result(10.0)
    assert stage.on_disk() == []
    stage.fault = None
    stage.settle()
    assert stage.on_disk() == [event.id for event in events]
    assert stage.writer.dropped == 0


async def test_a_commit_into_a_file_that_was_set_aside_does_not_count(stage):
    stage.replaced = True
    with pytest.raises(LedgerError, match="replaced by another process"):
        await stage.writer.flag(*make_flag("one")).answer
    stage.replaced = False
    await stage.writer.flag(*make_flag("one")).answer


@pytest.mark.parametrize("limit", [0, 1, 7])
def test_events_beyond_the_bound_are_dropped_and_counted(tmp_path, limit):
    stage = Stage(tmp_path / "ledger.sqlite3", limit=limit)
    with stage.held():
        taken = [stage.writer.record(make_event()) for _ in range(limit + 2)]
        assert stage.writer.waiting == limit
    stage.writer.close()
    assert taken == [True] * limit + [False, False]
    assert stage.writer.dropped == 2
    assert len(stage.on_disk()) == limit
    assert "2 events were dropped: more came than could be written" in stage.told


async def test_while_nobody_answers_in_time_others_need_not_wait_until_something_is_committed(stage):
    with stage.held():
        slot = stage.writer.flag(*make_flag("late"))
        stage.writer.give_up(slot)
        assert stage.writer.failing
    stage.writer.submit(lambda _: None).result(10.0)
    assert not stage.writer.failing
    assert stage.on_disk() == []  # nobody waits for it: it is in the journal by now


async def test_closing_writes_what_waits_and_refuses_what_comes_later(stage):
    event = make_event()
    stage.writer.record(event)
    stage.writer.close()
    assert stage.on_disk() == [event.id]
    assert not stage.writer.record(make_event())
    with pytest.raises(LedgerError, match="is closed"):
        stage.writer.submit(lambda _: None).result(10.0)


class _Meanwhile:
    """Does something in another thread at the one moment that matters, as far as it is let."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._thread: threading.Thread | None = None
        self._work = work

    def now(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work)
            self._thread.start()
            self._thread.join(0.2)  # who hands something over holds up the others until it is through

    def over(self) -> None:
        assert self._thread is not None
        self._thread.join(10.0)


def test_what_is_handed_over_as_it_closes_is_done_or_refused(stage):
    """Whoever waits for it would wait for ever."""
    meanwhile = _Meanwhile(stage.writer.close)

    class Jobs(queue.SimpleQueue):
        def put(self, job):
            if job is not None:
                meanwhile.now()
            super().put(job)

    stage.settle()
    stage.writer._jobs, before = Jobs(), stage.writer._jobs
    before.put(None)  # the thread turns to the other queue
    future = stage.writer.submit(lambda _: "done")
    meanwhile.over()
    assert future.result(10.0) == "done"
    with pytest.raises(LedgerError, match="is closed"):
        stage.writer.submit(lambda _: None).result(10.0)


def test_what_was_handed_over_before_it_closes_is_done(stage):
    """It came, and then the stop, just after the thread had seen that nothing waits."""
    handed_over, closes = [], threading.Event()
    meanwhile = _Meanwhile(stage.writer.close)

    class Jobs(queue.SimpleQueue):
        def empty(self):
            nothing_waits = super().empty()
            if not handed_over:
                handed_over.append(stage.writer.submit(lambda _: "done"))
                meanwhile.now()
                while not stage.writer._stopping:
                    time.sleep(0)
                closes.set()
            return nothing_waits

    stage.settle()
    stage.writer._jobs, before = Jobs(), stage.writer._jobs
    before.put(None)  # the thread turns to the other queue
    assert closes.wait(10.0)
    meanwhile.over()
    assert handed_over[0].result(10.0) == "done"


@pytest.mark.parametrize(("limit", "before"), [(100, "close"), (1, "record")])
def test_an_event_that_is_handed_over_meanwhile_is_taken_or_counted(tmp_path, limit, before):
    """What goes on between the look whether there is room and the taking must not make it untrue."""
    stage = Stage(tmp_path / "ledger.sqlite3", limit=limit)
    stage.settle()
    with stage.held() if before == "record" else nullcontext():
        come_before = stage.writer.close if before == "close" else partial(stage.writer.record, make_event())

        class HandingOver:
            """Lets somebody else be first at the door."""

            lock, passed = stage.writer._handing_over, False

            def __enter__(self):
                if not HandingOver.passed:
                    HandingOver.passed = True
                    come_before()
                self.lock.acquire()

            def __exit__(self, *_):
                self.lock.release()

        stage.writer._handing_over = HandingOver()
        assert not stage.writer.record(make_event())
    stage.writer.close()
    assert stage.writer.dropped == 1
    assert stage.writer.waiting == 0


async def test_a_flag_that_comes_after_the_end_is_refused(stage):
    stage.writer.close()
    with pytest.raises(LedgerError, match="is closed"):
        await stage.writer.flag(*make_flag("one")).answer


def test_events_of_two_threads_that_come_at_once_wake_the_writer(stage):
    """Each found the other's beside its own, and left it to the other to say so."""
    first, second = make_event(), make_event()
    meanwhile = _Meanwhile(lambda: stage.writer.record(second))

    class Events(deque):
        def append(self, event):
            super().append(event)
            meanwhile.now()

    stage.settle()
    stage.writer._events = Events()
    stage.writer.record(first)
    meanwhile.over()
    for _ in range(1000):
        if len(stage.on_disk()) == 2:
            break
        time.sleep(0.01)
    assert stage.on_disk() == [first.id, second.id]
