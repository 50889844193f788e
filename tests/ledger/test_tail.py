"""What was written after a cursor: each event once, in the order of writing."""

import pytest
import sqlalchemy as sa

from ledgerkit.made import make_database
from ledgerkit.samples import START, make_event
from secondlook.core.event import EventKind
from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine.tables import events
from secondlook.ledger.log.filter import EventFilter
from secondlook.ledger.log.tail import LogTail, position

ALL = EventFilter()
BLOCKED = EventFilter(kind=EventKind.BLOCKED)


@pytest.fixture
def tail(ledger):
    return LogTail(ledger.store.readers)


def write(ledger, *numbers, kind=EventKind.BLOCKED):
    made = [make_event(kind, START + number, host=f"{number}.example") for number in numbers]
    for event in made:
        ledger.recorder.record(event)
    while ledger.store.writer.waiting:
        ledger.store.commit_now(lambda _: None)
    ledger.store.commit_now(lambda _: None)
    return [event.id for event in made]


def after(tail, cursor, *, wanted=ALL, limit=100):
    found, following = tail.after(wanted, cursor, limit)
    return [event.id for event in found], following


def test_a_tail_that_begins_now_gives_what_comes(ledger, tail):
    write(ledger, 1, 2)
    cursor = tail.end()
    assert after(tail, cursor)[0] == []
    made = write(ledger, 4, 3)
    found, following = after(tail, cursor)
    assert found == made
    assert after(tail, following)[0] == []
    assert after(tail, tail.end())[0] == []


def test_pages_follow_one_another(ledger, tail):
    cursor = tail.end()
    made = write(ledger, *range(5))
    pages = []
    for _ in range(4):
        page, cursor = after(tail, cursor, limit=2)
        pages.append(page)
    assert pages == [made[:2], made[2:4], made[4:], []]


def test_a_cursor_goes_past_what_is_not_wanted(ledger, tail):
    cursor = tail.end()
    first = write(ledger, 1)
    write(ledger, 2, 3, kind=EventKind.CHECK)
    found, following = after(tail, cursor, wanted=BLOCKED)
    assert found == first
    assert after(tail, following)[0] == [], "what was passed over is not given to another filter either"
    last = write(ledger, 4)
    assert after(tail, following, wanted=BLOCKED)[0] == last


def test_an_id_is_a_cursor_too(ledger, tail):
    made = write(ledger, *range(4))
    assert after(tail, made[1])[0] == made[2:]
    assert after(tail, made[3])[0] == []


def test_the_beginning_of_a_log_is_a_cursor_of_either_engine(ledger, tail):
    made = write(ledger, 1, 2)
    assert after(tail, "s0")[0] == made


def test_what_is_no_cursor_is_an_error_that_names_it(ledger, tail):
    write(ledger, 1)
    with pytest.raises(LedgerError, match="'nonsense' is neither"):
        tail.after(ALL, "nonsense", 10)


def test_what_is_not_after_a_cursor_is_all_the_rest(ledger, tail):
    made = write(ledger, 1, 2)
    cursor = tail.end() if ledger.store.place.sqlite else after(tail, "s0")[1]
    later = write(ledger, 3)

    def before(connection):
        query = events.select().where(tail.not_after(connection, cursor)).order_by(events.c.seq)
        return [row["id"] for row in connection.execute(query).mappings()]

    assert ledger.store.read(before) == made
    assert after(tail, cursor)[0] == later


def test_a_cursor_ahead_of_a_log_is_of_another_one(ledger, tail):
    made = write(ledger, 1, 2)
    if ledger.store.place.sqlite:
        assert after(tail, "s999")[0] == made
        assert after(tail, "t7.0")[0] == made  # of one in PostgreSQL


@pytest.fixture
def standby(postgres, open_ledger):
    """A database, with its tail, that stands for one that had come further: see `further`."""
    ledger = open_ledger(make_database(postgres), background=False)
    return ledger, LogTail(ledger.store.readers)


def further(connection):
    return (
        connection.exec_driver_sql("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint").scalar()
        + 500
    )


def test_a_cursor_of_a_database_that_had_come_further_goes_on_with_what_comes(standby):
    ledger, tail = standby
    write(ledger, 1)
    cursor = f"t{ledger.store.read(further)}.7"
    _, cursor = after(tail, cursor)
    made = write(ledger, 2)
    found, following = after(tail, cursor)
    assert found[-1:] == made
    assert after(tail, following)[0] == []


def test_what_was_restored_from_one_that_had_come_further_is_not_given_as_new_some_day(standby):
    ledger, tail = standby
    write(ledger, 1, 2, 3)
    place = sa.text("UPDATE events SET tx = :tx").bindparams(tx=ledger.store.read(further))
    ledger.store.commit_now(lambda connection: connection.execute(place) and None)
    cursor = tail.end()
    made = write(ledger, 4)
    ledger.upkeep.settle_restored()
    for _ in range(30):  # until those transactions would have come
        ledger.store.commit_now(
            lambda connection: connection.exec_driver_sql("SELECT pg_current_xact_id()") and None
        )
    assert after(tail, cursor)[0] == made
    assert len(after(tail, "s0")[0]) == 4


def test_of_an_erased_event_the_hour_is_known(ledger):
    made = write(ledger, 1, 2)
    gone = make_event(at=START + 1).id

    def both(connection):
        return [position(connection, gone, newest_first=newest) for newest in (False, True)]

    oldest, newest = ledger.store.read(both)
    last = ledger.store.read(lambda connection: position(connection, made[-1]))
    assert (oldest, newest) == (0, last + 1)
