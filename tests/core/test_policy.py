"""Policy: every kind of evidence under every level, switch and class."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.core.rules.policy import Level, Mode, Policy
from secondlook.core.verdict import Action, Evidence, Risk, Stage, SubjectClass, Verdict

PAGE, MALFORMED = SubjectClass.PAGE, SubjectClass.MALFORMED


def listed(risk):
    verdict = Verdict.MALICIOUS if risk is Risk.DANGEROUS else Verdict.SUSPICIOUS
    return Evidence(verdict, risk, Stage.PATTERN)


UNKNOWN = Evidence(Verdict.UNKNOWN, Risk.UNTESTED, Stage.QUERY)
CLEAN = Evidence(Verdict.CLEAN, Risk.SAFE, Stage.KNOWN_GOOD)
UNVERIFIABLE = Evidence(
    Verdict.UNKNOWN, Risk.UNTESTED, Stage.UNVERIFIABLE, unverifiable="every server is away"
)
ALLOWED = Evidence(Verdict.CLEAN, Risk.SAFE, Stage.RULES, allowed_by_rule=True)
BLOCKED = Evidence(Verdict.MALICIOUS, Risk.DANGEROUS, Stage.RULES, blocked_by_rule=True)


@pytest.mark.parametrize(
    ("level", "blocked"),
    [
        (Level.HIGH, {Risk.DANGEROUS, Risk.HIGHLY_SUSPICIOUS, Risk.SUSPICIOUS}),
        (Level.MEDIUM, {Risk.DANGEROUS, Risk.HIGHLY_SUSPICIOUS}),
        (Level.LOW, {Risk.DANGEROUS}),
    ],
)
def test_levels(level, blocked):
    policy = Policy(level=level)
    for risk in (Risk.DANGEROUS, Risk.HIGHLY_SUSPICIOUS, Risk.SUSPICIOUS):
        assert (policy.decide(listed(risk), PAGE).action is Action.BLOCK) == (risk in blocked)
        assert policy.blocks(risk) == (risk in blocked)


def test_untested_is_blocked_only_on_request():
    assert Policy().decide(UNKNOWN, PAGE).action is Action.ALLOW
    assert Policy(block_untested=True).decide(UNKNOWN, PAGE).action is Action.BLOCK
    assert Policy(block_untested=True).decide(UNVERIFIABLE, PAGE).action is Action.FLAG
    assert Policy(block_untested=True).decide(CLEAN, PAGE).action is Action.ALLOW


def test_unverifiable_is_decided_by_class():
    assert {cls: Policy().decide(UNVERIFIABLE, cls).action for cls in SubjectClass} == {
        SubjectClass.PAGE: Action.FLAG,
        SubjectClass.SUBRESOURCE: Action.FLAG,
        SubjectClass.DOWNLOAD: Action.FLAG,
        SubjectClass.MALFORMED: Action.BLOCK,
    }
    policy = Policy(unverifiable={PAGE: Action.BLOCK})
    assert policy.decide(UNVERIFIABLE, PAGE).action is Action.BLOCK
    assert policy.decide(UNVERIFIABLE, SubjectClass.DOWNLOAD).action is Action.FLAG


@pytest.mark.parametrize(
    ("policy", "evidence", "told"),
    [
        (Policy(), UNVERIFIABLE, "every server is away"),
        (Policy(), listed(Risk.HIGHLY_SUSPICIOUS), "highly suspicious"),
        (Policy(level=Level.LOW), listed(Risk.SUSPICIOUS), "low"),
    ],
)
def test_the_reason_is_told(policy, evidence, told):
    reason = policy.decide(evidence, PAGE).reason
    assert reason is not None
    assert told in reason


@pytest.mark.parametrize("how", [{"paused": True}, {"mode": Mode.ASSESS}])
def test_nothing_is_enforced_while_paused_or_assessing(how):
    policy = Policy(mode=how.get("mode", Mode.ENFORCE))
    paused = how.get("paused", False)
    for evidence in (listed(Risk.DANGEROUS), BLOCKED):
        decision = policy.decide(evidence, PAGE, paused=paused)
        assert (decision.action, decision.would_block) == (Action.ALLOW, True)
    decision = policy.decide(UNVERIFIABLE, MALFORMED, paused=paused)
    assert (decision.action, decision.would_block) == (Action.FLAG, True)
    decision = policy.decide(UNVERIFIABLE, PAGE, paused=paused)
    assert (decision.action, decision.would_block) == (Action.FLAG, False)


evidences = st.sampled_from([ALLOWED, BLOCKED, CLEAN, UNKNOWN, UNVERIFIABLE, *map(listed, list(Risk)[:3])])
policies = st.builds(
    Policy,
    st.sampled_from(Level),
    st.booleans(),
    st.dictionaries(st.sampled_from(SubjectClass), st.sampled_from([Action.FLAG, Action.BLOCK])),
    st.sampled_from(Mode),
)


@given(policies, evidences, st.sampled_from(SubjectClass), st.booleans())
def test_what_nobody_verified_is_never_simply_allowed(policy, evidence, cls, paused):
    decision = policy.decide(evidence, cls, paused=paused, elapsed_ms=1.5)
    assert (decision.evidence, decision.elapsed_ms) == (evidence, 1.5)
    if evidence is UNVERIFIABLE:
        assert decision.action is not Action.ALLOW
    if evidence is ALLOWED:
        assert decision.action is Action.ALLOW
    enforced = Policy(policy.level, policy.block_untested, policy.unverifiable).decide(evidence, cls)
    relaxed = paused or policy.mode is Mode.ASSESS
    assert decision.would_block == (relaxed and enforced.action is Action.BLOCK)
    if not relaxed:
        assert decision.action is enforced.action
