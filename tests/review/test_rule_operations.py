"""Rules: several together or none, imported as they were, and refused in words."""

import asyncio
import time
from dataclasses import replace

import pytest

from review.stage import keep, make_event
from secondlook.core.event import EventKind
from secondlook.review.operations import rule_operations
from secondlook.review.operations.refused import Missing, Refused
from secondlook.review.operations.rule_operations import MOST_CHOSEN, MOST_RULES_IMPORTED


@pytest.fixture
def rules(operations):
    return operations.rules


def add(rules, action, subject, **values):
    return asyncio.run(
        rules.add(action, subject, **{"for_s": None, "client": None, "reason": None, **values})
    )


def test_a_rule_lasts_from_now_for_as_long_as_is_said(rules, ledger):
    add(rules, "block", "a.example", for_s=60, client="10.0.0.9/24")
    (rule,) = ledger.rules.all()
    assert (rule.client, rule.expires - rule.created) == ("10.0.0.0/24", pytest.approx(60))


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"action": "flag"}, None, "expected allow or block"),
        ({"subject": "a b"}, "subject", "a b"),
        ({"for_s": 0.5}, "for", "expected a time from 1 s"),
        ({"client": " "}, "client", "client: "),
    ],
)
def test_an_impossible_rule_is_refused_with_the_field_that_is_wrong(rules, ledger, changes, field, message):
    with pytest.raises(Refused, match=message) as refused:
        add(rules, **{"action": "block", "subject": "a.example", **changes})
    assert refused.value.field == field
    assert not ledger.rules.all()


def test_entries_get_a_rule_each_for_what_they_are_or_for_their_hosts(rules, ledger):
    events = [make_event(url=f"http://h.example/{path}", host="h.example") for path in "ab"]
    keep(ledger, *events)
    ids = [event.id for event in events]
    asyncio.run(rules.decide(ids, "allow", hosts=False, for_s=None))
    assert {rule.subject for rule in ledger.rules.all()} == {"http://h.example/a", "http://h.example/b"}
    asyncio.run(rules.decide(ids, "allow", hosts=True, for_s=None))
    assert "h.example" in {rule.subject for rule in ledger.rules.all()}
    assert len(ledger.rules.all()) == 3


def test_of_entries_of_which_one_cannot_be_ruled_none_is(rules, ledger):
    event, error = make_event(), make_event(EventKind.ERROR, url=None, host=None, list=None)
    keep(ledger, event, error)
    for ids in ([event.id, error.id], [event.id, "none"], [], [event.id] * (MOST_CHOSEN + 1)):
        with pytest.raises(Refused):
            asyncio.run(rules.decide(ids, "block", hosts=False, for_s=None))
    assert not ledger.rules.all()


def test_what_was_made_names_the_rule_that_is_stronger(rules):
    allowed = add(rules, "allow", "a.example")
    blocked = add(rules, "block", "a.example")
    (shown,) = asyncio.run(rules.made([blocked["id"]]))
    assert shown["overruled_by"]["id"] == allowed["id"]
    (shown,) = asyncio.run(rules.made([allowed["id"]]))
    assert shown["overruled_by"] is None
    fired = asyncio.run(rules.firing("http://www.a.example/"))
    assert [rule["id"] for rule in fired] == [allowed["id"], blocked["id"]]


def test_a_rule_that_is_gone_cannot_be_removed(rules):
    made = add(rules, "block", "a.example")
    asyncio.run(rules.remove(made["id"]))
    with pytest.raises(Missing):
        asyncio.run(rules.remove(made["id"]))


def test_undo_brings_back_the_rule_that_another_took_the_place_of(rules, ledger):
    add(rules, "block", "a.example", reason="for good")
    (older,) = ledger.rules.all()
    made = add(rules, "block", "a.example", for_s=60, reason="for a minute")
    for _ in range(2):  # a button may be clicked twice
        asyncio.run(rules.undo(made["id"]))
        assert ledger.rules.all() == (older,)
    asyncio.run(rules.remove(older.id))
    with pytest.raises(Missing):
        asyncio.run(rules.undo(made["id"]))
    assert not ledger.rules.all()


@pytest.mark.parametrize("for_s", [None, 60])
def test_undo_takes_back_a_form_that_was_sent_twice(rules, ledger, for_s):
    made = [add(rules, "allow", "a.example", for_s=for_s)["id"] for _ in range(2)]
    asyncio.run(rules.undo(made[-1]))
    assert not ledger.rules.all()


def test_undo_leaves_what_was_made_of_a_rule_elsewhere(rules, ledger):
    made = add(rules, "block", "a.example", for_s=60)
    (rule,) = ledger.rules.all()
    ledger.rules.add(replace(rule, expires=None))
    for undone in (made["id"], "unknown"):
        with pytest.raises(Missing):
            asyncio.run(rules.undo(undone))
    assert [each.expires for each in ledger.rules.all()] == [None]


def test_as_many_rules_as_are_remembered_can_be_undone(rules, ledger, monkeypatch):
    monkeypatch.setattr(rule_operations, "MOST_UNDOABLE", 2)
    decided = [("a", "first"), ("b", None), ("a", "second"), ("c", None)]
    made = [add(rules, "block", f"{name}.example", reason=reason)["id"] for name, reason in decided]
    with pytest.raises(Missing):
        asyncio.run(rules.undo(made[1]))
    asyncio.run(rules.undo(*made))
    assert {rule.subject for rule in ledger.rules.all()} == {"a.example", "b.example"}


def test_an_import_keeps_source_and_time_and_leaves_out_what_is_over(rules, ledger):
    records = [
        {"action": "allow", "subject": "a.example", "source": "override", "created": "2020-01-02T03:04:05Z"},
        {"action": "allow", "subject": "over.example", "expires": "2020-01-01T00:00:00Z"},
        {"action": "block", "subject": "configured.example", "source": "config"},
        {"action": "block", "subject": "later.example", "created": "2999-01-01T00:00:00"},
        {"action": "allow", "subject": "hour.example", "for_s": 3600},  # as a new rule is written
    ]
    before = time.time()
    asyncio.run(rules.import_all(records))
    found = {rule.subject: rule for rule in ledger.rules.all()}
    assert set(found) == {"a.example", "later.example", "hour.example"}
    assert found["hour.example"].expires == pytest.approx(before + 3600, abs=60)
    assert (found["a.example"].source, found["a.example"].created) == ("override", 1_577_934_245.0)
    assert found["later.example"].created < 32_000_000_000.0  # no rule is made in the future


@pytest.mark.parametrize(
    "broken",
    [
        {},
        [1],
        [None] * (MOST_RULES_IMPORTED + 1),
        [{"action": "allow", "subject": "a.example", "source": "nobody"}],
        [{"action": "allow", "subject": "a.example", "client": 7}],
        [{"action": "allow", "subject": "a.example", "expires": "soon"}],
        [{"action": "allow", "subject": "a.example", "for_s": "1h"}],
        [{"action": "allow", "subject": "a.example", "for_s": 0}],
        [{"action": "allow", "subject": "a.example", "for_s": 10**400}],
        [{"action": "allow", "subject": "a.example"}, {"action": "allow", "subject": "a b"}],
    ],
    ids=["object", "number", "too many", "source", "client", "end", "time", "no time", "too long", "second"],
)
def test_an_import_that_cannot_be_read_whole_changes_nothing(rules, ledger, broken):
    with pytest.raises(Refused, match="import: "):
        asyncio.run(rules.import_all(broken))
    assert not ledger.rules.all()
