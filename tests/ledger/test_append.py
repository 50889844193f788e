"""Writing events: each id once, counted once, marked in its hour; what is filled in later."""

import pytest
import sqlalchemy as sa

from ledgerkit.samples import START, make_event
from secondlook.ledger.engine.tables import events, marks
from secondlook.ledger.log import append
from secondlook.ledger.log.append import HOUR_S, insert_events


def insert(ledger, *batch):
    return ledger.commit_now(lambda connection: insert_events(connection, batch))


def marked(ledger):
    query = sa.select(marks.c.hour, marks.c.first_seq, marks.c.last_seq).order_by(marks.c.hour)
    return ledger.read(lambda connection: [tuple(row) for row in connection.execute(query)])


def seqs(ledger):
    query = sa.select(events.c.id, events.c.seq)
    return ledger.read(lambda connection: {row.id: row.seq for row in connection.execute(query)})


def test_an_event_that_is_there_already_is_not_inserted_again(ledger):
    one, two = make_event(url="https://a.example/1"), make_event(url="https://a.example/2")
    assert insert(ledger, one) == {one.id}
    assert insert(ledger, one, two) == {two.id}
    assert insert(ledger, one, two) == set()
    assert insert(ledger) == set()
    assert len(seqs(ledger)) == 2


def test_an_hour_is_marked_from_its_first_to_its_last_event_whatever_their_order(ledger):
    early, late, next_hour = (make_event(at=START + s) for s in (0.0, 1.0, HOUR_S))
    insert(ledger, late, next_hour)
    insert(ledger, early)
    at = seqs(ledger)
    hour = int(START // HOUR_S)
    assert marked(ledger) == [
        (hour, at[late.id], at[early.id]),
        (hour + 1, at[next_hour.id], at[next_hour.id]),
    ]


def test_an_event_inserted_again_moves_no_mark(ledger):
    one, two = make_event(), make_event()
    insert(ledger, one, two)
    before = marked(ledger)
    insert(ledger, two, one)
    assert marked(ledger) == before


@pytest.mark.parametrize(
    ("before", "further", "after"),
    [
        (None, {"a": 1}, {"a": 1}),
        ({"a": 1, "b": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": 1}, None, {"a": 1}),
        ({"a": 1}, {}, {"a": 1}),
    ],
)
def test_what_is_filled_in_later_joins_what_was_there(ledger, before, further, after):
    event = make_event(extra=before, detail="then")
    insert(ledger, event)
    ledger.commit_now(lambda connection: append.amend(connection, event.id, "now", further))
    found = ledger.event(event.id)
    assert (found.detail, found.extra) == ("now", after)


def test_an_event_that_is_gone_is_passed_over(ledger):
    ledger.commit_now(lambda connection: append.amend(connection, "nobody", "now", {"a": 1}))
    assert seqs(ledger) == {}
