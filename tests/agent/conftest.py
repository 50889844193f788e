"""A house with one server in the intranet."""

import pytest

from agentkit.house import House
from agentkit.looks import Folder, Looking
from agentkit.quarantining import Place
from agentkit.servers import FakeServer
from agentkit.updating import house as updated_house
from secondlook.core.answer import Tier


@pytest.fixture
def server():
    return FakeServer(Tier.INTRANET)


@pytest.fixture
def house(server):
    house = House(server)
    yield house
    house.close()


@pytest.fixture
async def world(tmp_path):
    """A real server, and an updater that took its lists once."""
    async with updated_house(tmp_path) as world:
        await world.updater.update_now()
        yield world


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture
def looking(server):
    """A house that checks what it allowed before, with download folders that count what they are asked."""
    house = Looking(server)
    house.files = Folder()
    house.start()
    yield house
    house.close()
