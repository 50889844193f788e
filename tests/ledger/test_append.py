"""Writing events: each id once, counted once, marked in its hour; what is filled in later."""

import random
import string
from dataclasses import replace

import pytest
import sqlalchemy as sa

from ledgerkit.busy import busy
from ledgerkit.samples import START, make_event
from secondlook.core.event import EventKind
from secondlook.ledger.engine.tables import events, marks
from secondlook.ledger.ledger import Ledger, LedgerOptions
from secondlook.ledger.log import append
from secondlook.ledger.log.append import HOUR_S, insert_events


def insert(ledger, *batch):
    return ledger.store.commit_now(lambda connection: insert_events(connection, batch))


def marked(ledger):
    query = sa.select(marks.c.hour, marks.c.first_seq, marks.c.last_seq).order_by(marks.c.hour)
    return ledger.store.read(lambda connection: [tuple(row) for row in connection.execute(query)])


def seqs(ledger):
    query = sa.select(events.c.id, events.c.seq)
    return ledger.store.read(lambda connection: {row.id: row.seq for row in connection.execute(query)})


def test_an_event_that_is_there_already_is_not_inserted_again(ledger):
    one, two = make_event(url="https://a.example/1"), make_event(url="https://a.example/2")
    assert insert(ledger, one) == {one.id}
    assert insert(ledger, one, two) == {two.id}
    assert insert(ledger, one, two) == set()
    assert insert(ledger) == set()
    assert len(seqs(ledger)) == 2


def test_an_event_that_the_engine_cannot_hold_holds_up_no_other(ledger):
    """What lies in an index is bounded in PostgreSQL, and not even always: it depends on how it compresses."""
    long = "".join(random.Random(1).choices(string.ascii_lowercase, k=8_000))
    written = [make_event(host=long), make_event(host="good.example")]
    for event in written:
        ledger.recorder.record(event)
    while ledger.store.writer.waiting:
        ledger.store.commit_now(lambda _: None)
    ledger.store.commit_now(lambda _: None)  # what was taken last is written too
    assert ledger.events.find(written[1].id) is not None
    assert ledger.recorder.dropped == (ledger.events.find(written[0].id) is None)


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
    ledger.store.commit_now(lambda connection: append.amend(connection, event.id, "now", further))
    found = ledger.events.find(event.id)
    assert (found.detail, found.extra) == ("now", after)


def test_an_event_that_is_gone_is_passed_over(ledger):
    ledger.store.commit_now(lambda connection: append.amend(connection, "nobody", "now", {"a": 1}))
    assert seqs(ledger) == {}


def test_what_is_written_is_reported_once_it_is_certain(tmp_path, monkeypatch):
    """A group that fails as a whole is written in parts: its events were in two transactions, and count once."""
    heard: list[tuple[str, int]] = []
    options = replace(
        LedgerOptions(background=False, journal_bytes=1 << 20, deadline_s=60.0),
        counted=lambda kind, count: heard.append((kind, count)),
    )
    ledger = Ledger.open(tmp_path / "ledger.sqlite3", options, report=lambda _: None)

    def broken(*_: object) -> None:
        raise ValueError("no detail today")

    monkeypatch.setattr(append, "amend", broken)
    with busy(ledger):
        for _ in range(3):
            ledger.recorder.record(make_event(EventKind.BLOCKED))
        ledger.recorder.amend("any", detail="a detail")
    while ledger.store.writer.waiting:
        ledger.store.commit_now(lambda _: None)
    ledger.store.commit_now(lambda _: None)
    assert len(ledger.events.page().events) == 3
    assert sum(count for _, count in heard) == 3
    ledger.close()
