"""The confirmed set: what is in force, what changed since a number, what stays for a day as withdrawn."""

import pytest

from ledgerkit.samples import START, identity_of, make_confirmed
from secondlook.ledger.queue import confirmed
from secondlook.ledger.queue.confirmed import TOMBSTONE_S


@pytest.fixture
def at(ledger):
    """Run a function of the confirmed set in a transaction."""
    return lambda function, *args: ledger.store.commit_now(lambda connection: function(connection, *args))


def identities(entries):
    return {entry.identity for entry in entries}


def number(ledger):
    ledger.store.changes.stale()
    return ledger.store.changes.mark("confirmed").number


def test_what_is_new_is_told_from_what_is_renewed_which_keeps_its_first_time(ledger, at):
    assert at(confirmed.put, [make_confirmed("one")]) == {identity_of("one")}
    later = make_confirmed("one", at=START + 50, threat="phishing")
    assert at(confirmed.put, [later, make_confirmed("two")]) == {identity_of("two")}
    found = {entry.identity: entry for entry in at(confirmed.everything)}
    one = found[identity_of("one")]
    assert (one.confirmed_at, one.threat, one.expires_at) == (START, "phishing", START + 350)
    assert len(found) == 2


def test_what_is_withdrawn_is_out_of_force_and_new_when_it_comes_again(at):
    at(confirmed.put, [make_confirmed("one")])
    assert at(confirmed.withdraw, identity_of("one"), START + 1)
    assert not at(confirmed.withdraw, identity_of("one"), START + 1)
    assert list(at(confirmed.everything)) == []
    again = make_confirmed("one", at=START + 9)
    assert at(confirmed.put, [again]) == {identity_of("one")}
    (entry,) = at(confirmed.everything)
    assert entry.confirmed_at == START + 9


def test_only_what_changed_after_a_number_is_given(ledger, at):
    at(confirmed.put, [make_confirmed("old"), make_confirmed("going")])
    known = number(ledger)
    at(confirmed.put, [make_confirmed("new")])
    at(confirmed.withdraw, identity_of("going"), START)
    renewed, withdrawn = at(confirmed.changed_since, known)
    assert identities(renewed) == {identity_of("new")}
    assert set(withdrawn) == {identity_of("going")}
    renewed, withdrawn = at(confirmed.changed_since, number(ledger))
    assert (list(renewed), list(withdrawn)) == ([], [])


def test_an_expiry_is_put_off_for_these_alone(at):
    at(confirmed.put, [make_confirmed("one"), make_confirmed("two")])
    at(confirmed.extend, [identity_of("one")], START + 900)
    times = {entry.identity: entry.expires_at for entry in at(confirmed.everything)}
    assert times == {identity_of("one"): START + 900, identity_of("two"): START + 300}


@pytest.mark.parametrize(("after_s", "left"), [(TOMBSTONE_S - 1, True), (TOMBSTONE_S + 1, False)])
def test_a_withdrawn_subject_stays_for_a_day_for_those_who_ask(ledger, at, after_s, left):
    known = number(ledger)
    at(confirmed.put, [make_confirmed("one"), make_confirmed("in force")])
    at(confirmed.withdraw, identity_of("one"), START)
    at(confirmed.sweep, START + after_s)
    renewed, withdrawn = at(confirmed.changed_since, known)
    assert bool(set(withdrawn)) is left
    assert identities(renewed) == {identity_of("in force")}
