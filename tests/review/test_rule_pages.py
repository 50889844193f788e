"""Rules: made, refused, tested, exported and imported."""

import json
import re
from datetime import datetime
from html import unescape

import pytest

from review.stage import post


def test_what_was_decided_is_shown_with_for_whom_until_when_and_what_is_stronger(client, ledger):
    decided = post(client, "/rules", action="allow", subject="a.example", client="10.0.0.7", **{"for": "1h"})
    shown = unescape(client.get(decided.headers["location"]).text)
    assert 'Allowed for 10.0.0.7, <span class="nowrap" data-until="' in shown
    assert '<span class="mono wrap">a.example</span> (host and its subdomains).' in shown
    again = post(client, "/rules", action="block", subject="a.example", client="10.0.0.7")
    shown = client.get(again.headers["location"]).text
    assert "Blocked for 10.0.0.7, always: " in shown
    assert 'But the rule allow <span class="mono wrap">a.example</span> is stronger, <span ' in shown
    (older,) = (rule for rule in ledger.snapshots.rules() if rule.action == "allow")
    assert f'action="/rules/{older.id}/remove"' in shown
    post(client, f"/rules/{older.id}/remove")
    assert "is stronger" not in client.get(again.headers["location"]).text


@pytest.mark.parametrize(
    ("action", "subject"),
    [("allow", ""), ("allow", "not a subject at all"), ("deny", "a.example"), ("block", "/(/")],
)
def test_an_impossible_rule_is_refused(client, ledger, action, subject):
    assert post(client, "/rules", action=action, subject=subject).status_code == 400
    assert not ledger.snapshots.rules()


def test_rules_are_tested_back_tested_exported_and_imported(client, ledger):
    post(client, "/rules", action="block", subject="bad.example")
    assert "<strong>decides</strong>" in client.get("/rules?test=http://www.bad.example/x").text
    assert "No rule fires" in client.get("/rules?test=http://good.example/").text
    blocking = client.get("/rules?backtest=mw-8b").text
    assert "Of 100 logged requests <strong>3</strong> would have been blocked in addition" in blocking
    assert "No longer blocked" not in blocking
    allowing = client.get("/rules?backtest=a.example&action=allow").text
    assert "<strong>2</strong> would not have been blocked" in allowing
    assert '<a href="/log?host=freed.example">freed.example</a>: 2' in allowing
    assert '<option value="allow" selected>' in allowing
    assert client.get("/rules?backtest=nonsense+rule").status_code == 400
    exported = client.get("/rules.json").json()
    post(client, f"/rules/{exported[0]['id']}/remove")
    assert (
        post(client, "/rules/import", text=json.dumps(exported)).headers["location"] == "/rules?done=imported"
    )
    assert [rule.subject for rule in ledger.snapshots.rules()] == ["bad.example"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[1]",
        '[{"action": "allow", "subject": "a.example"}, {"action": "x", "subject": "b.example"}]',
    ],
)
def test_a_broken_import_changes_nothing(client, ledger, text):
    assert post(client, "/rules/import", text=text).status_code == 400
    assert not ledger.snapshots.rules()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("backtest=nonsense+rule", "backtest"),
        ("backtest=h.example&days=91", "days"),
        (f"days={'9' * 5000}", "days"),
    ],
)
def test_a_rejected_question_about_rules_keeps_what_was_typed(client, query, field):
    answer = client.get(f"/rules?{query}")
    assert answer.status_code == 400
    assert f'id="fault-{field}" role="alert">' in answer.text


def test_an_imported_rule_ends_when_the_exported_one_does(client, ledger):
    post(client, "/rules", action="allow", subject="soon.example", **{"for": "10m"})
    (exported,) = client.get("/rules.json").json()
    post(client, f"/rules/{exported['id']}/remove")
    post(
        client, "/rules/import", text=json.dumps([exported, {**exported, "expires": "2020-01-01T00:00:00Z"}])
    )
    (rule,) = ledger.rules.all()
    assert rule.expires == pytest.approx(datetime.fromisoformat(exported["expires"]).timestamp(), abs=1)
    broken = [{"action": "allow", "subject": "a.example", "client": {"a": 1}}]
    assert post(client, "/rules/import", text=json.dumps(broken)).status_code == 400


def test_the_undo_that_is_offered_brings_back_the_rule_that_was_replaced(client, ledger):
    post(client, "/rules", action="block", subject="a.example", reason="for good")
    (older,) = ledger.rules.all()
    made = post(client, "/rules", action="block", subject="a.example", **{"for": "1h"})
    shown = client.get(made.headers["location"]).text
    action, fields = re.search(
        r'(?s)banner good.*?<form method="post" action="([^"]+)">(.*?)</form>', shown
    ).groups()
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', fields))
    hidden.pop("csrf", None)
    undone = post(client, action, **hidden)
    assert ledger.rules.all() == (older,)
    assert "as they were before" in client.get(undone.headers["location"]).text


@pytest.mark.parametrize("how", ["undo", "remove"])
def test_going_back_claims_nothing_of_a_rule_that_is_no_more(client, ledger, how):
    made = post(client, "/rules", action="block", subject="a.example").headers["location"]
    assert "Blocked for everybody" in client.get(made).text
    (rule,) = ledger.rules.all()
    if how == "undo":
        post(client, "/rules/undo", id=rule.id)
    else:
        post(client, f"/rules/{rule.id}/remove")
    assert "banner good" not in client.get(made).text
