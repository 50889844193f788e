"""What the second look takes from lists alone: as little as the first may."""

import pytest

from agentkit.house import House, make_pattern
from agentkit.servers import FakeServer
from secondlook.agent.check.view import GOOGLE, GOOGLE_FRESH_S
from secondlook.agent.recheck.batch_check import in_pattern, is_listed
from secondlook.core.asking.answer import Tier
from secondlook.core.subject import SubjectKind, Use
from secondlook.core.verdict import Action, SubjectClass

URL = "http://listed.test/x"


@pytest.fixture
def house():
    house = House(FakeServer(Tier.NETWORK, source=GOOGLE))
    yield house
    house.close()


def list_of_google(house, age_s):
    return make_pattern(
        [house.subject(URL).hashes[0]],
        now=house.clock.now() - age_s,
        tier=Tier.NETWORK,
        source=GOOGLE,
        mirrored=False,
    )


@pytest.mark.parametrize(("age_s", "blocks"), [(GOOGLE_FRESH_S, True), (GOOGLE_FRESH_S + 1, False)])
def test_old_entries_of_google_confirm_nothing(house, age_s, blocks):
    house.publish(list_of_google(house, age_s))
    hashes = house.subject(URL).hashes
    found = in_pattern(house.view.current, SubjectKind.URL, hashes, house.clock.now())
    assert (found is not None) == blocks
    if blocks:
        assert found.source == GOOGLE


def test_what_only_an_old_list_of_google_names_is_cleared_by_who_is_asked(house):
    house.servers[0].mode = "down"
    use = Use(SubjectClass.PAGE, client="127.0.0.1", url=URL, method="GET")
    assert house.run(house.gatekeeper.check(house.subject(URL), use)).action is Action.FLAG
    house.publish(list_of_google(house, GOOGLE_FRESH_S + 1))
    house.servers[0].mode = "up"
    [entry] = house.ledger.waiting.values()
    [evidence] = house.run(house.rechecker._judge.judge([entry]))
    assert not is_listed(evidence)
