"""Rules, pauses, groups and modes: what people decided, in a check."""

import dataclasses

from agentkit.checks import FILE, PAGE, check, listed, rule
from agentkit.house import make_pattern
from secondlook.agent.check.evidence import unverifiable
from secondlook.agent.check.groups import ClientGroup, Policies
from secondlook.core.rules.policy import Level, Mode, Policy
from secondlook.core.rules.rule import Pause, Scope
from secondlook.core.subject import FileSubject
from secondlook.core.verdict import Action, Risk, Stage, SubjectClass


def test_rules_come_first_and_send_no_query(house, server):
    house.publish(make_pattern([listed("http://bad.test/x", house)], now=house.clock.now()))
    house.ledger.rules.add(rule())
    house.reload()
    decision = house.checker.check_now(house.subject("http://bad.test/x"), PAGE)
    assert (decision.action, decision.evidence.stage, decision.evidence.rule) == (
        Action.ALLOW,
        Stage.RULES,
        "r1",
    )
    house.ledger.rules.remove("r1")
    house.ledger.rules.add(rule("block", subject="ok.test"))
    house.reload()
    assert house.checker.check_now(house.subject("http://ok.test/"), PAGE).action is Action.BLOCK
    assert house.lookup.requests == 0


def test_expiring_rule_ends_by_itself_even_in_the_memory_of_decisions(house, server):
    house.ledger.rules.add(rule(expires=house.clock.now() + 5))
    house.publish(make_pattern([listed("http://bad.test/x", house)], now=house.clock.now()))
    house.reload()
    look = lambda: house.checker.check_now(house.subject("http://bad.test/x"), PAGE).action  # noqa: E731
    assert look() is Action.ALLOW
    house.sleep(4.9)
    assert look() is Action.ALLOW
    house.sleep(0.2)
    assert look() is Action.BLOCK


def test_override_is_never_for_downloads(house):
    house.publish(make_pattern([listed("http://bad.test/x", house)], now=house.clock.now()))
    house.ledger.rules.add(rule(source="override"))
    house.reload()
    subject = house.subject("http://bad.test/x")
    assert house.checker.check_now(subject, PAGE).action is Action.ALLOW
    assert (
        house.checker.check_now(subject, dataclasses.replace(PAGE, cls=SubjectClass.DOWNLOAD)).action
        is Action.BLOCK
    )


def test_a_host_that_is_allowed_allows_its_files(house, server):
    house.ledger.rules.add(rule(subject="files.test"))
    house.reload()
    decision = house.checker.check_now(FileSubject((b"f" * 32,)), FILE)
    assert (decision.action, decision.evidence.stage) == (Action.ALLOW, Stage.RULES)
    house.ledger.rules.add(rule("block", Scope.SHA256, (b"f" * 32).hex(), id="r2"))
    house.reload()
    assert house.checker.check_now(FileSubject((b"f" * 32,)), FILE).action is Action.BLOCK


def test_client_rules_pauses_and_groups_are_personal(house):
    house.publish(
        make_pattern([listed("http://bad.test/x", house)], now=house.clock.now(), risk=Risk.HIGHLY_SUSPICIOUS)
    )
    house.view.replace(
        policies=Policies(Policy(), [ClientGroup("lab", ("10.0.0.0/8",), ("ann",), Policy(level=Level.LOW))])
    )
    subject = house.subject("http://bad.test/x")
    look = lambda client, user=None: house.run(  # noqa: E731
        house.checker.check(subject, dataclasses.replace(PAGE, client=client, user=user))
    )
    assert look("127.0.0.1").action is Action.BLOCK
    assert look("10.1.2.3").action is Action.ALLOW
    assert look("127.0.0.1", "ann").action is Action.ALLOW
    now = house.clock.now()
    house.ledger.pauses.put(Pause(id="p", client="192.168.0.0/16", created=now, until=now + 600))
    house.reload()
    paused = look("192.168.1.1")
    assert (paused.action, paused.would_block) == (Action.ALLOW, True)
    assert look("127.0.0.1").action is Action.BLOCK
    house.sleep(601)
    assert look("192.168.1.1").action is Action.BLOCK


def test_a_pause_still_flags_what_nobody_verified(house, server):
    house.view.replace(policies=Policies(Policy(unverifiable={SubjectClass.PAGE: Action.BLOCK})))
    server.mode = "down"
    assert check(house).action is Action.BLOCK
    now = house.clock.now()
    house.ledger.pauses.put(Pause(id="p", client=None, created=now, until=now + 600))
    house.reload()
    decision = check(house)
    assert (decision.action, decision.would_block) == (Action.FLAG, True)


def test_assessment_mode_decides_and_does_not_enforce(house, server):
    house.view.replace(policies=Policies(Policy(mode=Mode.ASSESS)))
    server.listed[listed("http://bad.test/x", house)] = Risk.DANGEROUS
    decision = check(house)
    assert (decision.action, decision.would_block) == (Action.ALLOW, True)


def test_what_was_found_elsewhere_is_judged_by_policy_pause_and_mode(house):
    evidence = unverifiable("no room", ())
    judge = lambda demanded=None: house.checker.judge(FILE, evidence, unverifiable=demanded)  # noqa: E731
    assert judge().action is Action.FLAG
    assert judge(Action.BLOCK).action is Action.BLOCK
    house.view.replace(policies=Policies(Policy(unverifiable={SubjectClass.DOWNLOAD: Action.BLOCK})))
    assert judge().action is Action.BLOCK
    assert judge(Action.FLAG).action is Action.FLAG
    now = house.clock.now()
    house.ledger.pauses.put(Pause(id="p", client=None, created=now, until=now + 600))
    house.reload()
    assert (judge(Action.BLOCK).action, judge(Action.BLOCK).would_block) == (Action.FLAG, True)
    house.sleep(601)
    assert judge().action is Action.BLOCK
    house.view.replace(policies=Policies(Policy(mode=Mode.ASSESS)))
    assert (judge(Action.BLOCK).action, judge(Action.BLOCK).would_block) == (Action.FLAG, True)
