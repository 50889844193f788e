"""Rules: made, listed, tried, back-tested and removed."""

from cli.calling import make_event, on, write_events
from e2e.processes import json_lines


def test_rules_are_made_listed_tried_and_removed(state):
    on(state, "allow", "Example.COM", "--for", "10m", "--reason", "because")
    on(state, "block", "http://example.com/bad/", "--client", "10.0.0.7/8")
    rules = json_lines("rules", "list", "--state", state)
    assert json_lines("rules", "--state", state) == rules
    assert [(rule["action"], rule["subject"], rule["scope"], rule["client"]) for rule in rules] == [
        ("allow", "example.com", "domain", None),
        ("block", "http://example.com/bad/", "prefix", "10.0.0.0/8"),
    ]
    assert set(rules[0]) >= {
        "id",
        "action",
        "subject",
        "scope",
        "client",
        "reason",
        "created",
        "expires",
        "hits",
    }
    fired = json_lines(
        "rules", "test", "http://www.example.com/bad/x", "--client", "10.1.1.1", "--state", state
    )
    assert [rule["action"] for rule in fired] == ["allow"]
    on(state, "rules", "remove", rules[0]["id"])
    assert on(state, "rules", "remove", rules[0]["id"], check=False).returncode == 1
    assert len(json_lines("rules", "list", "--state", state)) == 1


def test_a_backtest_takes_a_mistyped_list_for_no_host_and_names_what_an_exception_frees(state):
    write_events(state, make_event("http://shop.example/", host="shop.example"))
    for mistyped, meant in (("nope-8b", ""), ("mw-zz", ""), ("hihg", " (did you mean high?)")):
        refused = on(state, "rules", "backtest", mistyped, check=False)
        assert refused.returncode == 2
        assert f"there is no list or level {mistyped}{meant}; lists in force: none" in refused.stderr
    assert "only a rule can allow: high is a level" in (
        on(state, "rules", "backtest", "high", "--action", "allow", check=False).stderr
    )
    assert on(state, "rules", "backtest", "=printer").returncode == 0
    since = ["--since", "2020-01-01"]
    freed = on(state, "rules", "backtest", "shop.example", "--action", "allow", *since).stdout
    assert freed.splitlines() == [
        "of 1 logged checks 0 would be blocked in addition, 1 no longer",
        "times\tno longer blocked",
        "1\tshop.example",
    ]
    (report,) = json_lines("rules", "backtest", "shop.example", "--action", "allow", *since, "--state", state)
    assert (report["hosts"], report["allowed_hosts"]) == ([], [{"host": "shop.example", "count": 1}])


def test_the_same_rule_again_is_one_rule(state):
    on(state, "block", "bad.example")
    on(state, "block", "BAD.example", "--reason", "again")
    (rule,) = json_lines("rules", "list", "--state", state)
    assert rule["reason"] == "again"


def test_a_rule_says_that_a_port_takes_no_part(state):
    for written in (
        "a.example:81",
        "=a.example:81",
        "http://u:p@a.example:81/b/",
        "[::1]:81",
        "HTTP://a.example:81",
    ):
        assert " on every port; undo" in on(state, "block", written).stdout, written
    for written in ("a.example", "[::1]", "http://u:81@a.example/:81", "/^http://a.example:81/"):
        assert " on every port" not in on(state, "block", written).stdout, written


def test_a_rule_about_nothing_is_refused(state):
    done = on(state, "block", "*.example.com", check=False)
    assert done.returncode == 2
    assert "write a host without *" in done.stderr
