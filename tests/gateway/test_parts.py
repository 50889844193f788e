"""What a front of a gateway is told about a request, over the real query process."""

import pytest

from agentkit.house import make_pattern
from gatewaykit.gate import get, make_gate
from ledgerkit.samples import make_rule
from secondlook.core.event import EventKind
from secondlook.core.lists.pattern import Pattern
from secondlook.core.rules.rule import Scope
from secondlook.core.verdict import Action, Stage
from secondlook.download.request_facts import RequestFacts
from secondlook.gateway.parts import OWN
from secondlook.refusal.refusal import FAULT

BAD, GOOD, NEW = "http://bad.example/", "http://good.example/", "http://new.example/"


def now(house, gate, request):
    """Decide at once, in the loop."""

    async def main():
        return gate.now(request)

    return house.run(main())


def kinds(house):
    return [event.kind for event in house.ledger.recorded]


def test_what_is_listed_is_refused_at_once_and_recorded_for_whom_the_gateway_names(house, gate):
    decision = now(house, gate, get(BAD, user="anna"))
    assert (decision.action, decision.evidence.stage) == (Action.BLOCK, Stage.PATTERN)
    (event,) = house.ledger.recorded
    assert (event.kind, event.client, event.user, event.url) == (EventKind.BLOCKED, "192.0.2.7", "anna", BAD)
    assert event.id == decision.event_id


def test_what_a_server_must_be_asked_about_is_awaited(house, gate):
    assert now(house, gate, get(NEW)) is None
    assert house.run(gate.decide(get(NEW))).action is Action.ALLOW
    assert now(house, gate, get(NEW)).action is Action.ALLOW


def test_a_flag_is_in_the_queue_when_the_answer_is_given(house, gate):
    house.servers[0].mode = "down"
    assert now(house, gate, get(NEW)) is None
    decision = house.run(gate.decide(get(NEW)))
    assert decision.action is Action.FLAG
    assert house.subject(NEW).identity in house.ledger.waiting


def test_each_name_has_to_pass(house, gate):
    request = get(GOOD, asked=RequestFacts(hosts=("bad.example",)))
    assert house.run(gate.decide(request)).action is Action.BLOCK
    assert house.run(gate.decide(get(GOOD, sni="bad.example"))).action is Action.BLOCK
    assert house.run(gate.decide(get(GOOD))).action is Action.ALLOW


def test_what_a_helper_refused_is_not_recorded_twice(house, gate):
    told = now(house, gate, get(BAD)).event_id
    again = house.run(gate.decide(get(BAD), refused_by=told))
    assert (again.action, again.event_id) == (Action.BLOCK, told)
    assert kinds(house) == [EventKind.BLOCKED]
    rule = make_rule(id="r", scope=Scope.HOST, subject="bad.example", source="cli")
    house.run(house.ledger.rules.add_async(rule))
    house.reload()
    assert house.run(gate.decide(get(BAD), refused_by=told)).action is Action.ALLOW  # it may go on meanwhile


def test_our_own_pages_are_not_checked(house, gate):
    house.servers[0].mode = "down"
    request = get("http://SecondLook.Internal./blocked/X")
    assert now(house, gate, request) is OWN
    assert house.run(gate.decide(request)) is OWN
    assert not house.ledger.recorded


@pytest.mark.parametrize("broken", ["now", "check"])
def test_a_fault_inside_is_unverifiable_and_no_open_door(house, gate, monkeypatch, broken):
    def fail(*_):
        raise RuntimeError("broken")

    monkeypatch.setattr(gate.gatekeeper, broken, fail)
    if broken == "now":
        assert now(house, gate, get(BAD)) is None
    else:
        decision = house.run(gate.decide(get(NEW)))
        assert (decision.action, decision.evidence.unverifiable) == (Action.FLAG, "internal error")
        assert house.subject(NEW).identity in house.ledger.waiting
        monkeypatch.setattr(gate.gatekeeper, "unverifiable", fail)
        assert house.run(gate.decide(get(NEW))) is FAULT


def test_the_tag_differs_with_pattern_and_rules_alone(house, gate, tmp_path):
    first = gate.tag()
    now(house, gate, get(BAD))
    assert gate.tag() == first == make_gate(house, tmp_path / "other").tag()
    house.publish(replace_generation(make_pattern([], now=house.clock.now())))
    second = gate.tag()
    rule = make_rule(id="r", scope=Scope.HOST, subject="bad.example", source="cli")
    house.run(house.ledger.rules.add_async(rule))
    house.reload()
    assert len({first, second, gate.tag()}) == 3
    assert len(first) == 32


def replace_generation(pattern):
    return Pattern(pattern.lists, pattern.mirrors, 7)
