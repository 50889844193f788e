"""What may go on before its record is there: nothing that nobody verified."""

import pytest

from agentkit.house import House
from agentkit.servers import FakeServer
from secondlook.core.asking.answer import Tier
from secondlook.core.subject import Use
from secondlook.core.verdict import Action, Stage, SubjectClass

URL = "http://let-through.test/x"
PAGE = Use(SubjectClass.PAGE, client="127.0.0.1", url=URL, method="GET")


class Broken:
    """A part that fails: what a check cannot know then is flagged at once, without a question."""

    def __getattr__(self, name):
        raise RuntimeError("planted")


@pytest.fixture
def house():
    house = House(FakeServer(Tier.INTRANET))
    house.checker.cache = Broken()
    yield house
    house.close()


@pytest.mark.parametrize("way", ["now", "local"])
def test_a_flag_is_never_settled_without_waiting(house, way):
    subject = house.subject(URL)
    decided = house.checker.check_now if way == "now" else house.checker.check_local
    assert decided(subject, PAGE).action is Action.FLAG
    assert getattr(house.gatekeeper, way)(subject, PAGE) is None
    assert not house.ledger.waiting
    waited = house.gatekeeper.check if way == "now" else house.gatekeeper.check_local
    assert house.run(waited(subject, PAGE)).action is Action.FLAG
    assert len(house.ledger.waiting) == 1


def test_a_flag_that_nothing_stores_is_a_refusal_either_way(house):
    house.ledger.full = house.ledger.journal_full = True
    subject = house.subject(URL)
    for check in (house.gatekeeper.check, house.gatekeeper.check_local):
        decision = house.run(check(subject, PAGE))
        assert (decision.action, decision.evidence.stage) == (Action.BLOCK, Stage.LEDGER)
