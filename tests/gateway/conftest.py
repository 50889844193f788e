"""A gate over the real query process, with fake servers and a fake ledger."""

import pytest

from agentkit.house import House, make_pattern
from agentkit.servers import FakeServer
from gatewaykit.gate import make_gate
from secondlook.core.answer import Tier


@pytest.fixture
def house():
    """A house whose one server answers, with http://bad.example/ in the pattern."""
    found = House(FakeServer(Tier.LOCAL))
    found.publish(
        make_pattern([found.subject("http://bad.example/").hashes[0]], now=found.clock.now(), mirrored=False)
    )
    yield found
    found.close()


@pytest.fixture
def gate(house, tmp_path):
    found = make_gate(house, tmp_path)
    yield found
    house.run(found.bodies.aclose())
