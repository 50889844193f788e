"""Rules: made, listed, tried, back-tested and removed."""

from cli.calling import make_event, on, write_events
from e2e.processes import json_lines
from secondlook.ground.called import typed


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


def test_a_duration_that_cannot_be_is_answered_with_ones_that_can(state):
    for wrong in ("10x", "-5m", "ten"):
        refused = on(state, "block", "a.example", "--for", wrong, check=False)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "--for: expected a duration such as 90s, 10m, 1h or 7d, got" in refused.stderr
    refused = on(state, "block", "com", check=False)
    assert "block --help` for what a subject may be" in refused.stderr


def test_a_rule_that_another_one_overrules_says_which_and_can_replace_it(state):
    (allowed,) = json_lines("allow", "shop.example", "--for", "1h", "--state", state)
    shown = on(state, "block", "shop.example").stdout.splitlines()
    assert shown[1] == f"but allow shop.example wins until {allowed['expires']} ({allowed['id']})"
    assert shown[2] == f"  have it removed with: {typed('block shop.example --replace')}"
    (part,) = json_lines("block", "http://shop.example/bad", "--state", state)
    assert part["overruled_by"] is None, "what is said about a part goes before the whole"
    (again,) = json_lines("block", "shop.example", "--replace", "--state", state)
    assert again["overruled_by"] is None
    assert {rule["action"] for rule in json_lines("rules", "--state", state)} == {"block"}
    assert on(state, "block", "shop.example", "--replace").stdout.startswith(
        "block shop.example (domain); undo"
    )


def test_a_rule_for_one_client_overrules_the_one_for_all_for_that_client_alone(state):
    (own,) = json_lines("allow", "shop.example", "--client", "10.0.0.7", "--state", state)
    (everybody,) = json_lines("block", "shop.example", "--state", state)
    (same,) = json_lines("block", "shop.example", "--client", "10.0.0.7", "--state", state)
    assert (everybody["overruled_by"], same["overruled_by"]) == (None, own["id"])
    digest = "ab" * 32
    (file,) = json_lines("allow", digest, "--state", state)
    (blocked,) = json_lines("block", digest, "--state", state)
    assert blocked["overruled_by"] == file["id"]
    (expression,) = json_lines("block", "/shop[0-9]/", "--state", state)
    assert expression["overruled_by"] is None


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
