"""Rules and pauses in rows: one for one meaning, nobody woken without a change, nothing of others ended."""

from dataclasses import replace

import pytest

from ledgerkit.samples import START
from secondlook.core.rules.rule import Pause, Rule, Scope
from secondlook.ledger.operator import rule_table


def make_rule(name="one", **values):
    given = {
        "id": name, "action": "block", "scope": Scope.DOMAIN, "subject": f"{name}.example", "client": None,
        "reason": None, "created": START, "expires": None, "hits": 0, "source": "operator",
    }  # fmt: skip
    return Rule(**(given | values))


@pytest.fixture
def at(ledger):
    """Run a function of the table in a transaction."""
    return lambda function, *args, **named: ledger.store.commit_now(
        lambda connection: function(connection, *args, **named)
    )


def changes(ledger, topic):
    ledger.store.changes.stale()
    return ledger.store.changes.mark(topic).number


def test_a_rule_put_again_keeps_its_hits_and_nothing_else(at):
    at(rule_table.put_rule, make_rule(hits=7))
    at(rule_table.put_rule, make_rule(hits=0, reason="why", expires=START + 60))
    assert at(rule_table.read_rules) == (make_rule(hits=7, reason="why", expires=START + 60),)


def test_a_rule_of_the_same_meaning_stays_one_with_its_id_and_its_hits(at):
    at(rule_table.put_rule, make_rule(hits=3))
    again = make_rule("other", subject="one.example", created=START + 5, reason="new")
    client = replace(again, client="10.0.0.1")
    twice = [placed.rule for placed in at(rule_table.add_rules, [again, client, client])]
    assert twice[0] == make_rule(hits=3, created=START + 5, reason="new")
    assert twice[1] == twice[2]
    assert twice[1].id not in ("one", "other")
    assert set(at(rule_table.read_rules)) == set(twice)


def test_removing_wakes_others_only_where_there_was_something(ledger, at):
    at(rule_table.put_rule, make_rule())
    before = changes(ledger, "rules")
    assert not at(rule_table.remove_rule, "nobody")
    assert changes(ledger, "rules") == before
    assert at(rule_table.remove_rule, "one")
    assert changes(ledger, "rules") == before + 1
    assert at(rule_table.read_rules) == ()


def pause(name, client, until):
    return Pause(id=name, client=client, created=START, until=until)


def test_a_pause_takes_the_place_of_the_running_one_for_the_same_client(at):
    for one in (pause("old", None, START - 1), pause("a", None, START + 60), pause("b", "ann", START + 60)):
        at(rule_table.put_pause, one)
    at(rule_table.put_pause, pause("c", None, START + 90))
    assert {one.id for one in at(rule_table.read_pauses)} == {"old", "b", "c"}


@pytest.mark.parametrize(
    ("client", "everybody", "ended"),
    [(None, False, {"all"}), ("ann", False, {"ann"}), ("bob", False, set()), (None, True, {"all", "ann"})],
)
def test_whose_pause_ends(at, client, everybody, ended):
    for one in (pause("all", None, START + 60), pause("ann", "ann", START + 60)):
        at(rule_table.put_pause, one)
    assert at(rule_table.end_pauses, client, START + 1, everybody=everybody) == len(ended)
    assert {one.id for one in at(rule_table.read_pauses) if one.until == START + 1} == ended


@pytest.mark.parametrize(("older_than", "left"), [(START + 60, 3), (START + 60.5, 1)])
def test_what_ended_long_ago_goes_and_what_has_no_end_stays(at, older_than, left):
    at(rule_table.put_rule, make_rule("timed", expires=START + 60))
    at(rule_table.put_rule, make_rule("lasting"))
    at(rule_table.put_pause, pause("p", None, START + 60))
    at(rule_table.sweep, older_than=older_than)
    assert len(at(rule_table.read_rules)) + len(at(rule_table.read_pauses)) == left
