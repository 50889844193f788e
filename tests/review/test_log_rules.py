"""Rules that are made from rows and entries of the log, and taken back there."""

import re

import pytest

from review.stage import keep, make_event, post
from secondlook.core.event import EventKind
from secondlook.review.operations.rule_operations import MOST_CHOSEN


def test_ticked_rows_get_rules_together_and_they_are_undone_together(client, ledger):
    events = [make_event(url=f"http://h{n}.example/a", host=f"h{n}.example") for n in range(3)]
    keep(ledger, *events)
    shown = client.get("/log").text
    assert all(f'name="id" value="{event.id}"' in shown for event in events)
    answer = post(
        client,
        "/log/decide",
        id=[event.id for event in events[:2]],
        action="allow",
        reach="host",
        back="/log?decision=block",
        **{"for": "1h"},
    )
    assert [(rule.action, rule.subject) for rule in ledger.snapshots.rules()] == [
        ("allow", "h0.example"),
        ("allow", "h1.example"),
    ]
    there = client.get(answer.headers["location"]).text
    made = re.findall(
        r'name="id" value="(\w+)"', there.partition('class="banner good"')[2].partition("</form>")[0]
    )
    post(client, f"/rules/{made[0]}/remove")  # meanwhile, on another page
    undone = post(client, "/rules/undo", id=made, back="/log?decision=block")
    assert undone.headers["location"].startswith("/log?decision=block")
    assert not ledger.snapshots.rules()
    assert post(client, "/rules/undo", id=made).status_code == 404


def test_ticked_rows_get_rules_all_of_them_or_none(client, ledger):
    fine, closed = make_event(), make_event(stage="access")
    keep(ledger, fine, closed)
    for ids in ([fine.id, closed.id], [fine.id, "01NONE"], []):
        answer = post(client, "/log/decide", id=ids, action="block", reach="exact")
        assert answer.status_code == 400
    assert post(client, "/log/decide", id=[fine.id], action="block", **{"for": "never"}).status_code == 400
    assert not ledger.snapshots.rules()
    many = post(client, "/log/decide", id=["x"] * (MOST_CHOSEN + 1), action="block")
    assert f"xpected at most {MOST_CHOSEN} entries" in many.text


def test_a_rule_from_an_entry_can_be_undone(client, ledger):
    event = make_event()
    keep(ledger, event)
    answer = post(
        client, "/rules", action="allow", subject="malware.example", back=f"/log/{event.id}", **{"for": "10m"}
    )
    assert answer.status_code == 303
    (rule,) = ledger.snapshots.rules()
    assert rule.action == "allow"
    assert rule.expires - rule.created == 600
    shown = client.get(answer.headers["location"]).text
    assert re.search(rf'action="/rules/undo">.*?name="id" value="{rule.id}"', shown)
    assert f'name="back" value="/log/{event.id}"' in shown
    undone = post(client, "/rules/undo", id=rule.id, back=f"/log/{event.id}")
    assert undone.headers["location"] == f"/log/{event.id}?done=undone"
    assert not ledger.snapshots.rules()


@pytest.mark.parametrize(("decision", "action"), [("block", "allow"), ("allow", "block"), ("flag", "block")])
def test_a_row_turns_its_decision_round(client, ledger, decision, action):
    keep(ledger, make_event(EventKind.CHECK, decision=decision))
    shown = client.get("/log?host=malware.example").text
    assert f'form="decide" name="{action}" value="http://malware.example/a"' in shown
    answer = post(
        client,
        "/rules",
        back="/log?host=malware.example",
        **{action: "http://malware.example/a", "for": "1h"},
    )
    (rule,) = ledger.snapshots.rules()
    assert (rule.action, rule.subject, rule.client) == (action, "http://malware.example/a", None)
    assert answer.headers["location"] == f"/log?host=malware.example&done={action}ed&undo={rule.id}"


def test_a_row_of_a_url_with_a_star_makes_a_rule_for_it(client, ledger):
    keep(ledger, make_event(url="http://archive.example/2020*/x"))
    assert 'form="decide" name="allow" value="http://archive.example/2020%2A/x"' in client.get("/log").text
    post(client, "/rules", back="/log", allow="http://archive.example/2020%2A/x", **{"for": "1h"})
    (rule,) = ledger.snapshots.rules()
    assert rule.subject == "http://archive.example/2020*/x"


@pytest.mark.parametrize(
    "event",
    [
        make_event(stage="access"),  # no rule opens the proxy's own pages
        make_event(stage="malformed"),
        make_event(EventKind.UPDATE, url=None, host=None, subject=None),
    ],
)
def test_a_row_that_no_rule_can_turn_round_offers_none(client, ledger, event):
    keep(ledger, event)
    shown = client.get("/log").text
    assert f'href="/log/{event.id}"' in shown
    assert 'form="decide" name=' not in shown


RULED = [{"stage": "rules", "outcome": "hit", "detail": "block domain ads.example"}]


def test_an_entry_names_the_rule_by_what_it_says_not_by_its_number(client, ledger):
    event = make_event(stage="rules", rule="01RULE", list=None, threat=None, extra={"steps": RULED})
    keep(ledger, event)
    assert "One of your own rules decided: block ads.example." in client.get(f"/log/{event.id}").text
    assert "your rules (block ads.example)" in client.get("/log").text


def test_an_entry_that_no_rule_can_lift_offers_none(client, ledger):
    event = make_event(url="http://127.0.0.1/", host="127.0.0.1", stage="access", list=None)
    keep(ledger, event)
    shown = client.get(f"/log/{event.id}").text
    assert "No rule of yours can open this." in shown
    assert 'name="action"' not in shown
