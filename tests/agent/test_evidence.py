"""What each find says: how bad, who said so, since when."""

import pytest

from ledgerkit.samples import make_rule
from secondlook.agent.check.evidence import (
    attempt_steps,
    describe,
    expression_of,
    from_entry,
    from_finding,
    from_known_good,
    from_pattern,
    from_rule,
    unknown,
    unverifiable,
    verdict_of,
    worst_finding,
)
from secondlook.core.answer import Attempt, ListedHash, PrefixAnswer, Tier
from secondlook.core.event import ConfirmedEntry
from secondlook.core.lists.name import Role
from secondlook.core.lists.pattern import ListInfo
from secondlook.core.rules.rule import Scope
from secondlook.core.subject import FileSubject, SubjectKind
from secondlook.core.verdict import Risk, Stage, Step, SubjectClass, Threat, Verdict

NOW = 2_000_000_000.0
ONE, TWO = b"1" * 32, b"2" * 32
FILE = FileSubject((ONE, TWO), labels=("sha256", "member:a.exe"))
STEPS = (Step(Stage.RULES, "miss"),)


def listed(full_hash=ONE, risk=Risk.DANGEROUS, **more):
    return ListedHash(full_hash, Threat.MALWARE, risk, "mw-8b", **more)


def answer(*hashes):
    return PrefixAnswer(hashes, NOW - 10, NOW + 50, "office", "office")


def worst(*answers, hashes=(ONE, TWO), cls=SubjectClass.PAGE):
    return worst_finding(hashes, cls, answers)


def test_a_risk_has_a_verdict():
    assert [verdict_of(risk) for risk in (Risk.DANGEROUS, Risk.HIGHLY_SUSPICIOUS, Risk.SUSPICIOUS)] == [
        Verdict.MALICIOUS, Verdict.MALICIOUS, Verdict.SUSPICIOUS
    ]  # fmt: skip


def test_a_hash_stands_for_something():
    assert expression_of(FILE, TWO) == "member:a.exe"
    assert expression_of(FILE, b"3" * 32) is None


@pytest.mark.parametrize("action", ["allow", "block"])
def test_a_rule_says_what_it_is(action):
    rule = make_rule(id="r", action=action, scope=Scope.HOST, subject="a.test", reason="mine")
    evidence = from_rule(rule, STEPS)
    allowed = action == "allow"
    assert (evidence.allowed_by_rule, evidence.blocked_by_rule) == (allowed, not allowed)
    assert evidence.verdict is (Verdict.CLEAN if allowed else Verdict.MALICIOUS)
    assert evidence.risk is (Risk.SAFE if allowed else Risk.DANGEROUS)
    assert (evidence.rule, evidence.detail, evidence.stage) == ("r", "mine", Stage.RULES)
    assert evidence.steps == (*STEPS, Step(Stage.RULES, "hit", f"{action} host a.test"))


def test_a_confirmed_entry_says_what_was_found_and_when():
    entry = ConfirmedEntry(
        identity=ONE, hit=TWO, kind=SubjectKind.FILE, verdict="suspicious", risk="suspicious", threat=None, list=None,
        server="office", source="office", confirmed_at=NOW - 5, expires_at=NOW + 5, expression="a.test/", tier="intranet",
    )  # fmt: skip
    evidence = from_entry(entry, NOW)
    assert (evidence.verdict, evidence.risk, evidence.threat) == (Verdict.SUSPICIOUS, Risk.SUSPICIOUS, None)
    assert (evidence.list_age_s, evidence.expires_at, evidence.hit) == (5.0, NOW + 5, TWO)
    assert (evidence.expression, evidence.steps[-1].detail) == ("a.test/", "office")
    assert from_entry(entry, NOW - 60).list_age_s == 0.0, (
        "a clock that was set back makes nothing younger than new"
    )
    assert from_entry(entry, NOW, expression="a.test/b").expression == "a.test/b"


def info(role=Role.BLOCK, risk=Risk.SUSPICIOUS):
    return ListInfo(
        name="mw-s-8b", width=8, role=role, kind=SubjectKind.FILE, threat=Threat.MALWARE, risk=risk, tier=Tier.LOCAL,
        server="embedded", source="embedded", complete=True, trusted_allow=True, confirmed_at=NOW - 7,
    )  # fmt: skip


def test_a_list_says_what_it_lists_and_how_old_it_is():
    evidence = from_pattern(info(), TWO, FILE, STEPS, NOW)
    assert (evidence.verdict, evidence.risk, evidence.stage) == (
        Verdict.SUSPICIOUS,
        Risk.SUSPICIOUS,
        Stage.PATTERN,
    )
    assert (evidence.list, evidence.list_age_s, evidence.hit) == ("mw-s-8b", 7.0, TWO)
    assert evidence.expression == "member:a.exe"
    good = from_known_good(info(Role.KNOWN_GOOD, Risk.SAFE), ONE, STEPS, NOW)
    assert (good.verdict, good.risk, good.stage, good.list_age_s) == (
        Verdict.CLEAN,
        Risk.SAFE,
        Stage.KNOWN_GOOD,
        7.0,
    )


def test_the_worst_of_all_answers_counts_whoever_gave_it():
    mild = (Tier.LOCAL, answer(listed(ONE, Risk.SUSPICIOUS)), False)
    bad = (Tier.INTRANET, answer(listed(TWO, Risk.DANGEROUS)), True)
    for order in ((mild, bad), (bad, mild)):
        found = worst(*order)
        assert (found.listed.full_hash, found.tier, found.stale) == (TWO, Tier.INTRANET, True)
    assert worst(mild, mild).listed.risk is Risk.SUSPICIOUS
    assert worst((Tier.LOCAL, answer(), False)) is None


def test_another_hash_under_the_same_prefix_is_none_of_ours():
    assert worst((Tier.LOCAL, answer(listed(TWO)), False), hashes=(ONE,)) is None


@pytest.mark.parametrize("cls", list(SubjectClass))
def test_what_holds_for_frames_only_holds_for_pages(cls):
    found = worst((Tier.NETWORK, answer(listed(frames_only=True)), False), cls=cls)
    assert (found is not None) == (cls is SubjectClass.PAGE)


def test_a_finding_says_who_answered_and_until_when():
    found = worst(
        (
            Tier.INTRANET,
            answer(listed(TWO, Risk.SUSPICIOUS, feeds=("a", "b"), family="f", first_seen=7.0)),
            True,
        )
    )
    evidence = from_finding(found, Stage.CACHE, FILE, STEPS, 3, NOW)
    assert (evidence.verdict, evidence.stage, evidence.stale) == (Verdict.SUSPICIOUS, Stage.CACHE, True)
    assert (evidence.expires_at, evidence.list_age_s, evidence.attempts) == (NOW + 50, 10.0, 3)
    assert (evidence.tier, evidence.server, evidence.expression) == ("intranet", "office", "member:a.exe")
    assert evidence.detail == "feeds: a, b; family: f; first seen: 1970-01-01"


@pytest.mark.parametrize("at", [1e300, -1e300, float("nan"), float("inf")])
def test_a_first_day_that_no_calendar_has_is_left_out(at):
    assert describe(listed(TWO, feeds=("a",), first_seen=at)) == "feeds: a"


def test_nothing_known_behind_a_hash_is_no_text():
    assert describe(listed()) is None


def test_nothing_listed_is_an_answer_and_nobody_to_ask_is_none():
    quiet = unknown(Stage.QUERY, STEPS, server="office", attempts=2)
    assert (quiet.verdict, quiet.risk, quiet.unverifiable) == (Verdict.UNKNOWN, Risk.UNTESTED, None)
    lost = unverifiable("away", STEPS)
    assert (lost.verdict, lost.risk, lost.unverifiable, lost.stage) == (
        Verdict.UNKNOWN, Risk.UNTESTED, "away", Stage.UNVERIFIABLE
    )  # fmt: skip
    assert lost.steps[-1] == Step(Stage.UNVERIFIABLE, "unverifiable", "away")


def test_each_attempt_is_a_step():
    steps = attempt_steps(Tier.LOCAL, [Attempt("a", "timeout", 500.0), Attempt("b", "answered", 2.0)])
    assert [(step.outcome, step.detail, step.elapsed_ms) for step in steps] == [
        ("failed", "local: a: timeout", 500.0), ("answered", "local: b: answered", 2.0)
    ]  # fmt: skip
