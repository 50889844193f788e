"""The words of a refusal: there are some for whatever blocks."""

from dataclasses import replace

import pytest

from secondlook.core.verdict import Action, Decision, Evidence, Risk, Stage, Step, Threat, Verdict
from secondlook.refusal.wording import IN_A_CIRCLE, explanation, title

FOUND = Evidence(verdict=Verdict.MALICIOUS, risk=Risk.DANGEROUS, stage=Stage.PATTERN, steps=())


def words(**facts):
    decision = Decision(action=Action.BLOCK, evidence=replace(FOUND, **facts))
    return title(decision), explanation(decision)


@pytest.mark.parametrize("threat", [*Threat, None])
def test_each_threat_has_words_of_its_own(threat):
    others = {words(threat=other) for other in [*Threat, None] if other is not threat}
    assert words(threat=threat) not in others
    assert "Reports can be wrong" in words(threat=threat)[1]


@pytest.mark.parametrize("stage", [Stage.ACCESS, Stage.RULES, Stage.MALFORMED, Stage.LEDGER])
def test_what_no_list_blocked_is_not_called_harmful(stage):
    assert words(stage=stage, threat=Threat.MALWARE) == words(stage=stage, threat=None)
    assert "Reports" not in words(stage=stage)[1]


@pytest.mark.parametrize("stage", [Stage.PATTERN, Stage.CACHE, Stage.QUERY])
def test_what_is_blocked_as_no_list_knows_it_is_not_called_listed(stage):
    unknown = words(stage=stage, verdict=Verdict.UNKNOWN, risk=Risk.UNTESTED)
    assert unknown[0] == "Nothing is known about this"
    assert "Reports" not in unknown[1]
    assert words(stage=Stage.RULES, verdict=Verdict.UNKNOWN) == words(stage=Stage.RULES)


def test_a_request_in_a_circle_is_not_called_one_to_an_address_inside():
    own, other = words(stage=Stage.ACCESS, detail=IN_A_CIRCLE), words(stage=Stage.ACCESS)
    assert own[0] == other[0]
    assert "came back to this proxy again and again" in own[1]
    assert "inside this machine" not in own[1]


def test_where_nobody_was_asked_the_cause_lies_with_the_proxy():
    failed = words(stage=Stage.UNVERIFIABLE, unverifiable="the disk is full")[1]
    assert failed.startswith("The proxy itself could not check it: the disk is full.")
    asked = words(
        stage=Stage.UNVERIFIABLE, unverifiable="timeout", steps=(Step(Stage.QUERY, "failed", "timeout"),)
    )[1]
    assert asked.startswith("No reputation server answered in time")
