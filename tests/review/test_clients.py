"""What is gathered about a client: users, what was made for it or for a network or user it belongs to, order."""

import pytest

from ledgerkit.samples import make_rule
from review.stage import keep, make_event
from secondlook.review.operations.clients import facts, listing

NOW = 1_790_000_000.0
ONE = "10.0.0.7"


def add(ledger, client, *, expires=None):
    return ledger.rules.add(
        make_rule(action="block", subject="x.example", client=client, created=NOW - 100, expires=expires)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("client", "concerns"),
    [
        (ONE, True),
        ("10.0.0.0/24", True),
        ("anna", True),
        (f"anna@{ONE}", True),
        ("10.0.0.70", False),
        ("bert", False),
        ("anna@10.0.0.8", False),
        (None, False),
    ],
)
def test_a_rule_concerns_a_client_by_address_network_and_user(ledger, client, concerns):
    keep(ledger, make_event(time=NOW - 5, client=ONE, user="anna"))
    add(ledger, client)
    assert len(facts(ledger, ONE, NOW)["rules"]) == concerns


def test_what_has_ended_is_left_out(ledger):
    add(ledger, ONE, expires=NOW - 1)
    add(ledger, ONE, expires=NOW + 1)
    assert len(facts(ledger, ONE, NOW)["rules"]) == 1


def test_of_a_client_that_was_never_seen_nothing_is_made_up(ledger):
    found = facts(ledger, ONE, NOW)
    assert (found["users"], found["last_seen"], found["pauses"]) == ([], None, [])


def test_the_client_seen_last_is_first_whoever_asked_most(ledger):
    keep(ledger, *(make_event(time=NOW - 50, client="10.0.0.1") for _ in range(3)))
    keep(ledger, make_event(time=NOW - 5, client="10.0.0.2"))
    assert [each["client"] for each in listing(ledger.statistics, "1h", NOW)] == ["10.0.0.2", "10.0.0.1"]
