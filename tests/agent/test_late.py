import pytest

from agentkit.house import House, confirmed_about, make_pattern
from agentkit.servers import FakeServer
from secondlook.agent.late import LateVerdicts
from secondlook.core.answer import Tier
from secondlook.core.event import EventKind
from secondlook.core.subject import Use
from secondlook.core.verdict import Action, SubjectClass


def visit(house, url, client="127.0.0.1"):
    use = Use(SubjectClass.PAGE, client=client, url=url, method="GET")
    return house.run(house.gatekeeper.check(house.subject(url), use))


@pytest.fixture
def house():
    house = House(FakeServer(Tier.INTRANET))
    house.late = LateVerdicts(house.view, house.ledger, house.consequences, house.clock)
    yield house
    house.close()


def test_what_was_allowed_and_is_listed_now_is_a_late_verdict(house):
    visit(house, "http://later-bad.test/x")
    visit(house, "http://fine.test/x")
    house.publish(make_pattern([house.subject("http://later-bad.test/x").hashes[0]], now=house.clock.now()))
    assert house.run(house.late.look()) == 1
    event = house.ledger.events[-1]
    assert (event.kind, event.url, event.list) == (EventKind.LATE_VERDICT, "http://later-bad.test/x", "mw-8b")
    assert event.extra["clients"] == ["127.0.0.1"]
    assert len(house.told) == 1
    house.reload()
    assert visit(house, "http://later-bad.test/x").action is Action.BLOCK
    assert house.run(house.late.look()) == 0


def test_a_finding_about_a_host_reaches_every_page_of_it_that_was_visited(house):
    visit(house, "http://h.test/a")
    visit(house, "http://www.h.test/b")
    entry = confirmed_about(house, "http://h.test/")
    house.ledger.confirmed_set[entry.identity] = entry
    house.reload()
    assert house.run(house.late.look()) == 2


def test_too_long_ago_is_forgotten(house):
    visit(house, "http://later-bad.test/x")
    house.sleep(8 * 86_400)
    house.publish(make_pattern([house.subject("http://later-bad.test/x").hashes[0]], now=house.clock.now()))
    assert house.run(house.late.look()) == 0


def test_a_ledger_that_fails_is_tried_again(house, caplog):
    visit(house, "http://later-bad.test/x")
    house.publish(make_pattern([house.subject("http://later-bad.test/x").hashes[0]], now=house.clock.now()))
    house.ledger.full = True
    assert house.run(house.late.look()) == 0
    house.ledger.full = False
    assert house.run(house.late.look()) == 1
