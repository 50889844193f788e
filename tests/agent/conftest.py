"""A house with one server in the intranet."""

import pytest

from agentkit.house import House
from agentkit.servers import FakeServer
from secondlook.core.answer import Tier


@pytest.fixture
def server():
    return FakeServer(Tier.INTRANET)


@pytest.fixture
def house(server):
    house = House(server)
    yield house
    house.close()
