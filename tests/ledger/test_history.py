"""What was allowed and is remembered: the latest visit of a subject, walked whole, forgotten in steps."""

import asyncio

import pytest

from ledgerkit.contract import remembered
from ledgerkit.samples import START, identity_of, make_event, make_visit
from secondlook.core.event import EventKind
from secondlook.core.subject import SubjectKind
from secondlook.ledger.queue import history


def put(ledger, *visits):
    rows = [
        (make_visit((identity_of(name),), make_event(EventKind.CHECK, at, url=f"u{name}")), False)
        for name, at in visits
    ]
    ledger.store.commit_now(lambda connection: history.put(connection, rows))


def test_a_later_visit_takes_the_place_of_the_earlier(ledger):
    put(ledger, ("one", START))
    put(ledger, ("one", START + 5))
    (entry,) = remembered(ledger)
    assert (entry.identity, entry.time, entry.url) == (identity_of("one"), START + 5, "uone")
    assert entry.reason == "allowed earlier"


@pytest.mark.parametrize("size", [1, 3, 100])
def test_the_outline_leaves_out_what_is_older(ledger, size):
    put(ledger, *((number, START + number) for number in range(10)))
    seen, last = [], b""
    while part := ledger.history._outline(START + 4, last, size):
        seen.extend(part)
        last = part[-1].identity
    assert [one.identity for one in seen] == sorted(identity_of(number) for number in range(4, 10))
    assert all(one.hashes == (one.identity,) and one.kind is SubjectKind.URL for one in seen)


def test_only_what_is_remembered_is_recalled(ledger):
    put(ledger, ("one", START), ("two", START))
    names = [identity_of(name) for name in ("two", "nobody")]
    found = asyncio.run(ledger.history.recall(names))
    assert [entry.identity for entry in found] == [identity_of("two")]


def test_what_is_old_is_forgotten_the_oldest_first_and_at_most_so_many_at_once(ledger):
    put(ledger, *((number, START + number) for number in range(6)))
    gone = [
        ledger.store.commit_now(lambda connection: history.sweep(connection, older_than=START + 5, limit=3))
        for _ in range(3)
    ]
    assert gone == [3, 2, 0]
    assert [entry.identity for entry in remembered(ledger)] == [identity_of(5)]
