"""What was let through although it was known to be listed is no late verdict."""

import pytest

from agentkit.house import confirmed_about, make_pattern
from agentkit.looks import visit
from ledgerkit.samples import make_rule
from secondlook.agent.check.groups import ClientGroup, Policies
from secondlook.core.event import EventKind
from secondlook.core.rules.policy import Level, Mode, Policy
from secondlook.core.verdict import Action, Risk


@pytest.fixture
def house(looking):
    return looking


BAD = "http://bad.test/x"
LET_THROUGH_KNOWINGLY = {
    "a rule": lambda house: house.ledger.rules.add(allowed(house)),
    "an exception": lambda house: house.ledger.rules.add(
        allowed(house, source="override", client="127.0.0.1")
    ),
    "a pause": lambda house: house.ledger.pauses.add(5),
    "assessment": lambda house: house.view.replace(policies=Policies(Policy(mode=Mode.ASSESS))),
}


def allowed(house, source="operator", client=None):
    return make_rule(
        client=client, created=house.clock.now(), expires=house.clock.now() + 3600, source=source
    )


@pytest.mark.parametrize("known", ["pattern", "confirmed"])
@pytest.mark.parametrize("how", LET_THROUGH_KNOWINGLY)
def test_what_was_let_through_knowing_that_it_is_listed_is_no_late_verdict(house, how, known):
    hit, now = house.subject(BAD).hashes[0], house.clock.now()
    if known == "pattern":
        house.publish(make_pattern([hit], now=now))
    else:  # the finding is about the host, the visit to a page of it
        entry = confirmed_about(house, "http://bad.test/")
        house.ledger.confirmed_set[entry.identity] = entry
    LET_THROUGH_KNOWINGLY[how](house)
    house.reload()
    assert visit(house, BAD).action is Action.ALLOW
    assert house.run(house.late.look()) == 0
    assert not house.ledger.history.recent


def visited_while_mild(house, known):
    """Visit what is listed too mildly to be blocked, as `known` or listed afterwards: nothing is news yet."""
    hit, now = house.subject(BAD).hashes[0], house.clock.now()
    mild = make_pattern([hit], now=now, risk=Risk.SUSPICIOUS)
    if known:
        house.publish(mild)
    assert visit(house, BAD).action is Action.ALLOW
    house.publish(mild)
    assert house.run(house.late.look()) == 0
    assert not [each for each in house.ledger.recorded if each.kind is EventKind.LATE_VERDICT]
    return make_pattern([hit], now=now)


@pytest.mark.parametrize("known", [True, False], ids=["known to be listed", "not listed yet"])
@pytest.mark.parametrize("rises", ["the risk", "the level"])
def test_what_the_level_let_through_is_a_late_verdict_when_it_is_blocked(house, known, rises):
    """Nothing is news before that, and it is once."""
    worse = visited_while_mild(house, known)
    if rises == "the risk":
        house.publish(worse)
    else:
        house.view.replace(policies=Policies(Policy(level=Level.HIGH)))
    assert house.run(house.late.look()) == 1
    (told,) = house.told
    assert told.subject == BAD
    assert house.run(house.late.look()) == 0


@pytest.mark.parametrize("known", [True, False], ids=["known to be listed", "not listed yet"])
def test_a_stricter_group_elsewhere_takes_the_late_verdict_from_nobody(house, known):
    strict = ClientGroup("children", ("10.1.0.0/16",), (), Policy(level=Level.HIGH))
    house.view.replace(policies=Policies(Policy(), [strict]))
    house.publish(visited_while_mild(house, known))
    assert house.run(house.late.look()) == 1
    assert house.run(house.late.look()) == 0


def test_a_stricter_group_gets_its_own_late_verdict(house):
    hit, now = house.subject(BAD).hashes[0], house.clock.now()
    strict = ClientGroup("children", ("10.1.0.0/16",), (), Policy(level=Level.HIGH))
    house.view.replace(policies=Policies(Policy(), [strict]))
    assert visit(house, BAD, client="10.1.2.3").action is Action.ALLOW
    house.publish(make_pattern([hit], now=now, risk=Risk.SUSPICIOUS))
    assert house.run(house.late.look()) == 1
    (told,) = house.told
    assert told.subject == BAD


@pytest.mark.parametrize("first", ["10.1.2.3", "10.2.0.1"])
def test_a_stricter_group_gets_it_whoever_had_the_same_before_or_later(house, first):
    hit, now = house.subject(BAD).hashes[0], house.clock.now()
    strict = ClientGroup("children", ("10.1.0.0/16",), (), Policy(level=Level.HIGH))
    house.view.replace(policies=Policies(Policy(), [strict]))
    for client in (first, *({"10.1.2.3", "10.2.0.1"} - {first})):
        assert visit(house, BAD, client=client).action is Action.ALLOW
    house.publish(make_pattern([hit], now=now, risk=Risk.SUSPICIOUS))
    assert house.run(house.late.look()) == 1
    house.ledger.settle()
    (event,) = [event for event in house.ledger.log if event.kind is EventKind.LATE_VERDICT]
    assert event.extra["clients"] == ["10.1.2.3"]


def test_what_a_milder_group_may_have_is_news_when_it_may_not(house):
    hit, now = house.subject(BAD).hashes[0], house.clock.now()
    mild = ClientGroup("lab", ("10.1.0.0/16",), (), Policy(level=Level.LOW))
    house.view.replace(policies=Policies(Policy(), [mild]))
    house.publish(make_pattern([hit], now=now, risk=Risk.HIGHLY_SUSPICIOUS))
    assert visit(house, BAD, client="10.1.2.3").action is Action.ALLOW
    assert house.run(house.late.look()) == 0
    house.publish(make_pattern([hit], now=now))
    assert house.run(house.late.look()) == 1


def test_what_a_server_had_answered_is_known_to_a_rule_too(house):
    house.servers[0].listed[house.subject(BAD).hashes[0]] = Risk.DANGEROUS
    assert visit(house, BAD).action is Action.BLOCK
    house.ledger.confirmed_set.clear()
    house.ledger.rules.add(allowed(house))
    house.reload()
    assert visit(house, BAD).action is Action.ALLOW
    assert not house.ledger.history.recent


def test_what_a_rule_let_through_while_nothing_was_known_is_a_late_verdict(house):
    house.ledger.rules.add(allowed(house))
    house.reload()
    visit(house, BAD)
    house.publish(make_pattern([house.subject(BAD).hashes[0]], now=house.clock.now()))
    assert house.run(house.late.look()) == 1
