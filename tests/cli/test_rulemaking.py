"""Making a rule: how long it may last, what of it can be reported, and what is said of it."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from cli.calling import on
from e2e.processes import json_lines
from secondlook.agent.actions.outbox import Outbox
from secondlook.cli.rules import rulemaking
from secondlook.core.rules.rule import Rule, Scope
from secondlook.ground.program_name import typed

OWN, GOOGLE = SimpleNamespace(google=False), SimpleNamespace(google=True)


def rule(action="block", subject="a.example", scope=Scope.DOMAIN, **more) -> Rule:
    given = {"id": "ID", "client": None, "reason": None, "created": 1.0, "expires": None, **more}
    return Rule(action=action, scope=scope, subject=subject, **given)


def settings(*servers):
    return SimpleNamespace(servers=SimpleNamespace(intranet=servers))


@pytest.mark.parametrize(
    ("written", "lasts"), [(None, None), ("1s", 1), ("3650d", 3650 * 86_400), ("90m", 5400)]
)
def test_a_rule_lasts_a_second_to_ten_years_or_for_good(written, lasts):
    assert rulemaking._lasting(written) == lasts


@pytest.mark.parametrize("written", ["999ms", "3651d"])
def test_no_rule_is_shorter_or_longer(written, capsys):
    with pytest.raises(SystemExit) as ended:
        rulemaking._lasting(written)
    assert ended.value.code == 2
    assert f"--for: expected 1s to 3650d (ten years), got {written}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("servers", "narrow", "status", "said"),
    [
        ((OWN,), True, 2, "for everybody and for good"),
        ((), False, 1, "there is no own server to report to"),
        ((GOOGLE,), False, 1, "there is no own server to report to"),
    ],
)
def test_what_cannot_be_reported_is_said_before_anything_is_made(servers, narrow, status, said, capsys):
    with pytest.raises(SystemExit) as ended:
        rulemaking._check_reportable(settings(*servers), narrow=narrow)
    assert ended.value.code == status
    assert said in capsys.readouterr().err


def test_one_own_server_is_enough_to_report_to():
    rulemaking._check_reportable(settings(GOOGLE, OWN), narrow=False)


@pytest.mark.parametrize(("reason", "name"), [("it steals", "it steals"), (None, "blocked by hand")])
def test_a_report_waits_in_the_outbox_with_its_reason(tmp_path, reason, name):
    rulemaking._report(tmp_path, rule(reason=reason))
    (finding,) = Outbox(tmp_path).waiting().values()
    assert (finding.subject, finding.name, finding.engine) == ("a.example", name, "operator")


@pytest.mark.parametrize(
    ("broken", "said"), [(OSError("full"), "the report is not: full"), (None, "too many findings wait")]
)
def test_a_report_that_cannot_be_kept_is_told(tmp_path, monkeypatch, capsys, broken, said):
    def put(_self, _finding):
        if broken is not None:
            raise broken
        return False

    monkeypatch.setattr(Outbox, "put", put)
    with pytest.raises(SystemExit) as ended:
        rulemaking._report(Path(tmp_path), rule())
    assert ended.value.code == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("made", "written", "words"),
    [
        (rule(), "a.example", "block a.example (domain)"),
        (rule("allow", scope=Scope.HOST), "=a.example", "allow =a.example (host)"),
        (rule(), "a.example:8080", "block a.example (domain) on every port"),
        (
            rule(subject="http://a.example/x", scope=Scope.URL),
            "http://a.example:8080/x",
            "block http://a.example/x (url) on every port",
        ),
        (rule(client="10.0.0.7"), "a.example", "block a.example (domain) for 10.0.0.7"),
        (rule(expires=86_400.0), "a.example", "block a.example (domain) until 1970-01-02T00:00:00.000Z"),
    ],
)
def test_a_rule_in_words(made, written, words):
    assert rulemaking._in_words(made, written) == words


@pytest.mark.parametrize(
    ("stronger", "lines"),
    [
        (rule("allow"), ["but allow a.example wins always (ID)", "  have it removed with:"]),
        (
            rule("allow", expires=86_400.0),
            ["but allow a.example wins until 1970-01-02T00:00:00.000Z (ID)", "  have"],
        ),
        (rule("allow", scope=Scope.HOST), ["but allow =a.example wins always (ID)"]),  # of another subject
    ],
)
def test_a_stronger_rule_is_named_with_what_takes_its_contrary_away(stronger, lines, capsys):
    rulemaking._warn(stronger, rule(), "a.example")
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(lines)
    assert all(shown.startswith(begins) for shown, begins in zip(printed, lines, strict=True))


def test_only_what_is_blocked_can_be_reported(state):
    refused = on(state, "allow", "a.example", "--report", check=False)
    assert (refused.returncode, "only what is blocked can be reported" in refused.stderr) == (2, True)
    assert "--report" not in on(state, "allow", "--help").stdout


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


def test_what_is_reported_waits_to_go_to_our_own_servers(state, tmp_path):
    config = tmp_path / "proxy.yaml"
    config.write_text("ledger: {journal: 256 KiB}\nservers: {intranet: [{url: 'http://127.0.0.1:9'}]}\n")
    made = on(state, "block", "a.example", "--report", "-c", config).stdout
    assert made.endswith("it is reported to our own servers; the log has what they do with it\n")
    assert [each.subject for each in Outbox(state).waiting().values()] == ["a.example"]
    for narrow in (("--for", "1h"), ("--client", "10.0.0.7")):
        refused = on(state, "block", "b.example", "--report", "-c", config, *narrow, check=False)
        assert (refused.returncode, "for everybody and for good" in refused.stderr) == (2, True)
