"""What is listed, and mildly enough to pass: asked about, as something worse may be known elsewhere."""

import pytest

from agentkit.checks import FILE, PAGE, check, listed
from agentkit.house import confirmed_about, make_pattern
from agentkit.servers import FakeServer
from secondlook.agent.check.groups import Policies
from secondlook.core.answer import Tier
from secondlook.core.digest import sha256
from secondlook.core.rules.policy import Level, Policy
from secondlook.core.subject import FileSubject, SubjectKind
from secondlook.core.verdict import Action, Risk, Stage, SubjectClass


def mildly(house, stage, url="http://bad.test/"):
    """List a host as suspicious, which passes."""
    if stage is Stage.CONFIRMED:
        house.view.learn(confirmed_about(house, url, risk="suspicious", verdict="suspicious"))
    else:
        house.publish(
            make_pattern(
                [listed(url, house)],
                now=house.clock.now(),
                name="mw-s-8b",
                risk=Risk.SUSPICIOUS,
                mirrored=False,
            )
        )


@pytest.mark.parametrize("stage", [Stage.CONFIRMED, Stage.PATTERN])
def test_what_is_listed_mildly_is_asked_about(house, server, stage):
    mildly(house, stage)
    server.listed[listed("http://bad.test/x", house)] = Risk.DANGEROUS
    decision = check(house)
    assert (decision.action, decision.evidence.stage) == (Action.BLOCK, Stage.QUERY)
    assert [(step.stage, step.outcome) for step in decision.evidence.steps if step.outcome == "hit"] == [
        (stage, "hit")
    ]
    again = house.checker.check_now(house.subject("http://bad.test/x"), PAGE)
    assert (again.action, again.evidence.stage) == (Action.BLOCK, Stage.CACHE)
    assert house.lookup.requests == 1


@pytest.mark.parametrize("stage", [Stage.CONFIRMED, Stage.PATTERN])
def test_what_is_listed_mildly_and_nowhere_worse_passes_as_that(house, server, stage):
    mildly(house, stage)
    first = check(house)
    again = house.checker.check_now(house.subject("http://bad.test/x"), PAGE)
    for decision in (first, again):
        evidence = decision.evidence
        assert (decision.action, evidence.stage, evidence.risk) == (Action.ALLOW, stage, Risk.SUSPICIOUS)
    assert first.evidence.steps[-1].stage is Stage.QUERY
    assert again.evidence.steps[-1].stage is Stage.CACHE
    house.view.replace(policies=Policies(Policy(level=Level.HIGH)))
    assert house.checker.check_now(house.subject("http://bad.test/y"), PAGE).action is Action.BLOCK
    assert house.lookup.requests == 1, "what is blocked anyway is not asked about"


@pytest.mark.parametrize("stage", [Stage.CONFIRMED, Stage.PATTERN, Stage.QUERY])
def test_what_is_listed_mildly_is_unverifiable_while_nobody_answers(house, server, stage):
    if stage is Stage.QUERY:
        local = FakeServer(Tier.LOCAL, {listed("http://bad.test/", house): Risk.SUSPICIOUS})
        house.lookup.servers[Tier.LOCAL] = local
        house.lookup.moved()
    else:
        mildly(house, stage)
    server.mode = "down"
    decision = check(house)
    assert (decision.action, decision.evidence.stage) == (Action.FLAG, Stage.UNVERIFIABLE)


def test_a_mild_answer_in_the_cache_does_not_answer_for_other_forms(house, server):
    server.listed[listed("http://bad.test/", house)] = Risk.SUSPICIOUS
    server.listed[listed("http://bad.test/x", house)] = Risk.DANGEROUS
    assert check(house, "http://bad.test/a").action is Action.ALLOW
    assert check(house).action is Action.BLOCK


@pytest.mark.parametrize("stage", [Stage.CONFIRMED, Stage.PATTERN])
def test_nobody_needs_to_be_asked_about_what_is_listed_mildly_and_mirrored(house, stage):
    house.lookup.servers.clear()
    house.lookup.moved()
    mildly(house, stage)
    decision = house.checker.check_now(house.subject("http://bad.test/x"), PAGE)
    assert (decision.action, decision.evidence.stage) == (Action.ALLOW, stage)


def test_what_is_listed_mildly_opens_nothing_that_cannot_be_read(house, server):
    mildly(house, Stage.PATTERN)
    subject = house.subject("http://bad.test/" + "%25" * 40 + "41" + "/x" * 40_000)
    decision = house.checker.check_now(subject, PAGE)
    assert (decision.action, decision.evidence.stage) == (Action.BLOCK, Stage.MALFORMED)
    house.view.replace(policies=Policies(Policy(unverifiable={SubjectClass.MALFORMED: Action.FLAG})))
    decision = house.run(house.checker.check(subject, PAGE))
    assert (decision.action, decision.evidence.stage) == (Action.FLAG, Stage.MALFORMED)


def test_a_local_look_takes_the_worse_of_lists_and_cache(house, server):
    bad = sha256(b"md5:00")
    file = FileSubject((b"f" * 32, bad), labels=("sha256", "md5"))
    server.listed[bad] = Risk.DANGEROUS
    house.run(house.checker.check(FileSubject((bad,)), FILE))
    house.publish(
        make_pattern(
            [b"f" * 32],
            now=house.clock.now(),
            name="x-file-mw-s-8b",
            kind=SubjectKind.FILE,
            risk=Risk.SUSPICIOUS,
            mirrored=False,
        )
    )
    decision = house.checker.check_local(file, FILE)
    assert (decision.action, decision.evidence.stage) == (Action.BLOCK, Stage.CACHE)
    assert house.checker.check_local(FileSubject((b"f" * 32,)), FILE).evidence.risk is Risk.SUSPICIOUS
