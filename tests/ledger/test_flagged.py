"""The queue's rows: one a subject, leased to one rechecker at a time, ended once."""

import asyncio

import pytest

from ledgerkit.samples import START, identity_of, make_flag
from secondlook.ledger.queue import flagged
from secondlook.ledger.queue.flagged import LONGEST_WAIT_S

FIRST_LOOK_S = 60.0


def put(ledger, *flags, first_look_s=FIRST_LOOK_S):
    entries = [entry for _, entry in flags]
    ledger.store.commit_now(
        lambda connection: flagged.add_flags(connection, entries, first_look_s=first_look_s)
    )


def take(ledger, now, *, limit=10, lease_s=100.0, everything=False):
    return asyncio.run(ledger.queue.take_due(now, limit=limit, lease_s=lease_s, everything=everything))


def test_a_subject_has_one_row_with_a_count_its_clients_and_the_times_of_its_visits(ledger):
    put(
        ledger,
        make_flag("one", at=START + 5, client="10.0.0.2"),
        make_flag("one", at=START, client="10.0.0.1"),
    )
    put(ledger, make_flag("one", at=START + 3, client="10.0.0.1", reason="the last reason"))
    (entry,) = ledger.queue.page()
    assert (entry.count, entry.clients) == (3, ("10.0.0.1", "10.0.0.2"))
    assert (entry.first_seen, entry.last_seen) == (START, START + 5)
    assert entry.reason == "the last reason"


@pytest.mark.parametrize(("after_s", "due"), [(FIRST_LOOK_S - 1, False), (FIRST_LOOK_S, True)])
def test_a_flag_is_due_after_its_first_wait(ledger, after_s, due):
    put(ledger, make_flag("one"))
    assert bool(take(ledger, START + after_s)) is due


def test_the_first_wait_has_a_bound(ledger):
    put(ledger, make_flag("one"), first_look_s=LONGEST_WAIT_S * 10)
    (entry,) = ledger.queue.page()
    assert entry.next_attempt == START + LONGEST_WAIT_S


def test_what_is_leased_is_passed_over_until_the_lease_ends(ledger):
    put(ledger, make_flag("one"))
    now = START + FIRST_LOOK_S
    assert [entry.identity for entry in take(ledger, now)] == [identity_of("one")]
    assert take(ledger, now + 99.0) == []
    assert take(ledger, now + 99.0, everything=True) == []
    assert len(take(ledger, now + 100.0)) == 1


def test_a_clock_that_was_set_back_keeps_nothing_waiting(ledger):
    put(ledger, make_flag("one"))
    ahead = START + 1_000_000.0
    assert len(take(ledger, ahead)) == 1  # leased until long after
    assert len(take(ledger, START + FIRST_LOOK_S)) == 1
    asyncio.run(ledger.queue.postpone(ledger.queue.page(), [ahead], "no answer"))
    assert len(take(ledger, START)) == 1  # its next attempt lies further ahead than anybody writes


def test_the_oldest_come_first_and_no_more_than_asked_for(ledger):
    put(ledger, *(make_flag(number, at=START - number) for number in range(5)))
    found = take(ledger, START + FIRST_LOOK_S, limit=3)
    assert [entry.identity for entry in found] == [identity_of(number) for number in (4, 3, 2)]


def test_an_attempt_that_decided_nothing_counts_and_ends_the_lease(ledger):
    put(ledger, make_flag("one"))
    now = START + FIRST_LOOK_S
    taken = take(ledger, now)
    asyncio.run(ledger.queue.postpone(taken, [now + 7.0], "no answer"))
    assert take(ledger, now + 6.0) == []
    (entry,) = take(ledger, now + 7.0)
    assert (entry.attempts, entry.reason) == (1, "no answer")


def test_an_entry_ends_once_and_takes_its_clients_with_it(ledger):
    put(ledger, make_flag("one"), make_flag("two"))
    one, _ = ledger.queue.page()
    ended = [
        ledger.store.commit_now(lambda connection: flagged.remove(connection, [one.id, "nobody"]))
        for _ in range(2)
    ]
    assert ended == [{one.id}, set()]
    other = identity_of("two") if one.identity == identity_of("one") else identity_of("one")
    gone = ledger.store.commit_now(
        lambda connection: flagged.remove_identities(connection, [one.identity, other])
    )
    assert gone == {other}
    put(ledger, make_flag("one", client=None))
    (entry,) = ledger.queue.page()
    assert (entry.clients, entry.count) == ((), 1)
