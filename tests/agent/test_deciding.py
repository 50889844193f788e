"""From evidence to a decision, as a client's policy and a pause have it."""

import pytest

from agentkit.house import view_with
from secondlook.agent.check.deciding import decide, judge, untested_passes
from secondlook.agent.check.evidence import unknown, unverifiable
from secondlook.agent.check.groups import ClientGroup, Policies
from secondlook.core.rules.policy import Level, Mode, Policy
from secondlook.core.rules.rule import Pause
from secondlook.core.subject import RequestContext
from secondlook.core.verdict import Action, Evidence, Risk, Stage, SubjectClass, Verdict

MILD = Evidence(verdict=Verdict.SUSPICIOUS, risk=Risk.SUSPICIOUS, stage=Stage.PATTERN)
PAGE = RequestContext(SubjectClass.PAGE, client="10.0.0.7", url="http://a.test/", method="GET")


def snapshot(policy=None, **view):
    strict = ClientGroup("strict", ("10.0.9.0/24",), (), Policy(level=Level.HIGH))
    return view_with(Policies(policy or Policy(), [strict]), **view).current


@pytest.mark.parametrize(
    ("now", "action"), [(99.0, Action.BLOCK), (100.0, Action.ALLOW), (200.0, Action.BLOCK)]
)
def test_nothing_is_enforced_while_protection_is_paused(now, action):
    paused = snapshot(
        Policy(level=Level.HIGH), pauses=[Pause(id="p", client=None, created=100.0, until=200.0)]
    )
    decision = decide(paused, PAGE, MILD, now, 7.0)
    assert (decision.action, decision.elapsed_ms) == (action, 7.0)
    assert decision.would_block == (action is Action.ALLOW)
    assert judge(paused, PAGE, MILD, now, None).action is action


def test_what_cannot_be_read_is_a_class_of_its_own():
    for stage, action in ((Stage.UNVERIFIABLE, Action.FLAG), (Stage.MALFORMED, Action.BLOCK)):
        assert decide(snapshot(), PAGE, unverifiable("why", (), stage=stage), 0.0, 0.0).action is action


@pytest.mark.parametrize(("demanded", "action"), [(None, Action.FLAG), (Action.BLOCK, Action.BLOCK)])
def test_what_is_demanded_takes_the_place_of_the_policy(demanded, action):
    assert judge(snapshot(), PAGE, unverifiable("why", ()), 0.0, demanded).action is action


@pytest.mark.parametrize("mode", list(Mode))
def test_only_what_is_untested_passes(mode):
    untested = snapshot(Policy(block_untested=True, level=Level.HIGH, mode=mode))
    for evidence, passes in ((unknown(Stage.QUERY, ()), True), (MILD, False)):
        decision = untested_passes(decide(untested, PAGE, evidence, 0.0, 0.0))
        assert (decision.action is Action.ALLOW and not decision.would_block) == passes
